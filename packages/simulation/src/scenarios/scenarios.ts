import type { Scenario } from "../scenario.ts";
import { buoyant } from "./buoyant.ts";
import { fleetScenarios } from "./fleet-scenario.ts";
import { queueingScenarios } from "./queueing.ts";
import { churn, outage, single, twoSlowOfFour } from "./small.ts";

/** The loads at which fleets are played: shares of what they can do while their faults last. */
export const LOADS = [0.7, 0.85, 0.95] as const;

const TEN = { tens: 1, clients: 10 };
const HUNDRED = { tens: 10, clients: 50 };

/**
 * Scenarios to begin with, by kind. They are plain data: take one, change what should be different, play it.
 *
 * - `ten`: ten servers, ten clients; each in the order of {@link LOADS}.
 * - `hundred`: a hundred servers, fifty clients; at 85 %.
 * - `queueing`: fifty servers with unlimited queues, twenty clients.
 * - `buoyant`, and small fleets with one thing that happens: `twoSlowOfFour`, `single`, `outage`, `churn`.
 */
export const scenarios = {
  ten: Object.values(fleetScenarios).flatMap((make) => LOADS.map((load) => make(load, TEN))),
  hundred: Object.values(fleetScenarios).map((make) => make(0.85, HUNDRED)),
  queueing: queueingScenarios,
  buoyant,
  twoSlowOfFour,
  single,
  outage,
  churn,
} as const satisfies Record<string, Scenario | readonly Scenario[] | Record<string, Scenario>>;
