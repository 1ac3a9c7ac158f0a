import { getEventListeners } from "node:events";
import { type ManualClock, manualClock, seededRandom } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { drivenInstancer } from "../test/driven-instancer.ts";
import { lorem, lorems } from "../test/lorem.ts";
import { rejection, settlement } from "../test/settlement.ts";
import { type Balancer, createBalancer } from "./balancer.ts";
import { channels } from "./channels.ts";
import type { Endpoint } from "./endpoint.ts";
import { createEndpointer } from "./endpointer.ts";
import { ClosedError, InvalidOptionError, NoEndpointsError, RetryError, TimeoutError } from "./errors.ts";
import type { Instance } from "./instance.ts";
import type { Outcome, PickRequest } from "./pick.ts";
import type { Policy } from "./policy.ts";
import { type Attempt, type CallOptions, type RetryOptions, retry } from "./retry.ts";
import { retryBudget } from "./retry-budget.ts";

const down = new Error("ECONNREFUSED");
const never = new Promise<never>(() => undefined);

/** Calls over `instances` (default 3; `null`: nothing is known yet), whose clients are their ids. */
function start(options: RetryOptions = {}, instances: readonly Instance[] | null = lorems(3), policy?: Policy) {
  const clock = manualClock({ random: () => 0 });
  const instancer = drivenInstancer(clock.env);
  if (instances !== null) instancer.update(instances);
  const endpointer = createEndpointer(instancer, ({ id }) => id, { env: clock.env, drainMs: 0 });
  const balancer = createBalancer(endpointer, policy, { env: clock.env });
  const call = retry(balancer, { env: clock.env, ...options });
  const inFlight = (): number => endpointer.endpoints.reduce((sum, { stats }) => sum + stats.inFlight, 0);
  return { clock, instancer, endpointer, balancer, call, inFlight };
}

/** Nothing is left behind: no timer, no slot. */
function expectClean({ clock, inFlight }: { clock: ManualClock; inFlight: () => number }): void {
  expect([clock.pending, inFlight()]).toEqual([0, 0]);
}

async function retryError(call: Promise<unknown>): Promise<RetryError> {
  const error = await rejection(call);
  expect(error).toBeInstanceOf(RetryError);
  return error as RetryError;
}

describe("a call that succeeds", () => {
  it("gives the function the client and its attempt, and passes on what it returns", async () => {
    const world = start();
    const seen: [string, Attempt][] = [];
    const result = await world.call((client, attempt) => {
      seen.push([client, attempt]);
      return { word: "lorem" };
    });
    expect(result).toEqual({ word: "lorem" });
    const [client, attempt] = seen[0] ?? [];
    expect(client).toBe("1");
    expect(attempt?.number).toBe(1);
    expect(attempt?.endpoint).toBe(world.endpointer.endpoints[0]);
    expect(attempt?.signal.aborted).toBe(false);
    expect(world.endpointer.endpoints[0]?.stats).toMatchObject({ inFlight: 0, successes: 1, failures: 0 });
    expectClean(world);
  });

  it.each<[string, () => unknown]>([
    ["a value", () => "done"],
    ["a promise", async () => "done"],
    // oxlint-disable-next-line unicorn/no-thenable -- the thenable is the subject
    ["a thenable", () => ({ then: (resolve: (value: string) => void) => resolve("done") })],
  ])("takes %s from the function", async (_, fn) => {
    const world = start();
    await expect(world.call(fn)).resolves.toBe("done");
    expect(world.endpointer.endpoints[0]?.stats.successes).toBe(1);
    expectClean(world);
  });

  it("passes on undefined, null and false as they are", async () => {
    const { call } = start();
    for (const value of [undefined, null, false, 0, ""]) expect(await call(() => value)).toBe(value);
  });

  it("holds a slot while the function runs", async () => {
    const world = start();
    const work = Promise.withResolvers<string>();
    const result = world.call(() => work.promise);
    expect(world.inFlight()).toBe(1);
    work.resolve("done");
    await result;
    expectClean(world);
  });

  it("forgets the errors of the attempts before, but the endpoints do not", async () => {
    const world = start({ backoff: () => 0 });
    const result = await world.call((client, { number }) => {
      if (number < 3) throw down;
      return client;
    });
    expect(result).toBe("3");
    expect(world.endpointer.endpoints.map(({ stats }) => [stats.successes, stats.failures])).toEqual([
      [0, 1],
      [0, 1],
      [1, 0],
    ]);
    expectClean(world);
  });

  it("spreads calls over the endpoints", async () => {
    const { call } = start();
    const clients: string[] = [];
    for (let n = 0; n < 6; n++) clients.push(await call((client) => client));
    expect(clients).toEqual(["1", "2", "3", "1", "2", "3"]);
  });
});

