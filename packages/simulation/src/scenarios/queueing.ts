import type { Scenario, ServerGroup } from "../scenario.ts";

function queueing(name: string, utilisation: number, servers: readonly ServerGroup[]): Scenario {
  return {
    name,
    servers: servers.map((group) => ({ ...group, queue: Infinity })),
    work: { kind: "normal", meanMs: 20, deviationMs: 20 },
    load: { utilisation },
    clients: 20,
    networkMs: 0.25,
    durationMs: 20_000,
  };
}

/** Five times as long as the interval at which the antagonists move on. */
const ROUND_MS = 25_000;

/** A fifth of the servers, another one every five seconds, has a neighbour that takes two fifths of its machine. */
function antagonists(): ServerGroup[] {
  return Array.from({ length: 5 }, (_, fifth) => ({
    count: 10,
    faults: [
      { kind: "slow", factor: 5 / 3, fromMs: fifth * 5_000, toMs: (fifth + 1) * 5_000, everyMs: ROUND_MS } as const,
    ],
  }));
}

/**
 * 50 servers of four workers, unlimited queues, 20 clients that know nothing of each other, calls of a truncated normal
 * amount of work (20 ms ± 20 before it is cut): equal servers; half of them twice as fast; neighbours that come and go; two
 * that fail at once.
 *
 * Source of the model: the testbed of Wydrowski et al., "Load is not what you should balance: Introducing Prequal", NSDI
 * 2024, section 5: normal work with a deviation of its mean, antagonists, many clients.
 */
export const queueingScenarios = {
  uniform: queueing("uniform 90 %", 0.9, [{ count: 50 }]),
  speeds: queueing("speeds 2:1 85 %", 0.85, [
    { name: "fast", count: 25, speed: 4 / 3 },
    { name: "slow", count: 25, speed: 2 / 3 },
  ]),
  antagonists: queueing("antagonists 75 %", 0.75, antagonists()),
  "more antagonists": queueing("antagonists 90 %", 0.9, antagonists()),
  "failing fast": queueing("2 of 50 failing fast", 0.75, [
    { count: 48 },
    { name: "failing", count: 2, faults: [{ kind: "fail" }] },
  ]),
} satisfies Record<string, Scenario>;
