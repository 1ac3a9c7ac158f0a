import { getEventListeners } from "node:events";
import { describe, expect, it } from "vitest";
import { lorems } from "../test/lorem.ts";
import { down, expectClean, never, retryWorld } from "../test/retry-world.ts";
import { rejection, settlement } from "../test/settlement.ts";
import type { Attempt } from "./retry.ts";

describe("the caller's abort", () => {
  const reason = new Error("the user left");

  it("before the call calls nothing and picks nothing", async () => {
    const world = retryWorld();
    let called = 0;
    expect(await rejection(world.call(() => called++, { signal: AbortSignal.abort(reason) }))).toBe(reason);
    expect(called).toBe(0);
    expect(await world.call((client) => client)).toBe("1");
    expectClean(world);
  });

  it("while the function runs rejects at once with the reason, unwrapped, and the endpoint learns nothing", async () => {
    const world = retryWorld();
    const controller = new AbortController();
    let attempt: Attempt | undefined;
    const seen = settlement(
      world.call(
        (_, given) => {
          attempt = given;
          return never;
        },
        { signal: controller.signal },
      ),
    );
    await world.clock.advance(5);
    controller.abort(reason);
    await world.clock.advance(0);
    expect(seen).toEqual({ state: "rejected", error: reason });
    expect(attempt?.signal.reason).toBe(reason);
    expect(world.endpointer.endpoints[0]?.stats).toEqual({
      inFlight: 0,
      successes: 0,
      failures: 0,
      consecutiveFailures: 0,
    });
    expectClean(world);
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(0);
  });

  it("wins over what the function makes of it", async () => {
    for (const answer of [() => Promise.reject(down), () => Promise.resolve("done")]) {
      const world = retryWorld({ backoff: () => 0 });
      const controller = new AbortController();
      const call = world.call(
        (_, { signal }) =>
          new Promise((resolve, reject) => {
            signal.addEventListener("abort", () => void answer().then(resolve, reject));
          }),
        { signal: controller.signal },
      );
      controller.abort(reason);
      expect(await rejection(call)).toBe(reason);
      expect(world.endpointer.endpoints[0]?.stats).toMatchObject({ successes: 0, failures: 0 });
      expectClean(world);
    }
  });

  it("from inside the function rejects with the reason, also if the function then throws or returns", async () => {
    const throwing = (): never => {
      throw down;
    };
    for (const end of [throwing, () => "done", () => never, () => Promise.reject(down)]) {
      const world = retryWorld({ backoff: () => 0 });
      const controller = new AbortController();
      let called = 0;
      const call = world.call(
        () => {
          called++;
          controller.abort(reason);
          return end();
        },
        { signal: controller.signal },
      );
      expect(await rejection(call)).toBe(reason);
      expect(called).toBe(1);
      expect(world.endpointer.endpoints[0]?.stats).toMatchObject({ successes: 0, failures: 0 });
      expectClean(world);
      expect(getEventListeners(controller.signal, "abort")).toHaveLength(0);
    }
  });

  it("during the back-off rejects at once", async () => {
    const world = retryWorld({ backoff: () => 1_000 });
    const controller = new AbortController();
    let called = 0;
    const seen = settlement(
      world.call(
        () => {
          called++;
          throw down;
        },
        { signal: controller.signal },
      ),
    );
    await world.clock.advance(500);
    controller.abort(reason);
    await world.clock.advance(0);
    expect(seen).toEqual({ state: "rejected", error: reason });
    await world.clock.advance(10_000);
    expect(called).toBe(1);
    expectClean(world);
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(0);
  });

  it("while waiting for the service rejects at once", async () => {
    const world = retryWorld({}, null);
    const controller = new AbortController();
    let called = 0;
    const seen = settlement(world.call(() => called++, { signal: controller.signal }));
    await world.clock.advance(500);
    controller.abort(reason);
    await world.clock.advance(0);
    expect(seen).toEqual({ state: "rejected", error: reason });
    world.instancer.update(lorems(3));
    await world.clock.advance(10_000);
    expect(called).toBe(0);
    expectClean(world);
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(0);
  });

  it("in the very moment the service becomes known leaves no slot behind", async () => {
    const world = retryWorld({}, null);
    const controller = new AbortController();
    const seen = settlement(world.call(() => "done", { signal: controller.signal }));
    await world.clock.advance(500);
    world.instancer.update(lorems(3));
    controller.abort(reason);
    await world.clock.advance(0);
    expect(seen).toEqual({ state: "rejected", error: reason });
    expectClean(world);
  });

  it("ends the questions: neither retryable nor backoff nor the budget is asked any more", async () => {
    const asked: string[] = [];
    const controller = new AbortController();
    const world = retryWorld({
      retryable: () => asked.push("retryable") > 0,
      backoff: () => asked.push("backoff"),
      budget: { deposit: () => undefined, withdraw: () => asked.push("withdraw") > 0 },
    });
    const call = world.call(() => never, { signal: controller.signal });
    controller.abort(reason);
    expect(await rejection(call)).toBe(reason);
    expect(asked).toEqual([]);
  });

  it("from inside retryable or backoff is an abort like any other", async () => {
    let controller = new AbortController();
    const aborting =
      <T>(answer: T) =>
      (): T => {
        controller.abort(reason);
        return answer;
      };
    for (const options of [{ retryable: aborting(true) }, { retryable: aborting(false) }, { backoff: aborting(0) }]) {
      controller = new AbortController();
      const world = retryWorld(options);
      expect(await rejection(world.call(() => Promise.reject(down), { signal: controller.signal }))).toBe(reason);
      expectClean(world);
    }
  });

  it("with the platform's default reason is that very DOMException", async () => {
    const world = retryWorld();
    const controller = new AbortController();
    const call = world.call(() => never, { signal: controller.signal });
    controller.abort();
    expect(await rejection(call)).toBe(controller.signal.reason);
    expect(controller.signal.reason).toMatchObject({ name: "AbortError" });
  });

  it("may have any reason, even null", async () => {
    const world = retryWorld();
    const controller = new AbortController();
    const call = world.call(() => never, { signal: controller.signal });
    controller.abort(null);
    expect(await rejection(call)).toBe(null);
    expectClean(world);
  });

  it("comes too late for a call that has ended, and leaves no listener after success or failure", async () => {
    const world = retryWorld({ backoff: () => 0 });
    const controller = new AbortController();
    const { signal } = controller;
    await world.call(() => "done", { signal });
    await rejection(world.call(() => Promise.reject(down), { signal }));
    await rejection(retryWorld({}, []).call(() => "never", { signal, timeoutMs: 0 }));
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
    controller.abort(reason);
    expectClean(world);
  });

  it("may end a thousand calls that share one signal, without a warning", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on("warning", onWarning);
    const world = retryWorld();
    const controller = new AbortController();
    const calls = Array.from({ length: 1_000 }, () =>
      rejection(world.call((_, { signal }) => (signal.aborted ? "" : never), { signal: controller.signal })),
    );
    await world.clock.advance(1);
    controller.abort(reason);
    expect(new Set(await Promise.all(calls))).toEqual(new Set([reason]));
    await world.clock.advance(0);
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(0);
    expectClean(world);
  });
});
