import { describe, expect, it } from "vitest";
import { down, expectClean, never, retryError, retryWorld } from "../test/retry-world.ts";
import { settlement } from "../test/settlement.ts";
import { InvalidOptionError, type RetryError, TimeoutError } from "./errors.ts";
import type { Attempt } from "./retry.ts";

describe("the deadline", () => {
  it("is ten seconds by default", async () => {
    const world = retryWorld();
    const seen = settlement(world.call(() => never));
    await world.clock.advance(9_999);
    expect(seen.state).toBe("pending");
    await world.clock.advance(1);
    expect(seen.error).toMatchObject({ code: "RETRY", reason: "deadline" });
    expectClean(world);
  });

  it("ends a function that ignores its signal: the slot is free, the endpoint has failed, the error is a TimeoutError", async () => {
    const world = retryWorld({ timeoutMs: 500 });
    let attempt: Attempt | undefined;
    const seen = settlement(
      world.call((_, given) => {
        attempt = given;
        return never;
      }),
    );
    expect([world.clock.pending, world.clock.keptAlive]).toEqual([1, 1]);
    await world.clock.advance(500);
    const error = seen.error as RetryError;
    expect(error.reason).toBe("deadline");
    expect(error.errors).toHaveLength(1);
    expect(error.errors[0]).toBeInstanceOf(TimeoutError);
    expect(error.errors[0]).toMatchObject({ name: "TimeoutError", code: "TIMEOUT", timeoutMs: 500 });
    expect(error.errors[0]?.message).toContain("10.0.0.1:80");
    expect(attempt?.signal.aborted).toBe(true);
    expect(attempt?.signal.reason).toBe(error.errors[0]);
    expect(world.endpointer.endpoints[0]?.stats).toEqual({
      inFlight: 0,
      successes: 0,
      failures: 1,
      consecutiveFailures: 1,
    });
    expectClean(world);
  });

  it("costs one timer, however many calls are under way, and ends each in its own time", async () => {
    const world = retryWorld({ timeoutMs: 500, maxAttempts: 1 });
    const seen = [];
    for (let n = 0; n < 10; n++) {
      for (let m = 0; m < 10; m++) seen.push(settlement(world.call(() => never)));
      await world.clock.advance(10);
    }
    expect(world.clock.pending).toBe(1);
    await world.clock.advance(400);
    expect(seen.map(({ state }) => state === "rejected")).toEqual(seen.map((_, n) => n < 10));
    await world.clock.advance(45);
    expect(seen.filter(({ state }) => state === "rejected")).toHaveLength(50);
    await world.clock.advance(45);
    expect(seen.every(({ state }) => state === "rejected")).toBe(true);
    expectClean(world);
  });

  it("holds with a clock of its own beside the system's timers, too", async () => {
    const stopped = retryWorld({ timeoutMs: 20, maxAttempts: 1, env: { now: () => 0 } });
    const error = await retryError(stopped.call(() => never));
    expect(error.errors[0]).toBeInstanceOf(TimeoutError);
  });

  it("keeps the errors of the attempts before it, in order", async () => {
    const world = retryWorld({ timeoutMs: 500, backoff: () => 100 });
    const seen = settlement(world.call((_, { number }) => (number === 1 ? Promise.reject(down) : never)));
    await world.clock.advance(500);
    const error = seen.error as RetryError;
    expect(error.reason).toBe("deadline");
    expect(error.errors).toEqual([down, expect.any(TimeoutError)]);
    expect(error.cause).toBe(error.errors[1]);
    expectClean(world);
  });

  it.each([
    [99, "attempts"],
    [100, "deadline"],
    [101, "deadline"],
    [5_000, "deadline"],
  ])("of 100 ms and a back-off of %i ms end in %s", async (delayMs, reason) => {
    const world = retryWorld({ timeoutMs: 100, maxAttempts: 2, backoff: () => delayMs });
    const seen = settlement(world.call(() => Promise.reject(down)));
    await world.clock.advance(0);
    // What the remaining time cannot hold ends the call at once, not at the deadline.
    expect(seen.state).toBe(reason === "deadline" ? "rejected" : "pending");
    await world.clock.advance(99);
    expect(seen.error).toMatchObject({ reason });
    expect((seen.error as RetryError).errors).toHaveLength(reason === "deadline" ? 1 : 2);
    expectClean(world);
  });

  it("counts what the attempts took", async () => {
    const world = retryWorld({ timeoutMs: 100, backoff: () => 40 });
    const at: number[] = [];
    const seen = settlement(
      world.call(async () => {
        at.push(world.clock.now());
        await new Promise<void>((resolve) => void world.clock.env.after(30, resolve));
        throw down;
      }),
    );
    await world.clock.advance(100);
    // 0–30, back-off to 70, 70–100: the deadline comes in the same moment as the second answer.
    expect(at).toEqual([0, 70]);
    expect(seen.state).toBe("rejected");
    expect((seen.error as RetryError).reason).toBe("deadline");
    expectClean(world);
  });

  it("of 0 calls nothing, and says so", async () => {
    const world = retryWorld({ timeoutMs: 0 });
    let called = 0;
    const error = await retryError(world.call(() => called++));
    expect(error.reason).toBe("deadline");
    expect(error.errors).toEqual([expect.any(TimeoutError)]);
    expect(called).toBe(0);
    expectClean(world);
  });

  it("of Infinity needs no timer", async () => {
    const world = retryWorld({ timeoutMs: Infinity, maxAttempts: 2, backoff: () => 1_000 });
    const seen = settlement(world.call((_, { number }) => (number === 1 ? Promise.reject(down) : never)));
    expect(world.clock.pending).toBe(0);
    await world.clock.advance(1e9);
    expect(seen.state).toBe("pending");
    expect(world.clock.pending).toBe(0);
  });

  it("may be set per call", async () => {
    const world = retryWorld({ timeoutMs: 10_000 });
    const seen = settlement(world.call(() => never, { timeoutMs: 20 }));
    await world.clock.advance(20);
    expect(seen.error).toMatchObject({ reason: "deadline" });
    expectClean(world);
  });

  it("of attempts may be set per call, longer or shorter", async () => {
    const world = retryWorld({ timeoutMs: 10_000, attemptTimeoutMs: 100, maxAttempts: 1 });
    const patient = settlement(world.call(() => never, { attemptTimeoutMs: Infinity }));
    const hasty = settlement(world.call(() => never, { attemptTimeoutMs: 20 }));
    await world.clock.advance(20);
    expect(hasty.error).toMatchObject({ reason: "attempts" });
    await world.clock.advance(9_979);
    expect(patient.error).toBe(undefined);
    await world.clock.advance(1);
    expect(patient.error).toMatchObject({ reason: "deadline" });
    expectClean(world);
    await expect(world.call(() => 1, { attemptTimeoutMs: -1 })).rejects.toMatchObject({ path: "attemptTimeoutMs" });
  });

  it("set per call must be a duration, or the call rejects and nothing is called", async () => {
    const world = retryWorld();
    let called = 0;
    for (const timeoutMs of [-1, Number.NaN, "1s" as unknown as number]) {
      const call = world.call(() => called++, { timeoutMs });
      await expect(call).rejects.toThrow(InvalidOptionError);
      await expect(call).rejects.toMatchObject({ path: "timeoutMs" });
    }
    expect(called).toBe(0);
    expectClean(world);
  });

  it("is not an attempt's own TimeoutError: a function may throw one, and it is retried", async () => {
    const world = retryWorld({ backoff: () => 0 });
    const own = new TimeoutError("a query", 5);
    const error = await retryError(world.call(() => Promise.reject(own)));
    expect(error.reason).toBe("attempts");
    expect(error.errors).toEqual([own, own, own]);
  });
});

