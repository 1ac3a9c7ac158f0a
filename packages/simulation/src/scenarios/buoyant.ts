import type { Scenario } from "../scenario.ts";

/**
 * One client, 1,000 calls a second, eleven servers that answer in 167 ms; for half of the time one of them needs two
 * seconds. How many calls are answered within one?
 *
 * Source: "Beyond Round Robin: Load Balancing for Latency", Buoyant's blog, 2016: 95 % with round robin, 99 % with the
 * least loaded, 99.9 % with Peak-EWMA.
 */
export const buoyant: Scenario = {
  name: "buoyant",
  servers: [
    { count: 10, workers: Infinity },
    { name: "slow", workers: Infinity, faults: [{ kind: "slow", work: 2_000, fromMs: 15_000, toMs: 45_000 }] },
  ],
  work: { kind: "normal", meanMs: 167, deviationMs: 5 },
  load: { perSecond: 1_000 },
  targetMs: 1_000,
  durationMs: 60_000,
};
