import {
  type Endpoint,
  type Endpointer,
  type ExplainingBalancer,
  type InstanceInit,
  type PickRequest,
  type Policy,
  createBalancer,
  createInstance,
} from "@rollcall/core";
import { type ManualClock, manualClock } from "../manual-clock.ts";
import { seededRandom } from "../seeded-random.ts";

/** How an instance answers: after so long, well or not; or never, until the call's own time-out. */
export type Answer = { readonly afterMs: number; readonly isGood: boolean };

/** A balancer over instances that exist only on a manual clock, and calls that are played through it. */
export interface Fleet {
  readonly clock: ManualClock;
  readonly balancer: ExplainingBalancer<string>;
  /** Those of the present set, in its order. Their clients are their ids. */
  readonly endpoints: readonly Endpoint<string>[];
  /** Replaces the set; an id that stays keeps its endpoint. */
  set(instances: readonly (Partial<InstanceInit> & { readonly id: string })[]): void;
  /** Makes a call now, answered in its time. Returns the id of who was picked. */
  call(answer: (id: string) => Answer, request?: PickRequest): string;
  /** Calls one after the other, each answered at once and well. */
  picks(count: number, request?: (n: number) => PickRequest): string[];
  /** Lets the clock be ahead without any timer running, as when the event loop is blocked. */
  block(ms: number): void;
}

/** Makes a {@link Fleet} of `size` instances `i0`, `i1`, …, whose chance is that of the seed. */
export function fleet(policy: Policy, size: number, seed = 1): Fleet {
  const clock = manualClock({ random: seededRandom(seed) });
  let blockedMs = 0;
  let endpoints: readonly Endpoint<string>[] = [];
  const endpointer: Endpointer<string> = {
    service: "fleet",
    get snapshot() {
      return { state: "live", revision: 1, instances: endpoints.map(({ instance }) => instance) } as const;
    },
    get endpoints() {
      return endpoints;
    },
    ready: async () => undefined,
    close: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  };
  const env = { ...clock.env, now: () => clock.now() + blockedMs };
  const balancer = createBalancer(endpointer, policy, { env });
  const call: Fleet["call"] = (answer, request) => {
    const pick = balancer.pick(request);
    const { client } = pick.endpoint;
    const { afterMs, isGood } = answer(client);
    clock.env.after(afterMs, () =>
      pick.done(isGood ? { kind: "success" } : { kind: "failure", error: new Error(client) }),
    );
    return client;
  };
  const made: Fleet = {
    clock,
    balancer,
    get endpoints() {
      return endpoints;
    },
    set(instances) {
      const known = new Map(endpoints.map((endpoint) => [endpoint.client, endpoint]));
      endpoints = Object.freeze(
        instances.map((init) => {
          const place = Number(init.id.slice(1));
          const host = `10.0.${place >> 8}.${place & 255}`;
          const instance = createInstance({ service: "fleet", host, port: 80, ...init });
          const endpoint = known.get(init.id);
          if (endpoint === undefined) {
            const stats = { inFlight: 0, successes: 0, failures: 0, consecutiveFailures: 0 };
            return { instance, client: init.id, stats };
          }
          // As an endpointer does: the facts may change, the endpoint is the same.
          return Object.assign(endpoint, { instance });
        }),
      );
    },
    call,
    picks: (count, request) =>
      Array.from({ length: count }, (_, n) => {
        const pick = balancer.pick(request?.(n));
        pick.done({ kind: "success" });
        return pick.endpoint.client;
      }),
    block: (ms) => void (blockedMs += ms),
  };
  made.set(ids(size).map((id) => ({ id })));
  return made;
}

/** `i0` to `i<size - 1>`. */
export function ids(size: number): string[] {
  return Array.from({ length: size }, (_, place) => `i${place}`);
}
