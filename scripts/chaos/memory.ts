import { readdirSync } from "node:fs";

/** What a process holds; the numbers in bytes are those after a full garbage collection. */
export interface Memory {
  readonly rss: number;
  readonly heap: number;
  /** Open files and sockets, where the system can say; otherwise what keeps this process alive. */
  readonly handles: number;
}

/** Needs `--expose-gc`. */
export function memory(): Memory {
  globalThis.gc?.();
  globalThis.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  return { rss, heap: heapUsed, handles: handles() };
}

function handles(): number {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return process.getActiveResourcesInfo().length;
  }
}