describe("attempts", () => {
  it.each([
    [undefined, 3],
    [1, 1],
    [2, 2],
    [5, 5],
    [0, 1],
    [-1, 1],
    [-Infinity, 1],
  ])("maxAttempts %s makes %i of them, the first included", async (maxAttempts, expected) => {
    const world = start({ maxAttempts, backoff: () => 0, budget: false });
    const errors: Error[] = [];
    const call = world.call((_, { number }) => {
      const error = new Error(`attempt ${number}`);
      errors.push(error);
      throw error;
    });
    const error = await retryError(call);
    expect(error.reason).toBe("attempts");
    expect(error.errors).toEqual(errors);
    expect(errors.map(({ message }) => message)).toEqual(
      Array.from({ length: expected }, (_, index) => `attempt ${index + 1}`),
    );
    expectClean(world);
  });

  it("go to endpoints that this call has not tried, until there are none left", async () => {
    const { call } = start({ maxAttempts: 5, backoff: () => 0, budget: false });
    const tried: string[] = [];
    await rejection(
      call((client) => {
        tried.push(client);
        throw down;
      }),
    );
    expect(tried.slice(0, 3).toSorted()).toEqual(["1", "2", "3"]);
    expect(tried).toHaveLength(5);
  });

  it.each([1, 2, 3, 4, 5])("never repeat an endpoint while another is left, under random (seed %i)", async (seed) => {
    const random: Policy = {
      name: "seeded",
      create: () => {
        const next = seededRandom(seed);
        return {
          picker: (endpoints) => () => endpoints[Math.floor(next() * endpoints.length)] ?? endpoints[0],
        };
      },
    };
    const { call } = start({ maxAttempts: 4, backoff: () => 0, budget: false }, lorems(4), random);
    const tried: string[] = [];
    await rejection(
      call((client) => {
        tried.push(client);
        throw down;
      }),
    );
    expect(tried.toSorted()).toEqual(["1", "2", "3", "4"]);
  });

  it("see an endpoint that came while they were made", async () => {
    const { call, instancer } = start({ backoff: () => 0 }, lorems(1));
    const result = await call((client) => {
      if (client === "1") {
        instancer.update(lorems(2));
        throw down;
      }
      return client;
    });
    expect(result).toBe("2");
  });

  it("count everything that can be thrown, a falsy thing too", async () => {
    const { call } = start({ backoff: () => 0 });
    const thrown: unknown[] = [undefined, "text", 0];
    // oxlint-disable-next-line typescript/only-throw-error -- whatever is thrown must arrive
    const error = await retryError(call((_, { number }) => Promise.reject(thrown[number - 1])));
    expect(error.errors).toEqual(thrown);
    expect(error.reason).toBe("attempts");
  });

  it("take a synchronous throw for a failure of the endpoint", async () => {
    const world = start({ maxAttempts: 1 });
    const error = await retryError(
      world.call(() => {
        throw down;
      }),
    );
    expect(error.errors).toEqual([down]);
    expect(error.cause).toBe(down);
    expect(world.endpointer.endpoints[0]?.stats).toMatchObject({ inFlight: 0, failures: 1, consecutiveFailures: 1 });
    expectClean(world);
  });

  it("tell the diagnostics channel how each of them ended", async () => {
    const messages: unknown[] = [];
    const unsubscribe = channels.attemptEnded.subscribe(({ instance, number, outcome, latencyMs }) => {
      messages.push([instance.id, number, outcome.kind, latencyMs]);
    });
    const { call, clock } = start({ backoff: () => 10 });
    const done = call(async (_, { number }) => {
      await new Promise<void>((resolve) => void clock.env.after(5, resolve));
      if (number === 1) throw down;
    });
    await clock.advance(20);
    await done;
    unsubscribe();
    expect(messages).toEqual([
      ["1", 1, "failure", 5],
      ["2", 2, "success", 5],
    ]);
  });
});

