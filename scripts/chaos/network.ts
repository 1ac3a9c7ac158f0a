import { type Closable, closable } from "@rollcall/core";
import { type TcpProxy, tcpProxy } from "@rollcall/testing";

/** The ways of some processes to the registry, which fail together. */
export interface Network extends Closable {
  /** A way of its own for one more process, in the state that all are in. Resolves with its URL. */
  add(): Promise<string>;
  /** Changes all ways, those to come as well. */
  set(change: (proxy: TcpProxy) => Promise<void>): Promise<void>;
}

/** Makes an open network to a server. Closing it closes all ways. */
export function network({ host, port }: { readonly host: string; readonly port: number }): Network {
  const proxies: TcpProxy[] = [];
  let state = (proxy: TcpProxy): Promise<void> => proxy.open();
  return {
    async add() {
      const proxy = await tcpProxy({ target: { host, port } });
      proxies.push(proxy);
      await state(proxy);
      return proxy.url;
    },
    async set(change) {
      state = change;
      await Promise.all(proxies.map((proxy) => change(proxy)));
    },
    ...closable(async () => void (await Promise.all(proxies.map((proxy) => proxy.close())))),
  };
}
