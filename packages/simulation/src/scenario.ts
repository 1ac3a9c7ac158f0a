import { type Check, InvalidOptionError, checkOptions, is, required } from "@rollcall/core";
import { type Distribution, checkDistribution, meanOf } from "./distribution.ts";
import { type Fault, checkFault } from "./fault.ts";
import { MOST, POSITIVE } from "./range.ts";

/** Servers that are alike. */
export interface ServerGroup {
  /** How many of them. Default 1. */
  readonly count?: number | undefined;
  /** What their ids begin with: `slow-1`, `slow-2`, … Default `server`. */
  readonly name?: string | undefined;
  /** How many calls each of them works on at once. Default 4; `Infinity` for a server that nothing slows down. */
  readonly workers?: number | undefined;
  /** How many calls may wait at each of them; one more is refused with a failure. Default 100. */
  readonly queue?: number | undefined;
  /** How much work each worker does in a millisecond. Default 1. */
  readonly speed?: number | undefined;
  /** The weight that the registry tells. Default 1. */
  readonly weight?: number | undefined;
  /** The zone that the registry tells. */
  readonly zone?: string | undefined;
  /**
   * Whether they say with each answer how many calls they have in hand, for policies that heed it. Default true.
   */
  readonly reports?: boolean | undefined;
  /** When the registry lists them. Default 0: from the start. */
  readonly joinsAtMs?: number | undefined;
  /** When the registry lists them no more; they go on with what they have, and with what still comes. Default: never. */
  readonly leavesAtMs?: number | undefined;
  readonly faults?: readonly Fault[] | undefined;
}

/** How many calls there are, of all clients together. */
export type Load =
  /** By the second. */
  | { readonly perSecond: number }
  /** As a share of what all servers of the start can do when nothing is wrong with them. */
  | { readonly utilisation: number };

/**
 * A fleet, its clients, and what happens to them. Plain data: it can be kept as JSON, but for `Infinity`, which JSON does
 * not know. Numbers reach up to 1e9, and a run has at most 100 million calls.
 */
export interface Scenario {
  readonly name: string;
  readonly servers: readonly ServerGroup[];
  /** The work of a call, in milliseconds of a worker of speed 1. */
  readonly work: Distribution;
  /**
   * Whether a further attempt of a call is as much work as the first, `same`: a heavy call is heavy everywhere; or is drawn
   * `anew`: what takes long is chance at the server, which is what hedging is good for. Default `same`.
   */
  readonly workAgain?: "same" | "anew" | undefined;
  readonly load: Load;
  /** `poisson`: independent of each other; `uniform`: evenly spaced, each client in its turn. Default `poisson`. */
  readonly arrivals?: "poisson" | "uniform" | undefined;
  /** How many clients, each with its balancer, that know nothing of each other. Default 1. */
  readonly clients?: number | undefined;
  /** Calls carry one of so many keys, for policies that hash. Default 0: they carry none. */
  readonly keys?: number | undefined;
  /** How long a call or an answer is on its way, in one direction. Default 0. */
  readonly networkMs?: number | undefined;
  /** How long a client waits for a call; then it is a failure. Default 10 s. */
  readonly timeoutMs?: number | undefined;
  /** The latency that is aimed at: the report says how many calls were answered in it. Default: `timeoutMs`. */
  readonly targetMs?: number | undefined;
  /**
   * What a server does with calls whose clients have given up: `served` as the others, or, if they still wait in its
   * queue, `dropped`. Default `served`, which is what most servers do, and the worse for a fleet.
   */
  readonly abandoned?: "served" | "dropped" | undefined;
  /** How long calls come. The run ends when all have ended. */
  readonly durationMs: number;
  /** Calls of so long from the start are made, but not counted. Default 0. */
  readonly warmupMs?: number | undefined;
}

/** So many servers in a group, workers of a server, clients. */
const MOST_OF_A_KIND = 100_000;
/** As many as would take minutes to play, and gigabytes to count. */
const MOST_CALLS = 1e8;
/** How often a fault may come again. */
const MOST_SPELLS = 100_000;

function integer(min: number, max = MOST): Check {
  return (value, path) => {
    if (!Number.isInteger(value) || Number(value) < min || Number(value) > max)
      throw new InvalidOptionError(path, `an integer from ${min} to ${max}`, value);
  };
}

