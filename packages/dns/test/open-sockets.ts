import { createHook } from "node:async_hooks";

const open = new Set<number>();

createHook({
  init(id, type) {
    if (type === "UDPWRAP" || type === "TCPWRAP") open.add(id);
  },
  destroy: (id) => void open.delete(id),
}).enable();

/** How many sockets this process holds that were made since this module was loaded, whether they keep it alive or not. */
export function openSockets(): number {
  return open.size;
}
