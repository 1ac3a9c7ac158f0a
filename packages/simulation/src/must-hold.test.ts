import { adaptive, leastRequest, outlierDetection, peakEwma, prequal, random, roundRobin } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { oracle } from "./oracle.ts";
import type { Scenario } from "./scenario.ts";
import { scenarios } from "./scenarios/scenarios.ts";
import { simulate } from "./simulate.ts";

const EVERY = [
  roundRobin(),
  random(),
  leastRequest(),
  peakEwma(),
  adaptive(),
  prequal(),
  outlierDetection(roundRobin()),
  outlierDetection(leastRequest()),
];

describe("with two of fifty failing fast", () => {
  it.each([adaptive(), prequal()])(
    "half a percent of the calls fails at most, a tenth of their part: $name",
    async (policy) => {
      for (const seed of [1, 2]) {
        const { failureShare } = await simulate(scenarios.queueing["failing fast"], { policy, seed });
        expect(failureShare).toBeLessThanOrEqual(0.005);
        // The factor by which failing fast attracts calls: 1 is round robin.
        expect(failureShare / (2 / 50)).toBeLessThanOrEqual(0.1);
      }
    },
  );
});

describe("with a single server that fails for a time", () => {
  it.each(EVERY)("nobody is ejected: $name", async (policy) => {
    const { ejected, attempts, calls } = await simulate(scenarios.single, { policy });
    expect(ejected).toEqual({ mean: 0, most: 0 });
    expect(attempts).toBe(calls);
  });
});

describe("after a total outage", () => {
  const late: Scenario = { ...scenarios.outage, warmupMs: 14_500 };
  it.each(EVERY)("every server is asked again when the longest ejection is over: $name", async (policy) => {
    const { failures, servers, ejected } = await simulate(late, { policy });
    expect(failures).toBe(0);
    for (const { attempts } of servers) expect(attempts).toBeGreaterThan(100);
    expect(ejected.most).toBeLessThan(10);
  });
});

describe("while a server comes and another goes every 100 ms", () => {
  it.each(EVERY)("no call of 2,000 a second fails: $name", async (policy) => {
    const { failures, calls } = await simulate(scenarios.churn, { policy });
    expect(calls).toBeGreaterThan(30_000);
    expect(failures).toBe(0);
  });

  it("what is known of those that stay is kept: it costs little more than to know everything", async () => {
    const [its, least] = [adaptive(), oracle].map((policy) => simulate(scenarios.churn, { policy }));
    expect((await its)?.latencyMs.p99).toBeLessThan(1.2 * ((await least)?.latencyMs.p99 ?? 0));
  });
});
