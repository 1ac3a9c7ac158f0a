import { manualClock, seededRandom } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { drivenInstancer } from "../test/driven-instancer.ts";
import { lorems } from "../test/lorem.ts";
import { down, expectClean, never, retryError, retryWorld } from "../test/retry-world.ts";
import { rejection, settlement } from "../test/settlement.ts";
import { type Balancer, createBalancer } from "./balancer.ts";
import { createEndpointer } from "./endpointer.ts";
import { InvalidOptionError, TimeoutError } from "./errors.ts";
import { roundRobin } from "./policies/round-robin.ts";
import { type CallOptions, retry } from "./retry.ts";
import { retryBudget } from "./retry-budget.ts";

describe("back-off", () => {
  it("waits exactly as long as the given function says, after attempt 1, 2, …", async () => {
    const asked: [number, unknown][] = [];
    const delays = [100, 7, 2_500];
    const world = retryWorld({
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
    const world = retryWorld({ backoff: () => 50 });
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
    const world = retryWorld({ backoff: () => delayMs });
    const error = await retryError(world.call(() => Promise.reject(down)));
    expect(error.errors).toHaveLength(3);
    expect(world.clock.now()).toBe(0);
    expectClean(world);
  });

  it("of Infinity can never be held: the call ends at once", async () => {
    for (const timeoutMs of [1_000, Infinity]) {
      const world = retryWorld({ backoff: () => Infinity, timeoutMs });
      expect(await retryError(world.call(() => Promise.reject(down)))).toMatchObject({ reason: "deadline" });
      expectClean(world);
    }
  });
});

describe("retryable", () => {
  it("is asked for every failed attempt with its error and number", async () => {
    const asked: [unknown, number][] = [];
    const world = retryWorld({
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
    const world = retryWorld({ retryable: (_, attempt) => attempt < 2, backoff: () => 0 });
    const error = await retryError(world.call(() => Promise.reject(down)));
    expect(error.reason).toBe("not-retryable");
    expect(error.errors).toEqual([down, down]);
    expectClean(world);
  });

  it("wins over the number of attempts", async () => {
    for (const maxAttempts of [1, 2]) {
      const { call } = retryWorld({ maxAttempts, retryable: (_, attempt) => attempt < maxAttempts, backoff: () => 0 });
      expect(await retryError(call(() => Promise.reject(down)))).toMatchObject({ reason: "not-retryable" });
    }
  });

  it("takes nothing from the budget when it says no", async () => {
    let taken = 0;
    const budget = { deposit: () => undefined, withdraw: () => taken++ < 9 };
    const { call } = retryWorld({ retryable: () => false, budget });
    await rejection(call(() => Promise.reject(down)));
    expect(taken).toBe(0);
  });

  it("of a call replaces the client's", async () => {
    const { call } = retryWorld({ retryable: () => false, backoff: () => 0 });
    const error = await retryError(call(() => Promise.reject(down), { retryable: () => true }));
    expect([error.reason, error.errors.length]).toEqual(["attempts", 3]);
  });

  it("decides on attempts that timed out, too", async () => {
    const world = retryWorld({ attemptTimeoutMs: 50, retryable: (error) => !(error instanceof TimeoutError) });
    const seen = settlement(world.call(() => never));
    await world.clock.advance(50);
    expect(seen.error).toMatchObject({ reason: "not-retryable" });
    expectClean(world);
  });

  it("is not asked about the deadline", async () => {
    let asked = 0;
    const world = retryWorld({ timeoutMs: 50, retryable: () => asked++ < 0 });
    const seen = settlement(world.call(() => never));
    await world.clock.advance(50);
    expect(seen.error).toMatchObject({ reason: "deadline" });
    expect(asked).toBe(0);
  });

  it("that throws fails the call with its own error and leaves nothing behind, as backoff and unsent do", async () => {
    const bug = new TypeError("a bug in the predicate");
    const raise = (): never => {
      throw bug;
    };
    for (const options of [{ retryable: raise }, { backoff: raise }, { unsent: raise }]) {
      const world = retryWorld(options);
      expect(await rejection(world.call(() => Promise.reject(down)))).toBe(bug);
      expectClean(world);
    }
  });
});

describe("the retry budget", () => {
  it("is not charged for what was never sent, as the client or the call knows", async () => {
    const unsent = new Error("refused");
    const none = { deposit: () => undefined, withdraw: () => false };
    const { call } = retryWorld({ budget: none, unsent: (error) => error === unsent, maxAttempts: 4 });
    expect(await retryError(call(() => Promise.reject(unsent)))).toMatchObject({ reason: "attempts" });
    expect(await retryError(call(() => Promise.reject(down)))).toMatchObject({ reason: "budget" });
    const sent = retryError(call(() => Promise.reject(unsent), { unsent: () => false }));
    expect(await sent).toMatchObject({ reason: "budget" });
  });

  it("by default allows a fifth of the calls and at least 3, and is then the reason", async () => {
    const world = retryWorld({ maxAttempts: 10, backoff: () => 0 });
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
    const world = retryWorld({ maxAttempts: 4, backoff: () => 0 });
    expect(await retryError(world.call(() => Promise.reject(down)))).toMatchObject({ reason: "attempts" });
    expect(await retryError(world.call(() => Promise.reject(down)))).toMatchObject({ reason: "budget" });
  });

  it("gains ten a second", async () => {
    const world = retryWorld({ maxAttempts: 100, backoff: () => 0 });
    await rejection(world.call(() => Promise.reject(down)));
    await world.clock.advance(1_000);
    const error = await retryError(world.call(() => Promise.reject(down)));
    // 20 % of 2 calls + 10, less the 3 that were taken before.
    expect(error.errors).toHaveLength(1 + 7);
  });

  it("adds little to a total outage, and nothing that was saved before it", async () => {
    for (const goodSeconds of [0, 60]) {
      const world = retryWorld({ backoff: () => 0 });
      let [attempts, calls] = [0, 0];
      const second = async (works: boolean): Promise<void> => {
        for (let n = 0; n < 100; n++) {
          calls++;
          await world
            .call(() => {
              attempts++;
              return works ? "done" : Promise.reject(down);
            })
            .catch(() => undefined);
          world.clock.advanceSync(10);
        }
      };
      for (let n = 0; n < goodSeconds; n++) await second(true);
      [attempts, calls] = [0, 0];
      for (let n = 0; n < 3; n++) await second(false);
      expect([goodSeconds, attempts / calls <= 1.05]).toEqual([goodSeconds, true]);
      // As soon as calls go well, the next ones are tried again.
      await second(true);
      expect(await retryError(world.call(() => Promise.reject(down)))).toMatchObject({ reason: "attempts" });
    }
  });

  it.each([
    // A fifth, and ten a second.
    [0.25, 1.25, 1.35],
    [0.5, 1.25, 1.35],
    [0.6, 1.25, 1.35],
    // More load than use.
    [0.8, 1, 1.12],
    [0.9, 1, 1.06],
    [0.97, 1, 1.04],
  ])(
    "goes on as long as it helps: where %d of all attempts fail, they are %d to %d times the calls",
    async (share, least, most) => {
      const random = seededRandom(1);
      const world = retryWorld({ backoff: () => 0 });
      let [attempts, calls] = [0, 0];
      for (; calls < 4_000; calls++) {
        const call = world.call(() => {
          attempts++;
          return random() < share ? Promise.reject(down) : "done";
        });
        await call.catch(() => undefined);
        world.clock.advanceSync(10);
      }
      expect(attempts / calls).toBeGreaterThan(least);
      expect(attempts / calls).toBeLessThan(most);
    },
  );

  it("pays for an endpoint that always fails, among others that do not", async () => {
    const world = retryWorld({ backoff: () => 0 }, lorems(5), roundRobin());
    let failed = 0;
    for (let n = 0; n < 4_000; n++) {
      await world.call((client) => (client === "1" ? Promise.reject(down) : "done")).catch(() => failed++);
      world.clock.advanceSync(10);
    }
    // A quarter of the calls want a retry, and the budget has a fifth, and ten a second.
    expect(failed).toBeLessThan(20);
  });

  it("may be shared by several clients", async () => {
    const { balancer, clock } = retryWorld();
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
    const { call } = retryWorld({ budget, backoff: () => 0 });
    await call(() => "done");
    await rejection(call(() => Promise.reject(down)));
    expect(heard).toEqual(["deposit", "deposit", "withdraw", "withdraw"]);
  });

  it("is left alone by a retry that the deadline forbids, and by a call that was aborted before", async () => {
    const heard: string[] = [];
    const budget = { deposit: () => void heard.push("deposit"), withdraw: () => heard.push("withdraw") > 0 };
    const { call } = retryWorld({ budget, timeoutMs: 10, backoff: () => 10 });
    expect(await retryError(call(() => Promise.reject(down)))).toMatchObject({ reason: "deadline" });
    await rejection(call(() => "done", { signal: AbortSignal.abort() }));
    expect(heard).toEqual(["deposit"]);
  });

  it("of false is none", async () => {
    const { call } = retryWorld({ maxAttempts: 50, backoff: () => 0, budget: false });
    expect((await retryError(call(() => Promise.reject(down)))).errors).toHaveLength(50);
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
    [{ unsent: "ECONNREFUSED" }, "unsent"],
    [{ env: { after: 1 } }, "env"],
    [{ retries: 3 }, "retries"],
  ])("refuse %o", (options, path) => {
    const { balancer } = retryWorld();
    expect(() => retry(balancer, options)).toThrow(InvalidOptionError);
    expect(() => retry(balancer, options)).toThrow(expect.objectContaining({ path, code: "INVALID_OPTION" }));
  });

  it("refuse a balancer that is none", () => {
    expect(() => retry(undefined as unknown as Balancer<string>)).toThrow(InvalidOptionError);
  });

  it("may be undefined, each of them", async () => {
    const { balancer } = retryWorld();
    const call = retry(balancer, {
      maxAttempts: undefined,
      timeoutMs: undefined,
      attemptTimeoutMs: undefined,
      budget: undefined,
      backoff: undefined,
      retryable: undefined,
      unsent: undefined,
      hedge: undefined,
      env: undefined,
    });
    const options: Required<CallOptions> = {
      signal: undefined,
      key: undefined,
      avoid: undefined,
      retryable: undefined,
      unsent: undefined,
      timeoutMs: undefined,
      attemptTimeoutMs: undefined,
      hedge: undefined,
    };
    expect(await call(() => "done", options)).toBe("done");
  });

  it("are read once: changing the object later changes nothing", async () => {
    const { balancer, clock } = retryWorld();
    const options = { maxAttempts: 1, env: clock.env };
    const call = retry(balancer, options);
    options.maxAttempts = 5;
    expect((await retryError(call(() => Promise.reject(down)))).errors).toHaveLength(1);
  });
});
