import type { Failure } from "../chaos/load.ts";
import type { Framework } from "./framework.ts";
import type { Orders } from "./stage.ts";

/** Fewer calls than this share were no steady load: the machine is too busy to tell anything. */
const LEAST_SHARE = 0.9;

export interface Measures extends Orders {
  readonly calls: number;
  readonly posts: number;
  /** Calls that were due and never made, as too many were under way. */
  readonly skipped: number;
  /** How many calls there should be. */
  readonly due: number;
  readonly failures: readonly Failure[];
  readonly notes: readonly string[];
  /** What the play itself asks for, and did not get. */
  readonly broken: readonly string[];
}

/** More than this share left out, and the load has given way just when it mattered. */
const MOST_SKIPPED_SHARE = 0.05;

/** How a play ended, on one registry and with one kind of server. */
export interface Result {
  readonly play: string;
  readonly backend: string;
  readonly framework: Framework;
  readonly tookMs: number;
  /** Undefined if it broke before its end. */
  readonly measures?: Measures | undefined;
  /** Which limits were not held, or what broke it. */
  readonly breaches: readonly string[];
}

/** Every limit that was not held, in words. */
export function breaches(measures: Measures): readonly string[] {
  const { calls, posts, skipped, due, failures, twice, lost, answered, broken } = measures;
  const found = [...broken];
  if (failures.length > 0) found.push(`${failures.length} of ${calls} calls failed: ${failures[0]?.error}`);
  if (twice > 0) found.push(`${twice} of ${posts} POSTs were executed more than once`);
  if (lost > 0) found.push(`${lost} of ${posts} POSTs were answered, and never executed`);
  if (failures.length === 0 && answered !== posts) found.push(`${posts} POSTs, and ${answered} of them written down`);
  if (skipped > calls * MOST_SKIPPED_SHARE) found.push(`${skipped} calls were not made, as too many were under way`);
  if (calls < due * LEAST_SHARE) found.push(`only ${calls} of ${due.toFixed(0)} calls were made`);
  return found;
}
