import type { Scenario } from "../scenario.ts";

const COMMON = {
  work: { kind: "exponential", meanMs: 10 },
  networkMs: 0.25,
  timeoutMs: 1_000,
  durationMs: 20_000,
  warmupMs: 2_000,
} as const;

/** Four servers, of which two are twenty times slower. Two choices among four meet both of them in one of six picks. */
export const twoSlowOfFour: Scenario = {
  ...COMMON,
  name: "two slow of four",
  servers: [{ count: 2 }, { name: "slow", count: 2, speed: 1 / 20 }],
  load: { perSecond: 400 },
  clients: 4,
};

/** One server, which fails half of its calls for a time, and all of them for a while. */
export const single: Scenario = {
  ...COMMON,
  name: "single",
  servers: [
    {
      faults: [
        { kind: "fail", rate: 0.5, fromMs: 4_000, toMs: 12_000 },
        { kind: "fail", fromMs: 8_000, toMs: 9_000 },
      ],
    },
  ],
  load: { perSecond: 200 },
  clients: 2,
};

/** All servers are gone for five seconds. */
export const outage: Scenario = {
  ...COMMON,
  name: "outage",
  servers: [{ count: 10, faults: [{ kind: "dead", fromMs: 5_000, toMs: 10_000 }] }],
  load: { perSecond: 2_000 },
  clients: 2,
};

/** Ten servers of which every 100 ms the oldest one leaves and a new one comes, under 2,000 calls a second. */
export const churn: Scenario = {
  ...COMMON,
  name: "churn",
  servers: Array.from({ length: 210 }, (_, place) => ({
    joinsAtMs: Math.max(0, (place - 9) * 100),
    leavesAtMs: (place + 1) * 100,
  })),
  load: { perSecond: 2_000 },
  clients: 5,
};
