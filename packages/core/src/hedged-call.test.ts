import { getEventListeners } from "node:events";
import { manualClock } from "@rollcall/testing";
import { describe, expect, it, onTestFinished } from "vitest";
import { lorems } from "../test/lorem.ts";
import { type RetryWorld, down, expectClean, never, retryError, retryWorld } from "../test/retry-world.ts";
import { rejection, settlement } from "../test/settlement.ts";
import { createBalancer } from "./balancer.ts";
import { channels } from "./channels.ts";
import { InvalidOptionError } from "./errors.ts";
import { fixedEndpointer } from "./fixed-endpointer.ts";
import type { Outcome } from "./pick.ts";
import type { Policy } from "./policy.ts";
import { type Attempt, type CallOptions, type RetryOptions, retry } from "./retry.ts";
import { roundRobin } from "./policies/round-robin.ts";

/** Answers after `ms`, unless it is aborted before. */
const after =
  (world: Pick<RetryWorld, "clock">, ms: number, log?: string[]) =>
  (client: string, { signal, number }: Attempt): Promise<string> => {
    log?.push(`${number} at ${client}`);
    return new Promise((resolve, reject) => {
      const cancel = world.clock.env.after(ms, () => resolve(client));
      signal.addEventListener("abort", () => {
        cancel();
        log?.push(`${number} aborted`);
        reject(signal.reason);
      });
    });
  };

/** Fails after `ms`. */
const failAfter = ({ clock }: Pick<RetryWorld, "clock">, ms: number): Promise<never> =>
  new Promise((_, reject) => void clock.env.after(ms, () => reject(down)));

/** A service that answers after 10 ms, and whose clients know that. */
async function warmWorld(
  options: RetryOptions = {},
  instances = 3,
  policy: Policy = roundRobin(),
): Promise<RetryWorld> {
  const world = retryWorld({ hedge: true, budget: false, backoff: () => 0, ...options }, lorems(instances), policy);
  const all = Promise.all(Array.from({ length: 120 }, () => world.call(after(world, 10))));
  await world.clock.advance(10);
  await all;
  // From here on one call in twenty may be hedged: six.
  return world;
}

function stats({ endpointer }: RetryWorld) {
  const sum = (key: "successes" | "failures"): number =>
    endpointer.endpoints.reduce((total, endpoint) => total + endpoint.stats[key], 0);
  return { successes: sum("successes") - 120, failures: sum("failures") };
}

