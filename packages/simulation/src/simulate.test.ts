import { adaptive, leastRequest, peakEwma, random, roundRobin } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { oracle } from "./oracle.ts";
import type { Scenario } from "./scenario.ts";
import { simulate } from "./simulate.ts";

const EVEN: Scenario = {
  name: "even",
  servers: [{ count: 10 }],
  work: { kind: "exponential", meanMs: 10 },
  load: { utilisation: 0.85 },
  clients: 10,
  networkMs: 0.25,
  timeoutMs: 1_000,
  durationMs: 3_000,
  warmupMs: 500,
};

describe("simulate", () => {
  it.each([roundRobin(), random(), leastRequest(), peakEwma(), adaptive(), oracle])(
    "gives the same report for the same seed, to the last bit, and another for another: $name",
    async (policy) => {
      const [first, second, other] = await Promise.all([
        simulate(EVEN, { policy, seed: 7 }),
        simulate(EVEN, { policy, seed: 7 }),
        simulate(EVEN, { policy, seed: 8 }),
      ]);
      expect(JSON.stringify(second)).toBe(JSON.stringify(first));
      expect(JSON.stringify({ ...other, seed: 7 })).not.toBe(JSON.stringify(first));
    },
  );
});
