import type { Scenario, ServerGroup } from "../scenario.ts";

/** How large a fleet is. */
export interface Size {
  /** In tens: what is said of one server of ten holds for so many. */
  readonly tens: number;
  readonly clients: number;
}

/** Makes a scenario of a fleet for a load, given as a share of what it can do while the faults last. */
export type FleetScenario = (load: number, size: Size) => Scenario;

/** From when to when what is not always wrong is wrong. */
const MEANWHILE = { fromMs: 6_000, toMs: 14_000 };
/** What one server of speed 0.2 can do of what one of speed 1 can; and one that stands still a sixth of the time. */
const SLOW = 0.2;
const PAUSE = { fromMs: 1_000, toMs: 1_500, everyMs: 3_000 };
const PAUSING = 5 / 6;

/** `left`: how many of ten servers of speed 1 would do what the fleet can while the faults last. */
function scenario(name: string, servers: (tens: number) => ServerGroup[], left: number): FleetScenario {
  return (load, { tens, clients }) => {
    const groups = servers(tens);
    return {
      name: `${tens === 1 ? "" : `${10 * tens} servers, `}${name} ${Math.round(load * 100)} %`,
      servers: groups,
      work: { kind: "exponential", meanMs: 10 },
      load: { perSecond: (load * left * tens * 4 * 1_000) / 10 },
      clients,
      networkMs: 0.25,
      timeoutMs: 1_000,
      durationMs: 20_000,
      warmupMs: 2_000,
    };
  };
}

/**
 * Fleets of ten (or a multiple of ten) servers with four workers and a queue of 100 each, for calls of 10 ms on average:
 * all is well; two are five times slower; half of them are twice as fast; one stands still now and then; one fails fast for
 * a time; one cannot be reached for a time; all of it at once.
 */
export const fleetScenarios = {
  even: scenario("even", (tens) => [{ count: 10 * tens }], 10),
  "two slow": scenario(
    "two slow",
    (tens) => [{ count: 8 * tens }, { name: "slow", count: 2 * tens, speed: SLOW }],
    8 + 2 * SLOW,
  ),
  speeds: scenario(
    "speeds",
    (tens) => [
      { name: "fast", count: 5 * tens, speed: 4 / 3 },
      { name: "slow", count: 5 * tens, speed: 2 / 3 },
    ],
    10,
  ),
  pausing: scenario(
    "pausing",
    (tens) => [{ count: 9 * tens }, { name: "pausing", count: tens, faults: [{ kind: "pause", ...PAUSE }] }],
    9 + PAUSING,
  ),
  "failing fast": scenario(
    "failing fast",
    (tens) => [{ count: 9 * tens }, { name: "failing", count: tens, faults: [{ kind: "fail", ...MEANWHILE }] }],
    9,
  ),
  unreachable: scenario(
    "unreachable",
    (tens) => [{ count: 9 * tens }, { name: "lost", count: tens, faults: [{ kind: "unreachable", ...MEANWHILE }] }],
    9,
  ),
  all: scenario(
    "all",
    (tens) => [
      { count: 2 * tens },
      { name: "fast", count: 2 * tens, speed: 4 / 3 },
      { name: "slower", count: 2 * tens, speed: 2 / 3 },
      { name: "slow", count: tens, speed: SLOW },
      { name: "pausing", count: tens, faults: [{ kind: "pause", ...PAUSE }] },
      { name: "failing", count: tens, faults: [{ kind: "fail", ...MEANWHILE }] },
      { name: "lost", count: tens, faults: [{ kind: "unreachable", ...MEANWHILE }] },
    ],
    2 + 8 / 3 + 4 / 3 + SLOW + PAUSING,
  ),
} satisfies Record<string, FleetScenario>;
