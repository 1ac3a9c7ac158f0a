import { messageOf } from "@rollcall/core";
import { nowMs } from "./now-ms.ts";

export interface Failure {
  readonly atMs: number;
  readonly error: string;
}

/** What came of some calls. */
export interface Tally {
  readonly calls: number;
  readonly failures: readonly Failure[];
  /** Calls that were due and never made, as too many were under way. */
  readonly skipped: number;
}

/** A stream of calls that goes on until it is stopped. */
export interface Load {
  /** Starts no more calls, waits for those under way, and says what came of all of them. */
  stop(): Promise<Tally>;
}

/**
 * Makes calls at a steady rate, however long each of them takes; but no more than `mostUnderWay` at once: those that are due
 * then are never made. A process that was held up would otherwise make up for it all at once, and test something else.
 */
export function startLoad(callsPerSecond: number, call: () => Promise<void>, mostUnderWay = Infinity): Load {
  const failures: Failure[] = [];
  const underWay = new Set<Promise<void>>();
  const startedAt = performance.now();
  let calls = 0;
  let skipped = 0;
  const start = (): void => {
    calls++;
    const done = call()
      .catch((error: unknown) => void failures.push({ atMs: nowMs(), error: explain(error) }))
      .finally(() => underWay.delete(done));
    underWay.add(done);
  };
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - startedAt) * callsPerSecond) / 1_000);
    for (let missing = due - calls - skipped; missing > 0; missing--) {
      if (underWay.size < mostUnderWay) start();
      else skipped++;
    }
  }, 5);
  return {
    async stop() {
      clearInterval(timer);
      await Promise.all(underWay);
      return { calls, failures, skipped };
    },
  };
}

/** An error and all that it was made of. */
function explain(error: unknown): string {
  const parts = error instanceof AggregateError ? error.errors : [];
  return [`${messageOf(error)}${connectionOf(error)}`, ...parts.map((part: unknown) => explain(part))].join(" | ");
}

/** undici tells of the connection that broke. The built-in fetch has that in the cause. */
function connectionOf(error: unknown): string {
  const { socket, cause } = Object(error) as { readonly socket?: SocketInfo; readonly cause?: unknown };
  if (socket === undefined) return cause instanceof Error ? ` (${messageOf(cause)}${connectionOf(cause)})` : "";
  return ` [to ${socket.remotePort}, ${socket.bytesWritten} bytes written, ${socket.bytesRead} read]`;
}

interface SocketInfo {
  readonly remotePort?: number;
  readonly bytesWritten?: number;
  readonly bytesRead?: number;
}