describe("a call that failed", () => {
  it("rejects with a RetryError that is an AggregateError, with code, reason, errors and cause", async () => {
    const { call } = start({ backoff: () => 0 });
    const errors = [new Error("e1"), new Error("e2"), new Error("e3")];
    const error = await retryError(call((_, { number }) => Promise.reject(errors[number - 1])));
    expect(error).toBeInstanceOf(AggregateError);
    expect(error).toMatchObject({ name: "RetryError", code: "RETRY", reason: "attempts" });
    expect(error.errors).toEqual(errors);
    expect(error.cause).toBe(errors[2]);
    expect(error.message).toContain("e3 (previously: e1; e2)");
  });
});

describe("back-off", () => {
  it("waits exactly as long as the given function says, after attempt 1, 2, …", async () => {
    const asked: [number, unknown][] = [];
    const delays = [100, 7, 2_500];
    const world = start({
      maxAttempts: 4,
      budget: false,
      backoff: (attempt, error) => {
        asked.push([attempt, error]);
        return delays[attempt - 1] ?? 0;
      },
    });
    const at: number[] = [];
    const seen = settlement(
      world.call(() => {
        at.push(world.clock.now());
        throw down;
      }),
    );
    await world.clock.advance(99);
    expect(at).toEqual([0]);
    await world.clock.advance(10_000);
    expect(at).toEqual([0, 100, 107, 2_607]);
    // Not after the last one: nothing follows it.
    expect(asked).toEqual([
      [1, down],
      [2, down],
      [3, down],
    ]);
    expect(seen.state).toBe("rejected");
    expectClean(world);
  });

  it("holds no slot while it waits, and keeps the process alive", async () => {
    const world = start({ backoff: () => 50 });
    const seen = settlement(world.call(() => Promise.reject(down)));
    await world.clock.advance(10);
    expect(world.inFlight()).toBe(0);
    expect([world.clock.pending, world.clock.keptAlive]).toEqual([1, 1]);
    await world.clock.advance(1_000);
    expect(seen.state).toBe("rejected");
  });

  it("is full jitter by default: uniform below 25 ms, doubled up to 1 s", async () => {
    const at: number[] = [];
    const clock = manualClock({ random: () => 0.999_999 });
    const instancer = drivenInstancer(clock.env);
    instancer.update(lorems(1));
    const balancer = createBalancer(createEndpointer(instancer, () => "client", { env: clock.env }));
    const call = retry(balancer, { maxAttempts: 9, budget: false, env: clock.env });
    const seen = settlement(
      call(() => {
        at.push(clock.now());
        throw down;
      }),
    );
    await clock.advance(10_000);
    const gaps = at.slice(1).map((time, index) => Math.round(time - (at[index] ?? 0)));
    expect(gaps).toEqual([25, 50, 100, 200, 400, 800, 1_000, 1_000]);
    expect(seen.state).toBe("rejected");
  });

  it.each([0, -5, Number.NaN, -Infinity])("of %s means at once, without a timer", async (delayMs) => {
    const world = start({ backoff: () => delayMs });
    const error = await retryError(world.call(() => Promise.reject(down)));
    expect(error.errors).toHaveLength(3);
    expect(world.clock.now()).toBe(0);
    expectClean(world);
  });

  it("of Infinity can never be held: the call ends at once", async () => {
    for (const timeoutMs of [1_000, Infinity]) {
      const world = start({ backoff: () => Infinity, timeoutMs });
      expect(await retryError(world.call(() => Promise.reject(down)))).toMatchObject({ reason: "deadline" });
      expectClean(world);
    }
  });
});

