import { manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { lorem, lorems } from "../test/lorem.ts";
import { down, never, retryError, retryWorld } from "../test/retry-world.ts";
import { rejection, settlement } from "../test/settlement.ts";
import type { Balancer } from "./balancer.ts";
import type { Endpoint } from "./endpoint.ts";
import { ClosedError, NoEndpointsError } from "./errors.ts";
import type { Outcome, PickRequest } from "./pick.ts";
import { retry } from "./retry.ts";

describe("key and avoid", () => {
  /** A balancer written by hand, around another, that notes what it is asked for. */
  function listening<C>(inner: Balancer<C>): { balancer: Balancer<C>; requests: (PickRequest | undefined)[] } {
    const requests: (PickRequest | undefined)[] = [];
    return {
      requests,
      balancer: {
        pick: (request) => {
          requests.push(request);
          return inner.pick(request);
        },
        ready: (options) => inner.ready(options),
      },
    };
  }

  it("reach every pick, and avoid grows by what this call has tried", async () => {
    const world = retryWorld();
    const { balancer, requests } = listening(world.balancer);
    const [one, two, three] = world.endpointer.endpoints;
    const avoid = new Set(three === undefined ? [] : [three]);
    const call = retry(balancer, { env: world.clock.env, backoff: () => 0 });
    await rejection(call(() => Promise.reject(down), { key: "user-7", avoid }));
    expect(requests.map((request) => request?.key)).toEqual(["user-7", "user-7", "user-7"]);
    // Each request keeps its own set: what was handed out is not changed afterwards.
    expect(requests.map((request) => Array.from(request?.avoid ?? []))).toEqual([
      [three],
      [three, one],
      [three, one, two],
    ]);
    expect([...avoid]).toEqual([three]);
  });

  it("reach the pick that had to wait", async () => {
    const world = retryWorld({}, null);
    const { balancer, requests } = listening(world.balancer);
    const result = retry(balancer, { env: world.clock.env })((client) => client, { key: "user-7" });
    world.instancer.update(lorems(1));
    expect(await result).toBe("1");
    expect(requests.map((request) => request?.key)).toEqual(["user-7", "user-7"]);
  });

  it("of the caller is honoured from the first attempt on", async () => {
    const { call, endpointer } = retryWorld({}, lorems(2));
    const avoid = new Set<Endpoint>(endpointer.endpoints.slice(0, 1));
    for (let n = 0; n < 4; n++) expect(await call((client) => client, { avoid })).toBe("2");
    expect(avoid.size).toBe(1);
  });

  it("of an attempt that timed out is avoided, too", async () => {
    const world = retryWorld({ attemptTimeoutMs: 10, backoff: () => 0 }, lorems(2));
    const tried: string[] = [];
    const seen = settlement(
      world.call((client) => {
        tried.push(client);
        return client === "1" ? never : client;
      }),
    );
    await world.clock.advance(10);
    expect(tried).toEqual(["1", "2"]);
    expect(seen.state).toBe("fulfilled");
  });
});

describe("a balancer written by hand", () => {
  const endpoint: Endpoint<string> = {
    instance: lorem(1),
    client: "client",
    stats: { inFlight: 0, successes: 0, failures: 0, consecutiveFailures: 0 },
  };

  /** A plain object against the interface; notes how its picks ended. */
  function byHand(pick: () => void = () => undefined, ready: () => Promise<void> = async () => undefined) {
    const outcomes: (Outcome["kind"] | "disposed")[] = [];
    const balancer: Balancer<string> = {
      pick: () => {
        pick();
        return {
          endpoint,
          done: ({ kind }) => void outcomes.push(kind),
          [Symbol.dispose]: () => void outcomes.push("disposed"),
        };
      },
      ready,
    };
    return { balancer, outcomes };
  }

  it("gets exactly one outcome for each pick", async () => {
    const clock = manualClock();
    const { balancer, outcomes } = byHand();
    const call = retry(balancer, { env: clock.env, backoff: () => 0, attemptTimeoutMs: 50 });
    await call(() => "done");
    await call((_, { number }) => (number === 1 ? Promise.reject(down) : "done"));
    const controller = new AbortController();
    const aborted = rejection(call(() => never, { signal: controller.signal }));
    controller.abort();
    await aborted;
    const slow = settlement(call((_, { number }) => (number === 1 ? never : "done")));
    await clock.advance(50);
    expect(slow.state).toBe("fulfilled");
    expect(outcomes).toEqual(["success", "failure", "success", "cancelled", "failure", "success"]);
  });

  it("may fail in any way: its errors count as attempts", async () => {
    const bug = new TypeError("a bug in the balancer");
    const { balancer, outcomes } = byHand(() => {
      throw bug;
    });
    const error = await retryError(retry(balancer, { env: manualClock().env, backoff: () => 0 })(() => "never"));
    expect([error.reason, error.errors]).toEqual(["attempts", [bug, bug, bug]]);
    expect(outcomes).toEqual([]);
  });

  it("may throw ClosedError itself, which comes unwrapped", async () => {
    const closed = new ClosedError("my balancer");
    const { balancer } = byHand(() => {
      throw closed;
    });
    expect(await rejection(retry(balancer, { env: manualClock().env })(() => "never"))).toBe(closed);
  });

  it("may have a ready that never settles and ignores its signal: the deadline and the caller still count", async () => {
    const clock = manualClock();
    let known = false;
    const ready = Promise.withResolvers<void>();
    const { balancer, outcomes } = byHand(
      () => {
        if (!known) throw new NoEndpointsError("lorem", "pending");
      },
      () => ready.promise,
    );
    const controller = new AbortController();
    const call = retry(balancer, { env: clock.env, timeoutMs: 100 });
    const [late, left] = [settlement(call(() => "never")), settlement(call(() => "never", controller))];
    await clock.advance(50);
    controller.abort("left");
    await clock.advance(50);
    expect(late.error).toMatchObject({ reason: "deadline" });
    expect(left.error).toBe("left");
    known = true;
    ready.resolve();
    await clock.advance(0);
    // Nobody picks for a call that has ended.
    expect(outcomes).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it("is told by a signal when a call no longer waits for it", async () => {
    const clock = manualClock();
    const signals: (AbortSignal | undefined)[] = [];
    const balancer: Balancer<string> = {
      pick: () => {
        throw new NoEndpointsError("lorem", "pending");
      },
      ready: ({ signal } = {}) => {
        signals.push(signal);
        return never;
      },
    };
    const controller = new AbortController();
    const call = retry(balancer, { env: clock.env, timeoutMs: 100 });
    const seen = [settlement(call(() => "never")), settlement(call(() => "never", controller))];
    expect(signals.map((signal) => signal?.aborted)).toEqual([false, false]);
    controller.abort("left");
    await clock.advance(100);
    expect(seen.map(({ state }) => state)).toEqual(["rejected", "rejected"]);
    expect(signals.map((signal) => signal?.aborted)).toEqual([true, true]);
  });

  it("may have a ready that fails: that is the attempt's error", async () => {
    const { balancer } = byHand(
      () => {
        throw new NoEndpointsError("lorem", "pending");
      },
      () => Promise.reject(down),
    );
    const error = await retryError(retry(balancer, { env: manualClock().env, backoff: () => 0 })(() => "never"));
    expect(error.errors).toEqual([down, down, down]);
  });
});
