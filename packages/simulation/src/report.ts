import type { Result } from "./attempt.ts";

/** What became of one server's calls. */
export interface ServerReport {
  readonly id: string;
  /** Attempts of counted calls that were sent to it. */
  readonly attempts: number;
  /** Those of all attempts, 0 to 1. */
  readonly share: number;
  /** Attempts of counted calls that it failed, or did not answer in time. */
  readonly failures: number;
  /**
   * The work that its workers have begun, in the whole run, as a share of what they could do at their speed in the
   * scenario's `durationMs`; above 1 if that was not enough for it. 0 for unlimited workers.
   */
  readonly utilisation: number;
}

/** Latencies of calls in milliseconds, exact. A call that failed counts as one that took at least the scenario's time-out. */
export interface LatencyReport {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** What {@link simulate} found. Plain data; the same scenario, policy and seed give the same report, to the last bit. */
export interface Report {
  readonly scenario: string;
  readonly policy: string;
  readonly seed: number;
  /** Calls that were counted: all after the warm-up. */
  readonly calls: number;
  readonly failures: number;
  /** `failures / calls`. */
  readonly failureShare: number;
  /** The share of calls that were answered well within the scenario's `targetMs`. */
  readonly inTarget: number;
  /** How the calls' last attempts ended. */
  readonly results: Readonly<Record<Result, number>>;
  readonly latencyMs: LatencyReport;
  /** Points of the latency curve: a share of the calls, and the latency that it stays below. */
  readonly curve: readonly (readonly [share: number, ms: number])[];
  readonly attempts: number;
  /** `attempts / calls`: what retries and hedges add to the load. */
  readonly amplification: number;
  readonly servers: readonly ServerReport[];
  /** The most attempts for its capacity and its time in the registry, divided by the mean of that. 1 is even. */
  readonly imbalance: number;
  /** How many servers a client holds for ejected, looked up ten times a second, at one client after the other. */
  readonly ejected: { readonly mean: number; readonly most: number };
}