describe("a hedged call", () => {
  it("asks another endpoint too when most would have answered, and takes the first answer", async () => {
    const world = await warmWorld();
    const log: string[] = [];
    const call = settlement(
      world.call((client, attempt) => after(world, attempt.number === 1 ? 1_000 : 10, log)(client, attempt)),
    );
    await world.clock.advance(9);
    expect(log).toEqual(["1 at 1"]);
    await world.clock.advance(2);
    expect(log).toEqual(["1 at 1", "2 at 2"]);
    await world.clock.advance(10);
    expect(call).toMatchObject({ state: "fulfilled", value: "2" });
    expect(log).toEqual(["1 at 1", "2 at 2", "1 aborted"]);
    expect(stats(world)).toEqual({ successes: 1, failures: 0 });
    expectClean(world);
  });

  it("takes the answer of the first one if that comes first after all", async () => {
    const world = await warmWorld();
    const log: string[] = [];
    const call = settlement(
      world.call((client, attempt) => after(world, attempt.number === 1 ? 15 : 10, log)(client, attempt)),
    );
    await world.clock.advance(15);
    expect(call).toMatchObject({ state: "fulfilled", value: "1" });
    expect(log.at(-1)).toBe("2 aborted");
    expect(stats(world)).toEqual({ successes: 1, failures: 0 });
    expectClean(world);
  });

  it("is one attempt for all that are answered in time", async () => {
    const world = await warmWorld();
    const log: string[] = [];
    for (let n = 0; n < 20; n++) {
      const call = world.call(after(world, 9, log));
      await world.clock.advance(9);
      await call;
    }
    expect(log.length).toBe(20);
    expectClean(world);
  });

  it("does not ask twice before it knows how long answers take", async () => {
    const world = retryWorld({ hedge: true });
    const log: string[] = [];
    const call = world.call(after(world, 5_000, log));
    await world.clock.advance(5_000);
    await call;
    expect(log).toEqual(["1 at 1"]);
  });

  it.each<[string, RetryOptions, number, CallOptions & { readonly avoids?: string }]>([
    ["there is no other endpoint", {}, 1, {}],
    ["the call says so", {}, 3, { hedge: false }],
    ["there is one attempt only", { maxAttempts: 1 }, 3, {}],
    ["the caller avoids all others", {}, 2, { avoids: "2" }],
    ["the budget is empty", { budget: { deposit: () => undefined, withdraw: () => false } }, 3, {}],
    ["it may add nothing", { hedge: { ratio: 0 } }, 3, {}],
    ["the call would be over before", {}, 3, { timeoutMs: 9 }],
    ["it is not worth it", { hedge: { minDelayMs: 1_000 } }, 3, { timeoutMs: 900 }],
  ])("is made once if %s", async (_, options, instances, { avoids, ...call }) => {
    const world = await warmWorld(options, instances);
    const avoid = new Set(world.endpointer.endpoints.filter(({ client }) => client === avoids));
    const log: string[] = [];
    const made = settlement(world.call(after(world, 200, log), { ...call, avoid }));
    await world.clock.advance(200);
    expect(made.state).not.toBe("pending");
    expect(log.filter((line) => line.includes("at"))).toEqual(["1 at 1"]);
    expectClean(world);
  });

  it("waits for the percentile, but not less than the least delay", async () => {
    const asked = async (options: RetryOptions): Promise<number> => {
      const world = await warmWorld(options);
      // A tenth of the calls takes five times as long.
      for (let n = 0; n < 600; n++) {
        const call = world.call(after(world, n % 10 === 0 ? 50 : 10), { hedge: true });
        await world.clock.advance(50);
        await call;
      }
      const startedAt = world.clock.now();
      let hedgedAt = NaN;
      const call = world.call((client, attempt) => {
        if (attempt.number === 2) hedgedAt = world.clock.now();
        return after(world, 1_000)(client, attempt);
      });
      await world.clock.advance(2_000);
      await call;
      return hedgedAt - startedAt;
    };
    const late = await asked({ hedge: { percentile: 0.95 } });
    expect(late > 40 && late < 60).toBe(true);
    const early = await asked({ hedge: { percentile: 0.8, ratio: 1 } });
    expect(early > 9 && early < 12).toBe(true);
    expect(await asked({ hedge: { percentile: 0.8, ratio: 1, minDelayMs: 25 } })).toBe(25);
  });

  it("goes on with the other one when one of two fails, whichever", async () => {
    for (const loser of [1, 2]) {
      const world = await warmWorld();
      const call = settlement(
        world.call(async (client, attempt) => {
          await after(world, attempt.number === 1 ? 30 : 10)(client, attempt);
          if (attempt.number === loser) throw down;
          await after(world, 40)(client, attempt);
          return attempt.number;
        }),
      );
      await world.clock.advance(200);
      expect(call).toMatchObject({ state: "fulfilled", value: 3 - loser });
      expect(stats(world)).toEqual({ successes: 1, failures: 1 });
      expectClean(world);
    }
  });

  it("is tried again at a third endpoint when both have failed, and tells of all in the order of their ends", async () => {
    const world = await warmWorld();
    const log: string[] = [];
    const error = retryError(
      world.call(async (client, attempt) => {
        await after(world, [40, 10, 5][attempt.number - 1] ?? 0, log)(client, attempt);
        throw new Error(`number ${attempt.number}`);
      }),
    );
    await world.clock.advance(200);
    expect((await error).errors.map(String)).toEqual(["Error: number 2", "Error: number 1", "Error: number 3"]);
    expect((await error).reason).toBe("attempts");
    expect(log).toEqual(["1 at 1", "2 at 2", "3 at 3"]);
    expect(stats(world)).toEqual({ successes: 0, failures: 3 });
    expectClean(world);
  });

  it("is not hedged but tried again where the first attempt fails in time", async () => {
    const world = await warmWorld();
    const log: string[] = [];
    const call = world.call(async (client, attempt) => {
      await after(world, 5, log)(client, attempt);
      if (attempt.number === 1) throw down;
      return "done";
    });
    await world.clock.advance(10);
    expect(await call).toBe("done");
    expect(log).toEqual(["1 at 1", "2 at 2"]);
    expect(world.clock.now()).toBe(20);
  });

  it("ends with a failure that must not be repeated, and aborts the other one", async () => {
    const world = await warmWorld({ retryable: () => false });
    const log: string[] = [];
    const error = retryError(
      world.call(async (client, attempt) => {
        await after(world, attempt.number === 1 ? 1_000 : 5, log)(client, attempt);
        throw down;
      }),
    );
    await world.clock.advance(30);
    expect(await error).toMatchObject({ reason: "not-retryable", errors: [down] });
    expect(log).toEqual(["1 at 1", "2 at 2", "1 aborted"]);
    expect(stats(world)).toEqual({ successes: 0, failures: 1 });
    expectClean(world);
  });

  it("times all out that run at its deadline, each as a failure of its endpoint", async () => {
    const world = await warmWorld();
    const error = retryError(world.call(() => never, { timeoutMs: 300 }));
    await world.clock.advance(300);
    expect(await error).toMatchObject({ reason: "deadline", errors: [{ code: "TIMEOUT" }, { code: "TIMEOUT" }] });
    expect(stats(world)).toEqual({ successes: 0, failures: 2 });
    expectClean(world);
  });

  it("leaves each attempt its own time", async () => {
    const world = await warmWorld({ attemptTimeoutMs: 50 });
    const startedAt = world.clock.now();
    const ends: [number, number][] = [];
    const error = retryError(
      world.call((_, { number, signal }) => {
        signal.addEventListener("abort", () => ends.push([number, Math.round(world.clock.now() - startedAt)]));
        return never;
      }),
    );
    await world.clock.advance(1_000);
    expect((await error).reason).toBe("attempts");
    expect(ends).toEqual([
      [1, 50],
      [2, 60],
      [3, 110],
    ]);
    expectClean(world);
  });

  it("ends at once with the caller's abort, and nobody learns from it", async () => {
    const world = await warmWorld();
    const controller = new AbortController();
    const reason = new Error("enough");
    const call = rejection(world.call(() => never, { signal: controller.signal }));
    await world.clock.advance(30);
    expect(world.inFlight()).toBe(2);
    controller.abort(reason);
    expect(await call).toBe(reason);
    expect(stats(world)).toEqual({ successes: 0, failures: 0 });
    expect(getEventListeners(controller.signal, "abort")).toEqual([]);
    expectClean(world);
  });

  it("keeps the winner's slot if that is held, and gives the loser's back although it was", async () => {
    const world = await warmWorld();
    const releases: ((outcome: Outcome) => void)[] = [];
    const call = settlement(
      world.call(async (client, attempt) => {
        releases[attempt.number] = attempt.hold();
        return after(world, attempt.number === 1 ? 1_000 : 5)(client, attempt);
      }),
    );
    await world.clock.advance(30);
    expect(call.value).toBe("2");
    expect(world.inFlight()).toBe(1);
    releases[1]?.({ kind: "failure", error: down });
    expect(world.inFlight()).toBe(1);
    releases[2]?.({ kind: "success" });
    expect(stats(world)).toEqual({ successes: 1, failures: 0 });
    expectClean(world);
  });

  it("takes one of two answers that come in the same moment, and aborts the other attempt", async () => {
    const world = await warmWorld();
    const answers = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
    const signals: AbortSignal[] = [];
    const call = settlement(
      world.call((_, { number, signal }) => {
        signals.push(signal);
        return answers[number - 1]?.promise;
      }),
    );
    await world.clock.advance(30);
    answers[1]?.resolve("second");
    answers[0]?.resolve("first");
    await world.clock.advance(0);
    expect(call.value).toBe("second");
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, false]);
    expect(stats(world)).toEqual({ successes: 1, failures: 0 });
    expectClean(world);
  });

  it("never adds more than its share, though everything has become slow", async () => {
    const world = await warmWorld();
    let started = 0;
    const calls = Array.from({ length: 380 }, () =>
      world.call((client, attempt) => {
        started++;
        return after(world, 500)(client, attempt);
      }),
    );
    await world.clock.advance(500);
    await Promise.all(calls);
    // A twentieth of the 500 calls there were.
    expect(started - 380).toBe(25);
  });

  it("gives what there is to the slowest: who is refused asks again when twice as late", async () => {
    let tokens = 0;
    const budget = { deposit: () => undefined, withdraw: () => tokens-- > 0 };
    const world = await warmWorld({ budget });
    const startedAt = world.clock.now();
    const starts: number[] = [];
    const call = world.call((client, attempt) => {
      starts.push(Math.round(world.clock.now() - startedAt));
      return after(world, attempt.number === 1 ? 1_000 : 10)(client, attempt);
    });
    await world.clock.advance(35);
    tokens = 1;
    await world.clock.advance(1_000);
    await call;
    // Refused after 10 ms and after 10 + 20.
    expect(starts).toEqual([0, 72]);
    expectClean(world);
  });

  it("charges hedges to the budget of the retries", async () => {
    let tokens = 2;
    const budget = { deposit: () => undefined, withdraw: () => tokens-- > 0 };
    const world = await warmWorld({ budget });
    let started = 0;
    const calls = Array.from({ length: 10 }, () =>
      world.call((client, attempt) => {
        started++;
        return after(world, 500)(client, attempt);
      }),
    );
    await world.clock.advance(500);
    await Promise.all(calls);
    expect(started - 10).toBe(2);
  });

  it("asks as many as it may, one delay apart", async () => {
    const world = await warmWorld({ hedge: { maxHedges: 2 }, maxAttempts: 5 }, 5);
    const startedAt = world.clock.now();
    const starts: number[] = [];
    const call = world.call((client, attempt) => {
      starts.push(Math.round(world.clock.now() - startedAt));
      return after(world, 500)(client, attempt);
    });
    await world.clock.advance(1_000);
    await call;
    expect(starts).toEqual([0, 10, 21]);
    expectClean(world);
  });

  it("waits again after its own process has stood still: the answer may be there, unread", async () => {
    const world = await warmWorld();
    const { env } = world.clock;
    let stallMs = 0;
    const late = { ...env, now: () => env.now() + stallMs };
    const call = retry(world.balancer, { env: late, hedge: true, budget: false });
    for (let n = 0; n < 120; n++) {
      const warm = call(after(world, 10));
      await world.clock.advance(10);
      await warm;
    }
    const log: string[] = [];
    const stalled = call(after(world, 15, log));
    stallMs = 2_000;
    await world.clock.advance(15);
    await stalled;
    expect(log).toEqual(["1 at 1"]);
    expectClean(world);
  });

  it("does not let the delay shrink by what it cuts off", async () => {
    const world = await warmWorld({ hedge: { ratio: 1 } });
    let [hedges, calls] = [0, 0];
    for (let n = 0; n < 4_000; n++) {
      // It takes a while to find out how slow those are that are always cut off.
      if (n === 1_000) hedges = calls = 0;
      calls++;
      // Even from 10 to 110 ms: the 95th percentile is at 105.
      const tookMs = 10 + ((n * 37) % 100);
      const call = world.call((client, attempt) => {
        if (attempt.number === 2) hedges++;
        return after(world, attempt.number === 1 ? tookMs : 10)(client, attempt);
      });
      await world.clock.advance(130);
      await call;
    }
    expect(hedges / calls).toBeLessThan(0.08);
    expect(hedges / calls).toBeGreaterThan(0.02);
  });

  it("tells the channel which attempts were hedges, and who was overtaken", async () => {
    const world = await warmWorld();
    const seen: unknown[] = [];
    onTestFinished(
      channels.attemptEnded.subscribe(({ instance, number, hedge, outcome }) =>
        seen.push([instance.id, number, hedge, outcome]),
      ),
    );
    const call = world.call((client, attempt) => after(world, attempt.number === 1 ? 1_000 : 5)(client, attempt));
    await world.clock.advance(30);
    await call;
    expect(seen).toEqual([
      ["1", 1, false, { kind: "cancelled", superseded: true }],
      ["2", 2, true, { kind: "success" }],
    ]);
  });

  it("tells the policy how long the loser had not answered", async () => {
    const seen: unknown[] = [];
    const child = roundRobin();
    const watching: Policy = {
      name: "watching",
      create: (env) => ({
        ...child.create(env),
        observe: (endpoint, outcome, latencyMs) => seen.push([endpoint.instance.id, outcome, Math.round(latencyMs)]),
      }),
    };
    const world = await warmWorld({}, 3, watching);
    seen.length = 0;
    const call = world.call((client, attempt) => after(world, attempt.number === 1 ? 1_000 : 5)(client, attempt));
    await world.clock.advance(30);
    await call;
    expect(seen).toEqual([
      ["1", { kind: "cancelled", superseded: true }, 15],
      ["2", { kind: "success" }, 5],
    ]);
  });

  it("fails with what the caller's own rule throws, as without a hedge, and ends the other attempt", async () => {
    const boom = new Error("retryable");
    const retryable = (): boolean => {
      throw boom;
    };
    for (const ms of [20, 5]) {
      const world = await warmWorld();
      const log: string[] = [];
      const call = settlement(
        world.call(
          (client, attempt) =>
            attempt.number === 1 ? failAfter(world, ms) : after(world, 1_000, log)(client, attempt),
          { retryable },
        ),
      );
      await world.clock.advance(ms);
      expect(call).toMatchObject({ state: "rejected", error: boom });
      expect(log).toEqual(ms === 20 ? ["2 at 2", "2 aborted"] : []);
      expectClean(world);
    }
  });

  it("is not hedged, and goes on, where the caller's own budget throws", async () => {
    const budget = {
      deposit: () => undefined,
      withdraw: (): boolean => {
        throw new Error("withdraw");
      },
    };
    const world = await warmWorld({ budget });
    const call = settlement(world.call(after(world, 100)));
    await world.clock.advance(100);
    expect(call).toMatchObject({ state: "fulfilled", value: "1" });
    expectClean(world);
  });

  it("does not learn how long answers take while its own process stands still", async () => {
    const clock = manualClock({ random: () => 0 });
    let blockedMs = 0;
    const env = { ...clock.env, now: () => clock.now() + blockedMs };
    const balancer = createBalancer(fixedEndpointer("lorem", ["1", "2", "3"]), roundRobin(), { env });
    const call = retry(balancer, { hedge: true, budget: false, env });
    const calls = (count: number, ms: number): Promise<unknown> =>
      Promise.all(
        Array.from({ length: count }, () => call((client, attempt) => after({ clock }, ms)(client, attempt))),
      );
    const before = calls(300, 10);
    await clock.advance(10);
    await before;
    const during = calls(60, 9);
    blockedMs += 2_000;
    await clock.advance(9);
    await during;
    const log: string[] = [];
    const slow = call((client, attempt) => after({ clock }, attempt.number === 1 ? 500 : 5, log)(client, attempt));
    await clock.advance(20);
    expect(log.slice(0, 2)).toEqual(["1 at 1", "2 at 2"]);
    await slow;
    expect(clock.pending).toBe(0);
  });

  it.each([
    [{ hedge: 5 }, "hedge"],
    [{ hedge: { percentile: 0.2 } }, "hedge.percentile"],
    [{ hedge: { percentile: 1 } }, "hedge.percentile"],
    [{ hedge: { minDelayMs: -1 } }, "hedge.minDelayMs"],
    [{ hedge: { maxHedges: 0 } }, "hedge.maxHedges"],
    [{ hedge: { ratio: 2 } }, "hedge.ratio"],
    [{ hedge: { delayMs: 10 } }, "hedge.delayMs"],
  ])("refuses %o", (options, path) => {
    const make = (): unknown => retryWorld(options as RetryOptions);
    expect(make).toThrow(InvalidOptionError);
    expect(make).toThrow(expect.objectContaining({ path }));
  });

  it("refuses a per-call switch that is none", async () => {
    const world = retryWorld();
    const error = await rejection(world.call(() => "done", { hedge: "yes" as unknown as boolean }));
    expect(error).toBeInstanceOf(InvalidOptionError);
  });
});
