import { adaptive, leastRequest, peakEwma, random, roundRobin } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { oracle } from "./oracle.ts";
import type { Scenario } from "./scenario.ts";
import { scenarios } from "./scenarios/scenarios.ts";
import { simulate } from "./simulate.ts";

const POLICIES = [roundRobin(), random(), leastRequest(), peakEwma(), adaptive()];

describe("the oracle", () => {
  const played: readonly Scenario[] = [
    ...scenarios.ten.filter(({ name }) => name.includes("85")),
    scenarios.twoSlowOfFour,
    scenarios.churn,
    { ...scenarios.queueing.antagonists, durationMs: 6_000 },
  ];
  it.each(played.map((scenario) => [scenario.name, scenario] as const))(
    "is never behind a policy: %s",
    async (_, scenario) => {
      const least = await simulate(scenario, { policy: oracle });
      for (const policy of POLICIES) {
        const its = await simulate(scenario, { policy });
        // The same calls; each of them may be off, but not the whole.
        expect(its.calls).toBe(least.calls);
        expect(least.failures).toBeLessThanOrEqual(its.failures);
        expect(least.latencyMs.mean).toBeLessThanOrEqual(its.latencyMs.mean);
        expect(least.latencyMs.p99).toBeLessThanOrEqual(its.latencyMs.p99);
      }
    },
  );

  it("knows of faults before they come: it fails no call that somebody could have answered", async () => {
    for (const scenario of scenarios.ten) {
      expect((await simulate(scenario, { policy: oracle })).failures).toBe(0);
    }
  });

  it("waits for a worker of the only server as everybody does", async () => {
    const scenario: Scenario = {
      name: "one",
      servers: [{ workers: 2, queue: 5 }],
      work: { kind: "exponential", meanMs: 10 },
      load: { utilisation: 0.9 },
      timeoutMs: 1_000,
      durationMs: 20_000,
    };
    const [its, everybodys] = [
      await simulate(scenario, { policy: oracle }),
      await simulate(scenario, { policy: random() }),
    ];
    expect(its.results).toEqual(everybodys.results);
    expect(its.latencyMs).toEqual(everybodys.latencyMs);
    expect(its.results.full).toBeGreaterThan(100);
  });
});
