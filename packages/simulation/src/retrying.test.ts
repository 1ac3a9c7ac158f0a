import { type Policy, adaptive, leastRequest, retryBudget, roundRobin } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import type { Scenario } from "./scenario.ts";
import { scenarios } from "./scenarios/scenarios.ts";
import { simulate } from "./simulate.ts";

const ONE_DEAD: Scenario = {
  name: "one dead of three",
  servers: [{ count: 2 }, { name: "dead", faults: [{ kind: "dead" }] }],
  work: { kind: "exponential", meanMs: 5 },
  load: { perSecond: 300 },
  clients: 2,
  networkMs: 0.5,
  timeoutMs: 1_000,
  durationMs: 5_000,
};

describe("a simulation with retries", () => {
  it("plays the real retry: what fails is tried elsewhere, after a back-off, and counted", async () => {
    const retry = { budget: false, backoff: () => 7 } as const;
    const { calls, failures, attempts, amplification, servers, latencyMs } = await simulate(ONE_DEAD, {
      policy: roundRobin(),
      retry,
    });
    expect(failures).toBe(0);
    const dead = servers.find(({ id }) => id === "dead-1");
    expect(dead?.failures).toBe(dead?.attempts);
    expect(attempts).toBe(calls + (dead?.attempts ?? 0));
    expect(amplification).toBeCloseTo(attempts / calls, 9);
    // A third of the calls: half a millisecond there and back, and the back-off.
    expect(amplification).toBeGreaterThan(1.3);
    expect(latencyMs.mean).toBeGreaterThan(5 + 1 + (1 + 7) / 3 - 0.5);
  });

  it("is as repeatable as one without, also when several are under way at once", async () => {
    const play = (seed: number): Promise<string> =>
      simulate(ONE_DEAD, { policy: adaptive(), seed, retry: { hedge: true } }).then((report) => JSON.stringify(report));
    const [first, other, again] = await Promise.all([play(1), play(2), play(1)]);
    expect(again).toBe(first);
    expect(other).not.toBe(first);
    expect(await play(1)).toBe(first);
  });

  it("makes the same calls as one without", async () => {
    const scenario: Scenario = { ...ONE_DEAD, servers: [{ count: 3 }] };
    const [direct, retrying] = await Promise.all([
      simulate(scenario, { policy: leastRequest() }),
      simulate(scenario, { policy: leastRequest(), retry: {} }),
    ]);
    expect(retrying).toEqual(direct);
  });

  it("ends attempts by the time-outs that the options say, and the call by the scenario's", async () => {
    const lost: Scenario = { ...ONE_DEAD, servers: [{ faults: [{ kind: "unreachable" }] }], load: { perSecond: 20 } };
    const one = await simulate(lost, { policy: roundRobin(), retry: { maxAttempts: 1 } });
    expect(one.results.timeout).toBe(one.calls);
    expect(one.latencyMs.max).toBeCloseTo(1_000, 9);
    const three = await simulate(lost, {
      policy: roundRobin(),
      retry: { attemptTimeoutMs: 100, backoff: () => 0, budget: retryBudget({ perSecond: 1_000 }) },
    });
    expect(three.servers[0]?.failures).toBe(three.attempts);
    expect(three.amplification).toBeGreaterThan(1);
  });

  it("says none for calls that found nobody to ask", async () => {
    const nobody: Scenario = { ...ONE_DEAD, servers: [{ leavesAtMs: 2_500 }] };
    const { results, calls } = await simulate(nobody, { policy: roundRobin(), retry: { maxAttempts: 1 } });
    expect(results.none / calls).toBeCloseTo(0.5, 1);
    expect(results.ok + results.none).toBe(calls);
  });
});

describe("a policy that throws", () => {
  const broken: Policy = {
    name: "broken",
    create: () => ({
      picker: () => () => {
        throw new Error("no idea");
      },
    }),
  };

  it.each([undefined, {}])("ends the simulation, with retries or without: %j", async (retry) => {
    await expect(simulate(ONE_DEAD, { policy: broken, retry })).rejects.toThrow("no idea");
  });
});

describe("a total outage", () => {
  const forEver: Scenario = {
    ...scenarios.outage,
    servers: [{ count: 10, faults: [{ kind: "dead", fromMs: 2_000 }] }],
    durationMs: 6_000,
  };

  it("waits as long as the scenario says, unless the options say otherwise", async () => {
    const scenario: Scenario = {
      ...forEver,
      servers: [{ faults: [{ kind: "unreachable" }] }],
      load: { perSecond: 10 },
      timeoutMs: 50,
    };
    for (const [timeoutMs, ms] of [
      [undefined, 50],
      [70, 70],
    ] as const) {
      const { latencyMs } = await simulate(scenario, { policy: roundRobin(), retry: { timeoutMs, maxAttempts: 1 } });
      expect(latencyMs.max).toBeCloseTo(ms, 9);
    }
  });

  it("triples the load with three attempts and no budget", async () => {
    const { amplification } = await simulate(forEver, { policy: adaptive(), retry: { budget: false } });
    expect(amplification).toBe(3);
  });

  it.each([roundRobin(), adaptive()])("adds a fifth at most with the default budget: $name", async (policy) => {
    for (const scenario of [forEver, scenarios.outage]) {
      const { amplification } = await simulate(scenario, { policy, retry: {} });
      expect(amplification).toBeLessThanOrEqual(1.2);
      expect(amplification).toBeGreaterThan(1);
    }
  });
});

describe("hedging", () => {
  it("takes the tail off where chance at the server makes it, and not where calls are heavy themselves", async () => {
    const scenario: Scenario = {
      ...ONE_DEAD,
      servers: [{ count: 10 }],
      load: { utilisation: 0.3 },
      durationMs: 20_000,
    };
    const p99 = async (workAgain: "same" | "anew", hedge: boolean): Promise<number> =>
      (await simulate({ ...scenario, workAgain }, { policy: adaptive(), retry: { hedge } })).latencyMs.p99;
    const [heavy, anyhow, chance, hedged] = await Promise.all([
      p99("same", false),
      p99("same", true),
      p99("anew", false),
      p99("anew", true),
    ]);
    expect(chance).toBe(heavy);
    expect(hedged).toBeLessThan(0.85 * chance);
    expect(anyhow).toBeGreaterThanOrEqual(heavy);
  });

  it("answers 99.99 % of the Buoyant replay within a second, for a few hundredths more load", async () => {
    for (const seed of [1, 2, 3]) {
      const { inTarget, amplification } = await simulate(scenarios.buoyant, {
        policy: adaptive(),
        seed,
        retry: { hedge: true },
      });
      expect(inTarget).toBeGreaterThanOrEqual(0.9999);
      expect(amplification).toBeLessThan(1.05);
    }
  });
});
