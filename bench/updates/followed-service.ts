import { type Endpointer, createEndpointer } from "@rollcall/core";
import { type ConsulRegistryOptions, consulRegistry } from "@rollcall/consul";

/** Rollcall, as an application has it: a registry and an endpointer, at a Consul that answers from memory. */
export interface FollowedService {
  readonly endpointer: Endpointer<string>;
  /** How often the set has changed. */
  readonly changes: number;
  /** Answers the poll that waits; resolves when all that follows from it is done, and the next poll waits. */
  answer(body: readonly Buffer[]): Promise<void>;
  close(): Promise<void>;
}

type Api = Extract<NonNullable<ConsulRegistryOptions["client"]>, { _put(request: never): unknown }>;
type Poll = Parameters<Api["_get"]>[0];

/** Follows the service "lorem". Whatever is done, is done by the packages' public functions. */
export async function followedService(): Promise<FollowedService> {
  let asked = Promise.withResolvers<(body: readonly Buffer[]) => void>();
  let index = 1;
  const client: Api = {
    _get: ({ pipe, ctx }: Poll) =>
      new Promise((resolve, reject) => {
        ctx.once("cancel", () => reject(new Error("cancelled")));
        asked.resolve((chunks) => {
          asked = Promise.withResolvers();
          for (const chunk of chunks) pipe.write(chunk);
          pipe.end(() => resolve({ headers: { "x-consul-index": String(++index) } }));
        });
      }),
    _put: () => Promise.reject(new Error("nothing is written here")),
  };
  // A clock that stands still while an answer is read, and runs ahead between two: polls are paced by time, also by that
  // which reading takes, and here nobody waits for that.
  let nowMs = 0;
  const registry = consulRegistry({ client, env: { now: () => nowMs } });
  const instancer = registry.instancer("lorem");
  const endpointer = createEndpointer(instancer, ({ id }) => id);
  let changes = 0;
  instancer.subscribe(() => changes++);
  return {
    endpointer,
    get changes() {
      return changes;
    },
    async answer(body) {
      const give = await asked.promise;
      nowMs += 1_000;
      give(body);
      await asked.promise;
    },
    async close() {
      await endpointer.close();
      await registry.close();
    },
  };
}

/** A body in pieces, as a socket delivers it. */
export function inChunks(body: Buffer): readonly Buffer[] {
  const size = 65_536;
  return Array.from({ length: Math.ceil(body.length / size) }, (_, n) => body.subarray(n * size, (n + 1) * size));
}