function each(check: Check): Check {
  return (value, path) => {
    is.array(value, path);
    (value as readonly unknown[]).forEach((entry, index) => check(entry, `${path}[${index}]`));
  };
}

const orInfinity =
  (check: Check): Check =>
  (value, path) => {
    if (value !== Infinity) check(value, path);
  };

const GROUP = {
  count: integer(1, MOST_OF_A_KIND),
  name: is.nonEmptyString,
  workers: orInfinity(integer(1, MOST_OF_A_KIND)),
  queue: orInfinity(integer(0)),
  speed: POSITIVE,
  weight: is.number(0, MOST),
  zone: is.string,
  reports: is.boolean,
  joinsAtMs: is.number(0, MOST),
  leavesAtMs: is.number(0),
  faults: each(checkFault),
};

const SCENARIO = {
  name: required(is.nonEmptyString),
  servers: required(each(is.shape(GROUP))),
  work: required(checkDistribution),
  workAgain: is.oneOf("same", "anew"),
  load: required((value, path) => {
    const isShare = typeof value === "object" && value !== null && "utilisation" in value;
    checkOptions(path, value, isShare ? { utilisation: required(POSITIVE) } : { perSecond: required(POSITIVE) });
  }),
  arrivals: is.oneOf("poisson", "uniform"),
  clients: integer(1, MOST_OF_A_KIND),
  keys: integer(0),
  networkMs: is.number(0, MOST),
  timeoutMs: POSITIVE,
  targetMs: POSITIVE,
  abandoned: is.oneOf("served", "dropped"),
  durationMs: required(POSITIVE),
  warmupMs: is.number(0, MOST),
};

/** Throws `InvalidOptionError` unless `value` is a {@link Scenario}; its path says where: `servers[1].faults[0].rate`. */
export function checkScenario(value: unknown): asserts value is Scenario {
  checkOptions("", value, SCENARIO);
  const { servers, load, durationMs, warmupMs = 0 } = value as Scenario;
  if (servers.length === 0) throw new InvalidOptionError("servers", "at least one group", servers);
  if (warmupMs >= durationMs)
    throw new InvalidOptionError("warmupMs", `less than durationMs (${durationMs})`, warmupMs);
  for (const [index, { joinsAtMs = 0, leavesAtMs = Infinity, faults = [] }] of servers.entries()) {
    const at = `servers[${index}]`;
    if (leavesAtMs <= joinsAtMs) {
      throw new InvalidOptionError(`${at}.leavesAtMs`, `more than joinsAtMs (${joinsAtMs})`, leavesAtMs);
    }
    const tooOften = faults.findIndex(({ everyMs = Infinity }) => durationMs / everyMs > MOST_SPELLS);
    if (tooOften < 0) continue;
    const { everyMs } = faults[tooOften] ?? {};
    throw new InvalidOptionError(
      `${at}.faults[${tooOften}].everyMs`,
      `at least 1/${MOST_SPELLS} of durationMs (${durationMs})`,
      everyMs,
    );
  }
  if ("utilisation" in load) {
    const capacity = capacityOf(value as Scenario);
    const expected = (why: string): Error =>
      new InvalidOptionError("load.utilisation", `load.perSecond, as ${why}`, load);
    if (capacity === 0) throw expected("there is no server from the start");
    if (capacity === Infinity) throw expected("the servers' workers are unlimited");
  }
  if (durationMs / meanGapMs(value as Scenario) > MOST_CALLS) {
    const path = "perSecond" in load ? "load.perSecond" : "load.utilisation";
    throw new InvalidOptionError(path, `no more than ${MOST_CALLS} calls in durationMs (${durationMs})`, load);
  }
}

/** How long it takes from one call to the next, of all clients, on average. */
export function meanGapMs(scenario: Scenario): number {
  const { load, work } = scenario;
  return "perSecond" in load ? 1_000 / load.perSecond : meanOf(work) / (load.utilisation * capacityOf(scenario));
}

/** How many milliseconds of work the servers of the start do in a millisecond, when nothing is wrong with them. */
export function capacityOf({ servers }: Scenario): number {
  return servers
    .filter(({ joinsAtMs = 0 }) => joinsAtMs === 0)
    .reduce((sum, { count = 1, workers = 4, speed = 1 }) => sum + count * workers * speed, 0);
}
