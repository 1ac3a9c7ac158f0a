import type { Failure } from "./load.ts";
import type { Row } from "./row.ts";
import type { Rate } from "./traffic.ts";

/** What was measured of a row on one backend. `null` in JSON stands for "never" and "does not apply". */
export interface Measures {
  readonly calls: number;
  readonly seconds: number;
  readonly failures: readonly Failure[];
  /** From the end of the fault until the view was right for good; null if it never was. */
  readonly rightMs: number | null;
  /** Requests per second to the ill registry, for the watch and for the busiest registration; null if it was never ill. */
  readonly perWatch: Rate | null;
  readonly perRegistration: Rate | null;
  readonly left: readonly string[];
  /** What the row itself asks for, and did not get. */
  readonly broken: readonly string[];
}

/** How a row ended on one backend. */
export interface Result {
  readonly backend: string;
  readonly row: string;
  readonly tookMs: number;
  /** Undefined if it cannot be on this backend, or broke before its end. */
  readonly measures?: Measures | undefined;
  /** Why it cannot be. */
  readonly no?: string | undefined;
  /** Which limits were not held, or what broke it. */
  readonly breaches: readonly string[];
}

/** How many calls are made, per second. */
export const CALLS_PER_SECOND = 200;
const RIGHT_MS = 3_000;
const ANEW_MS = 15_000;
const REQUESTS_PER_SECOND = 5;
/** Fewer calls than this share were no steady load: the machine is too busy to tell anything. */
const LEAST_SHARE = 0.9;

/** How long the view may be wrong after the fault has ended. */
export function rightLimitMs(row: Row): number {
  return row.anew === undefined ? RIGHT_MS : ANEW_MS;
}

/** Every limit that was not held, in words. */
export function breaches(row: Row, measures: Measures): readonly string[] {
  const { calls, seconds, failures, rightMs, left, broken } = measures;
  const found = [...broken];
  if (failures.length > 0 && row.unreachable === undefined) {
    found.push(`${failures.length} of ${calls} calls failed: ${failures[0]?.error}`);
  }
  if (calls < seconds * CALLS_PER_SECOND * LEAST_SHARE) found.push(`only ${calls} calls in ${seconds.toFixed(0)} s`);
  if (rightMs === null) found.push("the view was never right again");
  else if (rightMs > rightLimitMs(row)) {
    found.push(`the view was right after ${rightMs.toFixed(0)} ms, later than ${rightLimitMs(row)} ms`);
  }
  const { perWatch, perRegistration } = measures;
  if (perWatch !== null && perWatch.peak > REQUESTS_PER_SECOND) {
    found.push(`${perWatch.peak} requests per watch in one second, more than ${REQUESTS_PER_SECOND}`);
  }
  // One try of a registration is several requests.
  if (perRegistration !== null && perRegistration.mean > REQUESTS_PER_SECOND) {
    found.push(
      `${perRegistration.mean.toFixed(1)} requests a second per registration, more than ${REQUESTS_PER_SECOND}`,
    );
  }
  if (left.length > 0) found.push(`left behind: ${left.join(", ")}`);
  return found;
}
