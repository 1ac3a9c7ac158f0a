import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { drivenInstancer } from "../test/driven-instancer.ts";
import { lorems } from "../test/lorem.ts";
import { down, expectClean, never, retryWorld } from "../test/retry-world.ts";
import { rejection } from "../test/settlement.ts";
import { createBalancer } from "./balancer.ts";
import { createEndpointer } from "./endpointer.ts";
import type { Outcome } from "./pick.ts";
import { type CallOptions, retry } from "./retry.ts";

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as () => void;

describe("hold", () => {
  const success: Outcome = { kind: "success" };

  it("keeps the slot after the function has returned, until it is let go", async () => {
    const world = retryWorld();
    const release = await world.call((_, attempt) => attempt.hold());
    expect(world.inFlight()).toBe(1);
    expect(world.clock.pending).toBe(0);
    release(success);
    expect(world.endpointer.endpoints[0]?.stats).toEqual({
      inFlight: 0,
      successes: 1,
      failures: 0,
      consecutiveFailures: 0,
    });
    release({ kind: "failure", error: down });
    expect(world.endpointer.endpoints[0]?.stats).toMatchObject({ inFlight: 0, successes: 1, failures: 0 });
  });

  it("takes the outcome from who lets it go", async () => {
    const world = retryWorld();
    const release = await world.call((_, attempt) => attempt.hold());
    release({ kind: "failure", error: down });
    expect(world.endpointer.endpoints[0]?.stats).toMatchObject({ inFlight: 0, successes: 0, failures: 1 });
  });

  it("keeps nothing alive but the slot: the result may be forgotten meanwhile", async () => {
    const world = retryWorld();
    const call = async () => {
      const result = { release: undefined as ((outcome: Outcome) => void) | undefined };
      await world.call((_, attempt) => {
        result.release = attempt.hold();
        return result;
      });
      return { release: result.release, result: new WeakRef(result) };
    };
    const { release, result } = await call();
    await new Promise((resolve) => setImmediate(resolve)); // a WeakRef holds on until the turn ends
    gc();
    expect(result.deref()).toBeUndefined();
    release?.(success);
    expectClean(world);
  });

  it("may be let go before the function returns", async () => {
    const world = retryWorld();
    await world.call((_, attempt) => {
      attempt.hold()({ kind: "failure", error: down });
      expect(world.inFlight()).toBe(0);
      return "done";
    });
    expect(world.endpointer.endpoints[0]?.stats).toMatchObject({ inFlight: 0, successes: 0, failures: 1 });
  });

  it("is settled by the attempt if that fails, times out or is aborted", async () => {
    const controller = new AbortController();
    const ends: [() => unknown, CallOptions, number][] = [
      [() => Promise.reject(down), {}, 1],
      [() => never, { timeoutMs: 10 }, 1],
      [() => never, { signal: controller.signal }, 0],
    ];
    for (const [end, options, failures] of ends) {
      const world = retryWorld({ maxAttempts: 1 });
      let release: ((outcome: Outcome) => void) | undefined;
      const call = rejection(
        world.call((_, attempt) => {
          release = attempt.hold();
          return end();
        }, options),
      );
      await world.clock.advance(10);
      controller.abort();
      await call;
      expect(world.endpointer.endpoints[0]?.stats).toMatchObject({ inFlight: 0, failures });
      release?.(success);
      expect(world.endpointer.endpoints[0]?.stats).toMatchObject({ inFlight: 0, successes: 0, failures });
      expectClean(world);
    }
  });

  it("asked for after the attempt has ended does nothing", async () => {
    const world = retryWorld();
    const attempt = await world.call((_, given) => given);
    const release = attempt.hold();
    expect(world.inFlight()).toBe(0);
    release({ kind: "failure", error: down });
    expect(world.endpointer.endpoints[0]?.stats).toMatchObject({ inFlight: 0, successes: 1, failures: 0 });
  });

  it("asked for twice is one slot, and the first to let go ends it", async () => {
    const world = retryWorld();
    const [one, two] = await world.call((_, attempt) => [attempt.hold(), attempt.hold()] as const);
    expect(world.inFlight()).toBe(1);
    two(success);
    one({ kind: "failure", error: down });
    expect(world.endpointer.endpoints[0]?.stats).toMatchObject({ inFlight: 0, successes: 1, failures: 0 });
  });

  it("holds up the drain of its endpoint", async () => {
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    instancer.update(lorems(1));
    const closed: string[] = [];
    const endpointer = createEndpointer(instancer, ({ id }) => id, {
      env: clock.env,
      close: (id) => void closed.push(id),
    });
    const release = await retry(createBalancer(endpointer), { env: clock.env })((_, attempt) => attempt.hold());
    instancer.update([]);
    await clock.advance(10);
    expect(closed).toEqual([]);
    release(success);
    expect(closed).toEqual(["1"]);
    expect(clock.pending).toBe(0);
  });
});