describe("the time of an attempt", () => {
  it("bounds each attempt, and the next one goes elsewhere", async () => {
    const world = retryWorld({ attemptTimeoutMs: 50, backoff: () => 0 });
    const signals: AbortSignal[] = [];
    const at: number[] = [];
    const seen = settlement(
      world.call((client, { signal }) => {
        signals.push(signal);
        at.push(world.clock.now());
        return client === "3" ? "done" : never;
      }),
    );
    await world.clock.advance(100);
    expect(seen).toEqual({ state: "fulfilled", value: "done" });
    expect(at).toEqual([0, 50, 100]);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true, false]);
    expect(world.endpointer.endpoints.map(({ stats }) => stats.failures)).toEqual([1, 1, 0]);
    expectClean(world);
  });

  it("ends in attempts when all of them were too slow", async () => {
    const world = retryWorld({ attemptTimeoutMs: 50, backoff: () => 0 });
    const seen = settlement(world.call(() => never));
    await world.clock.advance(150);
    const error = seen.error as RetryError;
    expect(error.reason).toBe("attempts");
    expect(error.errors.map((each: TimeoutError) => [each.code, each.timeoutMs])).toEqual([
      ["TIMEOUT", 50],
      ["TIMEOUT", 50],
      ["TIMEOUT", 50],
    ]);
    expectClean(world);
  });

  it("above the call's own time is bounded by that", async () => {
    const world = retryWorld({ attemptTimeoutMs: 5_000, timeoutMs: 100 });
    const seen = settlement(world.call(() => never));
    await world.clock.advance(100);
    expect(seen.error).toMatchObject({ reason: "deadline" });
    expectClean(world);
  });

  it("that ends together with the call's is the deadline", async () => {
    const world = retryWorld({ attemptTimeoutMs: 100, timeoutMs: 100 });
    const seen = settlement(world.call(() => never));
    await world.clock.advance(100);
    expect(seen.error).toMatchObject({ reason: "deadline" });
  });

  it("is cut short by what is left of the call's", async () => {
    const world = retryWorld({ attemptTimeoutMs: 60, timeoutMs: 100, backoff: () => 0 });
    const seen = settlement(world.call(() => never));
    await world.clock.advance(60);
    expect(seen.state).toBe("pending");
    await world.clock.advance(40);
    const error = seen.error as RetryError;
    expect(error.reason).toBe("deadline");
    expect(error.errors.map((each: TimeoutError) => each.timeoutMs)).toEqual([60, 40]);
    expectClean(world);
  });

  it("aborts the signal even for who reads it only afterwards", async () => {
    const world = retryWorld({ attemptTimeoutMs: 50, maxAttempts: 1 });
    let attempt: Attempt | undefined;
    const seen = settlement(
      world.call((_, given) => {
        attempt = given;
        return never;
      }),
    );
    await world.clock.advance(50);
    expect(seen.state).toBe("rejected");
    expect(attempt?.signal.aborted).toBe(true);
    expect(attempt?.signal.reason).toBeInstanceOf(TimeoutError);
  });

  it("swallows what a function that was given up does later, good or bad", async () => {
    const world = retryWorld({ attemptTimeoutMs: 50, backoff: () => 0, maxAttempts: 2 });
    const works = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
    const seen = settlement(world.call((_, { number }) => works[number - 1]?.promise));
    await world.clock.advance(100);
    works[0]?.resolve("too late");
    works[1]?.reject(new Error("nobody hears this"));
    await world.clock.advance(0);
    expect(seen.state).toBe("rejected");
    expect(world.endpointer.endpoints.map(({ stats }) => [stats.successes, stats.failures])).toEqual([
      [0, 1],
      [0, 1],
      [0, 0],
    ]);
    expectClean(world);
  });
});