describe("the deadline", () => {
  it("is ten seconds by default", async () => {
    const world = start();
    const seen = settlement(world.call(() => never));
    await world.clock.advance(9_999);
    expect(seen.state).toBe("pending");
    await world.clock.advance(1);
    expect(seen.error).toMatchObject({ code: "RETRY", reason: "deadline" });
    expectClean(world);
  });

  it("ends a function that ignores its signal: the slot is free, the endpoint has failed, the error is a TimeoutError", async () => {
    const world = start({ timeoutMs: 500 });
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

  it("keeps the errors of the attempts before it, in order", async () => {
    const world = start({ timeoutMs: 500, backoff: () => 100 });
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
    const world = start({ timeoutMs: 100, maxAttempts: 2, backoff: () => delayMs });
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
    const world = start({ timeoutMs: 100, backoff: () => 40 });
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
    const world = start({ timeoutMs: 0 });
    let called = 0;
    const error = await retryError(world.call(() => called++));
    expect(error.reason).toBe("deadline");
    expect(error.errors).toEqual([expect.any(TimeoutError)]);
    expect(called).toBe(0);
    expectClean(world);
  });

  it("of Infinity needs no timer", async () => {
    const world = start({ timeoutMs: Infinity, maxAttempts: 2, backoff: () => 1_000 });
    const seen = settlement(world.call((_, { number }) => (number === 1 ? Promise.reject(down) : never)));
    expect(world.clock.pending).toBe(0);
    await world.clock.advance(1e9);
    expect(seen.state).toBe("pending");
    expect(world.clock.pending).toBe(0);
  });

  it("may be set per call", async () => {
    const world = start({ timeoutMs: 10_000 });
    const seen = settlement(world.call(() => never, { timeoutMs: 20 }));
    await world.clock.advance(20);
    expect(seen.error).toMatchObject({ reason: "deadline" });
    expectClean(world);
  });

  it("set per call must be a duration, or the call rejects and nothing is called", async () => {
    const world = start();
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
    const world = start({ backoff: () => 0 });
    const own = new TimeoutError("a query", 5);
    const error = await retryError(world.call(() => Promise.reject(own)));
    expect(error.reason).toBe("attempts");
    expect(error.errors).toEqual([own, own, own]);
  });
});

describe("the time of an attempt", () => {
  it("bounds each attempt, and the next one goes elsewhere", async () => {
    const world = start({ attemptTimeoutMs: 50, backoff: () => 0 });
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
    const world = start({ attemptTimeoutMs: 50, backoff: () => 0 });
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
    const world = start({ attemptTimeoutMs: 5_000, timeoutMs: 100 });
    const seen = settlement(world.call(() => never));
    await world.clock.advance(100);
    expect(seen.error).toMatchObject({ reason: "deadline" });
    expectClean(world);
  });

  it("that ends together with the call's is the deadline", async () => {
    const world = start({ attemptTimeoutMs: 100, timeoutMs: 100 });
    const seen = settlement(world.call(() => never));
    await world.clock.advance(100);
    expect(seen.error).toMatchObject({ reason: "deadline" });
  });

  it("is cut short by what is left of the call's", async () => {
    const world = start({ attemptTimeoutMs: 60, timeoutMs: 100, backoff: () => 0 });
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
    const world = start({ attemptTimeoutMs: 50, maxAttempts: 1 });
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
    const world = start({ attemptTimeoutMs: 50, backoff: () => 0, maxAttempts: 2 });
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

describe("retryable", () => {
  it("is asked for every failed attempt with its error and number", async () => {
    const asked: [unknown, number][] = [];
    const world = start({
      backoff: () => 0,
      retryable: (error, attempt) => {
        asked.push([error, attempt]);
        return true;
      },
    });
    await rejection(world.call(() => Promise.reject(down)));
    expect(asked.slice(0, 2)).toEqual([
      [down, 1],
      [down, 2],
    ]);
  });

  it("ends the call at once when it says no", async () => {
    const world = start({ retryable: (_, attempt) => attempt < 2, backoff: () => 0 });
    const error = await retryError(world.call(() => Promise.reject(down)));
    expect(error.reason).toBe("not-retryable");
    expect(error.errors).toEqual([down, down]);
    expectClean(world);
  });

  it("wins over the number of attempts", async () => {
    for (const maxAttempts of [1, 2]) {
      const { call } = start({ maxAttempts, retryable: (_, attempt) => attempt < maxAttempts, backoff: () => 0 });
      expect(await retryError(call(() => Promise.reject(down)))).toMatchObject({ reason: "not-retryable" });
    }
  });

  it("takes nothing from the budget when it says no", async () => {
    let taken = 0;
    const budget = { deposit: () => undefined, withdraw: () => taken++ < 9 };
    const { call } = start({ retryable: () => false, budget });
    await rejection(call(() => Promise.reject(down)));
    expect(taken).toBe(0);
  });

  it("of a call replaces the client's", async () => {
    const { call } = start({ retryable: () => false, backoff: () => 0 });
    const error = await retryError(call(() => Promise.reject(down), { retryable: () => true }));
    expect([error.reason, error.errors.length]).toEqual(["attempts", 3]);
  });

  it("decides on attempts that timed out, too", async () => {
    const world = start({ attemptTimeoutMs: 50, retryable: (error) => !(error instanceof TimeoutError) });
    const seen = settlement(world.call(() => never));
    await world.clock.advance(50);
    expect(seen.error).toMatchObject({ reason: "not-retryable" });
    expectClean(world);
  });

  it("is not asked about the deadline", async () => {
    let asked = 0;
    const world = start({ timeoutMs: 50, retryable: () => asked++ < 0 });
    const seen = settlement(world.call(() => never));
    await world.clock.advance(50);
    expect(seen.error).toMatchObject({ reason: "deadline" });
    expect(asked).toBe(0);
  });

  it("that throws fails the call with its own error and leaves nothing behind, as backoff does", async () => {
    const bug = new TypeError("a bug in the predicate");
    const raise = (): never => {
      throw bug;
    };
    for (const options of [{ retryable: raise }, { backoff: raise }]) {
      const world = start(options);
      expect(await rejection(world.call(() => Promise.reject(down)))).toBe(bug);
      expectClean(world);
    }
  });
});

describe("the retry budget", () => {
  it("by default allows a fifth of the calls and at least 3, and is then the reason", async () => {
    const world = start({ maxAttempts: 10, backoff: () => 0 });
    const error = await retryError(world.call(() => Promise.reject(down)));
    expect(error.reason).toBe("budget");
    expect(error.errors).toHaveLength(1 + 3);
    // Used up for everybody: the following calls have one attempt each, until 20 % of them are more than 3.
    const lengths: number[] = [];
    for (let n = 2; n <= 25; n++) {
      lengths.push((await retryError(world.call(() => Promise.reject(down)))).errors.length);
    }
    expect(lengths.map((length) => length - 1)).toEqual([
      ...Array.from({ length: 18 }, () => 0),
      1, // the 20th call
      ...Array.from({ length: 4 }, () => 0),
      1, // the 25th
    ]);
    expectClean(world);
  });

  it("is not needed for a last attempt: then the reason is attempts", async () => {
    const world = start({ maxAttempts: 4, backoff: () => 0 });
    expect(await retryError(world.call(() => Promise.reject(down)))).toMatchObject({ reason: "attempts" });
    expect(await retryError(world.call(() => Promise.reject(down)))).toMatchObject({ reason: "budget" });
  });

  it("gains ten a second", async () => {
    const world = start({ maxAttempts: 100, backoff: () => 0 });
    await rejection(world.call(() => Promise.reject(down)));
    await world.clock.advance(1_000);
    const error = await retryError(world.call(() => Promise.reject(down)));
    // 20 % of 2 calls + 10, less the 3 that were taken before.
    expect(error.errors).toHaveLength(1 + 7);
  });

  it("may be shared by several clients", async () => {
    const { balancer, clock } = start();
    const budget = retryBudget({ env: clock.env });
    const [one, two] = [1, 2].map(() => retry(balancer, { budget, env: clock.env, backoff: () => 0, maxAttempts: 3 }));
    const fail = (): Promise<never> => Promise.reject(down);
    if (one === undefined || two === undefined) throw new Error("unreachable");
    expect((await retryError(one(fail))).errors).toHaveLength(3);
    const error = await retryError(two(fail));
    expect([error.reason, error.errors.length]).toEqual(["budget", 2]);
  });

  it("hears of every call once, and of every retry", async () => {
    const heard: string[] = [];
    const budget = {
      deposit: () => void heard.push("deposit"),
      withdraw: () => {
        heard.push("withdraw");
        return true;
      },
    };
    const { call } = start({ budget, backoff: () => 0 });
    await call(() => "done");
    await rejection(call(() => Promise.reject(down)));
    expect(heard).toEqual(["deposit", "deposit", "withdraw", "withdraw"]);
  });

  it("is left alone by a retry that the deadline forbids, and by a call that was aborted before", async () => {
    const heard: string[] = [];
    const budget = { deposit: () => void heard.push("deposit"), withdraw: () => heard.push("withdraw") > 0 };
    const { call } = start({ budget, timeoutMs: 10, backoff: () => 10 });
    expect(await retryError(call(() => Promise.reject(down)))).toMatchObject({ reason: "deadline" });
    await rejection(call(() => "done", { signal: AbortSignal.abort() }));
    expect(heard).toEqual(["deposit"]);
  });

  it("of false is none", async () => {
    const { call } = start({ maxAttempts: 50, backoff: () => 0, budget: false });
    expect((await retryError(call(() => Promise.reject(down)))).errors).toHaveLength(50);
  });
});

describe("the caller's abort", () => {
  const reason = new Error("the user left");

  it("before the call calls nothing and picks nothing", async () => {
    const world = start();
    let called = 0;
    expect(await rejection(world.call(() => called++, { signal: AbortSignal.abort(reason) }))).toBe(reason);
    expect(called).toBe(0);
    expect(await world.call((client) => client)).toBe("1");
    expectClean(world);
  });

  it("while the function runs rejects at once with the reason, unwrapped, and the endpoint learns nothing", async () => {
    const world = start();
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
      const world = start({ backoff: () => 0 });
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
      const world = start({ backoff: () => 0 });
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
    const world = start({ backoff: () => 1_000 });
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
    const world = start({}, null);
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
    const world = start({}, null);
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
    const world = start({
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
      const world = start(options);
      expect(await rejection(world.call(() => Promise.reject(down), { signal: controller.signal }))).toBe(reason);
      expectClean(world);
    }
  });

  it("with the platform's default reason is that very DOMException", async () => {
    const world = start();
    const controller = new AbortController();
    const call = world.call(() => never, { signal: controller.signal });
    controller.abort();
    expect(await rejection(call)).toBe(controller.signal.reason);
    expect(controller.signal.reason).toMatchObject({ name: "AbortError" });
  });

  it("may have any reason, even null", async () => {
    const world = start();
    const controller = new AbortController();
    const call = world.call(() => never, { signal: controller.signal });
    controller.abort(null);
    expect(await rejection(call)).toBe(null);
    expectClean(world);
  });

  it("comes too late for a call that has ended, and leaves no listener after success or failure", async () => {
    const world = start({ backoff: () => 0 });
    const controller = new AbortController();
    const { signal } = controller;
    await world.call(() => "done", { signal });
    await rejection(world.call(() => Promise.reject(down), { signal }));
    await rejection(start({}, []).call(() => "never", { signal, timeoutMs: 0 }));
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
    controller.abort(reason);
    expectClean(world);
  });

  it("may end a thousand calls that share one signal, without a warning", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on("warning", onWarning);
    const world = start();
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

describe("a service without endpoints", () => {
  it("counts as an attempt and is retried", async () => {
    const world = start({ backoff: () => 100 }, []);
    let called = 0;
    const seen = settlement(world.call(() => called++));
    await world.clock.advance(200);
    const error = seen.error as RetryError;
    expect(error.reason).toBe("attempts");
    expect(error.errors.map((each: NoEndpointsError) => [each.code, each.service, each.state])).toEqual([
      ["NO_ENDPOINTS", "lorem", "live"],
      ["NO_ENDPOINTS", "lorem", "live"],
      ["NO_ENDPOINTS", "lorem", "live"],
    ]);
    expect(called).toBe(0);
    expectClean(world);
  });

  it("is called as soon as it has one again", async () => {
    const world = start({ backoff: () => 100 }, []);
    const numbers: number[] = [];
    const seen = settlement(
      world.call((client, { number }) => {
        numbers.push(number);
        return client;
      }),
    );
    await world.clock.advance(150);
    world.instancer.update(lorems(1));
    await world.clock.advance(50);
    expect(seen).toEqual({ state: "fulfilled", value: "1" });
    expect(numbers).toEqual([3]);
    expectClean(world);
  });

  it("is shown to retryable like any error", async () => {
    const { call } = start({ retryable: (error) => !(error instanceof NoEndpointsError) }, []);
    const error = await retryError(call(() => "never"));
    expect([error.reason, error.errors.length]).toEqual(["not-retryable", 1]);
  });
});

describe("a call while nothing is known", () => {
  it("waits, and then is made, as attempt 1", async () => {
    const world = start({}, null);
    const numbers: number[] = [];
    const seen = settlement(
      world.call((client, { number }) => {
        numbers.push(number);
        return client;
      }),
    );
    await world.clock.advance(5_000);
    expect(seen.state).toBe("pending");
    expect([world.clock.pending, world.clock.keptAlive]).toEqual([1, 1]);
    world.instancer.update(lorems(2));
    await world.clock.advance(0);
    expect(seen).toEqual({ state: "fulfilled", value: "1" });
    expect(numbers).toEqual([1]);
    expectClean(world);
  });

  it("waits on through errors of the registry", async () => {
    const world = start({}, null);
    const seen = settlement(world.call((client) => client));
    world.instancer.fail(down);
    await world.clock.advance(5_000);
    expect(seen.state).toBe("pending");
    world.instancer.update(lorems(1));
    await world.clock.advance(0);
    expect(seen).toEqual({ state: "fulfilled", value: "1" });
  });

  it("ends at its deadline with a TimeoutError whose cause names the service and its state", async () => {
    const world = start({ timeoutMs: 300 }, null);
    const seen = settlement(world.call(() => "never"));
    await world.clock.advance(299);
    expect(seen.state).toBe("pending");
    await world.clock.advance(1);
    const error = seen.error as RetryError;
    expect(error.reason).toBe("deadline");
    expect(error.errors).toEqual([expect.any(TimeoutError)]);
    expect(error.errors[0]).toMatchObject({ cause: { code: "NO_ENDPOINTS", service: "lorem", state: "pending" } });
    expectClean(world);
  });

  it("tells at its deadline of the registry's error that came while it waited", async () => {
    const world = start({ timeoutMs: 300 }, null);
    const seen = settlement(world.call(() => "never"));
    await world.clock.advance(100);
    world.instancer.fail(down);
    await world.clock.advance(200);
    expect((seen.error as RetryError).errors[0]).toMatchObject({ cause: { code: "NO_ENDPOINTS", cause: down } });
  });

  it("fails as an empty service does when the first answer is an empty one", async () => {
    const world = start({ backoff: () => 10 }, null);
    const seen = settlement(world.call(() => "never"));
    await world.clock.advance(100);
    world.instancer.update([]);
    await world.clock.advance(20);
    const error = seen.error as RetryError;
    expect([error.reason, error.errors.length]).toEqual(["attempts", 3]);
    expectClean(world);
  });

  it("starts nothing when the answer comes in the very moment of the deadline", async () => {
    const world = start({ timeoutMs: 300 }, null);
    // Armed first, so it runs first of the two.
    world.clock.env.after(300, () => world.instancer.update(lorems(1)));
    let called = 0;
    const seen = settlement(world.call(() => called++));
    await world.clock.advance(300);
    expect(seen.error).toMatchObject({ reason: "deadline" });
    expect((seen.error as RetryError).errors).toEqual([expect.any(TimeoutError)]);
    expect(called).toBe(0);
    expectClean(world);
  });

  it("waits while the first clients are being made, also if only one of them comes", async () => {
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    instancer.update(lorems(2));
    // One connects in 40 ms, the other never.
    const connect = ({ id }: Instance): Promise<string> =>
      new Promise((resolve) => {
        if (id === "2") clock.env.after(40, () => resolve(id));
      });
    const balancer = createBalancer(createEndpointer(instancer, connect, { env: clock.env }));
    const call = retry(balancer, { env: clock.env });
    const seen = settlement(call((client, { number }) => [client, number]));
    await clock.advance(39);
    expect(seen.state).toBe("pending");
    await clock.advance(1);
    expect(seen).toEqual({ state: "fulfilled", value: ["2", 1] });
  });
});

describe("a closed service", () => {
  it("rejects the call with ClosedError, unwrapped", async () => {
    const world = start();
    await world.endpointer.close();
    let called = 0;
    expect(await rejection(world.call(() => called++))).toBeInstanceOf(ClosedError);
    expect(called).toBe(0);
    expectClean(world);
  });

  it("that closes while a call waits for it rejects the call at once", async () => {
    const world = start({}, null);
    const seen = settlement(world.call(() => "never"));
    await world.clock.advance(100);
    await world.endpointer.close();
    await world.clock.advance(0);
    expect(seen.error).toBeInstanceOf(ClosedError);
    expectClean(world);
  });

  it("that closes during a back-off rejects the call instead of the next attempt", async () => {
    const world = start({ backoff: () => 100 });
    let called = 0;
    const seen = settlement(
      world.call(() => {
        called++;
        throw down;
      }),
    );
    await world.clock.advance(50);
    await world.endpointer.close();
    await world.clock.advance(50);
    expect(seen.error).toBeInstanceOf(ClosedError);
    expect(called).toBe(1);
    expectClean(world);
  });

  it("does not take away the attempt that runs", async () => {
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    instancer.update(lorems(1));
    const endpointer = createEndpointer(instancer, () => "client", { env: clock.env });
    const call = retry(createBalancer(endpointer), { env: clock.env });
    const work = Promise.withResolvers<string>();
    const result = call(() => work.promise);
    const closing = settlement(endpointer.close());
    await clock.advance(10);
    expect(closing.state).toBe("pending");
    work.resolve("done");
    expect(await result).toBe("done");
    await clock.advance(0);
    expect(closing.state).toBe("fulfilled");
    expect(clock.pending).toBe(0);
  });

  it("is the service's own: a ClosedError of the called function is a failure like any other", async () => {
    const { call } = start({ backoff: () => 0 });
    const own = new ClosedError("a pool");
    const error = await retryError(call(() => Promise.reject(own)));
    expect(error.errors).toEqual([own, own, own]);
  });
});

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
    const world = start();
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
    const world = start({}, null);
    const { balancer, requests } = listening(world.balancer);
    const result = retry(balancer, { env: world.clock.env })((client) => client, { key: "user-7" });
    world.instancer.update(lorems(1));
    expect(await result).toBe("1");
    expect(requests.map((request) => request?.key)).toEqual(["user-7", "user-7"]);
  });

  it("of the caller is honoured from the first attempt on", async () => {
    const { call, endpointer } = start({}, lorems(2));
    const avoid = new Set<Endpoint>(endpointer.endpoints.slice(0, 1));
    for (let n = 0; n < 4; n++) expect(await call((client) => client, { avoid })).toBe("2");
    expect(avoid.size).toBe(1);
  });

  it("of an attempt that timed out is avoided, too", async () => {
    const world = start({ attemptTimeoutMs: 10, backoff: () => 0 }, lorems(2));
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

describe("hold", () => {
  const success: Outcome = { kind: "success" };

  it("keeps the slot after the function has returned, until it is let go", async () => {
    const world = start();
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
    const world = start();
    const release = await world.call((_, attempt) => attempt.hold());
    release({ kind: "failure", error: down });
    expect(world.endpointer.endpoints[0]?.stats).toMatchObject({ inFlight: 0, successes: 0, failures: 1 });
  });

  it("may be let go before the function returns", async () => {
    const world = start();
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
      const world = start({ maxAttempts: 1 });
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
    const world = start();
    const attempt = await world.call((_, given) => given);
    const release = attempt.hold();
    expect(world.inFlight()).toBe(0);
    release({ kind: "failure", error: down });
    expect(world.endpointer.endpoints[0]?.stats).toMatchObject({ inFlight: 0, successes: 1, failures: 0 });
  });

  it("asked for twice is one slot, and the first to let go ends it", async () => {
    const world = start();
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

describe("the options of retry", () => {
  it.each<[object, string]>([
    [{ maxAttempts: "3" }, "maxAttempts"],
    [{ maxAttempts: Number.NaN }, "maxAttempts"],
    [{ timeoutMs: -1 }, "timeoutMs"],
    [{ timeoutMs: "1s" }, "timeoutMs"],
    [{ attemptTimeoutMs: -1 }, "attemptTimeoutMs"],
    [{ attemptTimeoutMs: Number.NaN }, "attemptTimeoutMs"],
    [{ budget: true }, "budget"],
    [{ budget: 0.2 }, "budget"],
    [{ backoff: 100 }, "backoff"],
    [{ retryable: true }, "retryable"],
    [{ env: { after: 1 } }, "env"],
    [{ retries: 3 }, "retries"],
  ])("refuse %o", (options, path) => {
    const { balancer } = start();
    expect(() => retry(balancer, options)).toThrow(InvalidOptionError);
    expect(() => retry(balancer, options)).toThrow(expect.objectContaining({ path, code: "INVALID_OPTION" }));
  });

  it("refuse a balancer that is none", () => {
    expect(() => retry(undefined as unknown as Balancer<string>)).toThrow(InvalidOptionError);
  });

  it("may be undefined, each of them", async () => {
    const { balancer } = start();
    const call = retry(balancer, {
      maxAttempts: undefined,
      timeoutMs: undefined,
      attemptTimeoutMs: undefined,
      budget: undefined,
      backoff: undefined,
      retryable: undefined,
      env: undefined,
    });
    const options = { signal: undefined, key: undefined, avoid: undefined, retryable: undefined, timeoutMs: undefined };
    expect(await call(() => "done", options)).toBe("done");
  });

  it("are read once: changing the object later changes nothing", async () => {
    const { balancer, clock } = start();
    const options = { maxAttempts: 1, env: clock.env };
    const call = retry(balancer, options);
    options.maxAttempts = 5;
    expect((await retryError(call(() => Promise.reject(down)))).errors).toHaveLength(1);
  });
});
