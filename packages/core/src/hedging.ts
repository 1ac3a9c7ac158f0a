import type { Env } from "./env.ts";
import { LatencyQuantile } from "./latency-quantile.ts";
import { checkOptions, is } from "./options.ts";
import { StallWatch } from "./stall-watch.ts";
import { type RetryBudget, retryBudget } from "./retry-budget.ts";

/** When a call that has no answer yet is also made elsewhere. */
export interface HedgeOptions {
  /** After how long: when this share of the attempts would have been answered, as it was lately. Default 0.95. */
  readonly percentile?: number | undefined;
  /** But not before. Default 1 ms: what is faster than that is not made faster by asking twice. */
  readonly minDelayMs?: number | undefined;
  /** Hedges of one call, which count as its attempts. Default 1. */
  readonly maxHedges?: number | undefined;
  /**
   * Hedges per call, over the last ten seconds: what they may add to the load when all of a sudden everything is slow.
   * Default 0.05. They are also charged to the budget of the retries.
   */
  readonly ratio?: number | undefined;
}

const HEDGE_CHECKS = {
  percentile: is.number(0.5, 0.999),
  minDelayMs: is.durationMs,
  maxHedges: is.number(1),
  ratio: is.number(0, 1),
};

/** `true`, `false`, or {@link HedgeOptions}. */
export function checkHedge(value: unknown, path: string): void {
  if (typeof value !== "boolean") checkOptions(path, value, HEDGE_CHECKS);
}

/**
 * What the hedged calls of one client share: how long its attempts take, and how many hedges there may be.
 *
 * Source: Dean and Barroso, The Tail at Scale (CACM 2013): a second request after the 95th percentile adds 5 % of load at
 * most, and takes off most of the tail; the live percentile, the least delay and the cap are those of Finagle's BackupRequestFilter.
 */
export class Hedging {
  readonly maxHedges: number;
  /** Tells when this process itself stood still: what took long then says nothing. */
  readonly watch: StallWatch;
  readonly #minDelayMs: number;
  readonly #cap: RetryBudget;
  readonly #latency: LatencyQuantile;

  constructor(options: HedgeOptions, env: Env, watches: boolean) {
    const { percentile = 0.95, minDelayMs = 1, maxHedges = 1, ratio = 0.05 } = options;
    this.maxHedges = maxHedges;
    this.watch = new StallWatch(env, watches);
    this.#minDelayMs = minDelayMs;
    this.#cap = retryBudget({ ratio, perSecond: 0, least: 0, env });
    this.#latency = new LatencyQuantile(percentile);
  }

  /** How long to wait for an answer before asking elsewhere too. `Infinity` while there is no knowing. */
  get delayMs(): number {
    const { ms } = this.#latency;
    return ms === undefined ? Infinity : Math.max(ms, this.#minDelayMs);
  }

  /** Notes a call. */
  deposit(): void {
    this.#cap.deposit();
  }

  /** Whether there may be a hedge now; if so, it is counted. */
  withdraw(): boolean {
    return this.#cap.withdraw();
  }

  /**
   * Notes how long an attempt took that was no hedge, or how long one did not answer that was overtaken: left out, these
   * would make the slow look rare, and the delay shrink with every hedge.
   */
  learn(latencyMs: number, nowMs: number): void {
    this.#latency.add(latencyMs, nowMs);
  }
}
