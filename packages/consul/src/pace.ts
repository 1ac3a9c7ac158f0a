import { type Env, sleep } from "@rollcall/core";

/**
 * A limit of how much is asked (the generic cell rate algorithm): what is asked in any stretch of time costs no more than
 * that stretch, and the burst.
 */
export class Pace {
  readonly #env: Env;
  readonly #burstMs: number;
  readonly #jitter: number;
  /** Until when what was asked is paid for. */
  #paidMs = -Infinity;

  /** @param jitter How much longer than necessary it may wait, as a share of the cost. */
  constructor(env: Env, burstMs: number, jitter: number) {
    this.#env = env;
    this.#burstMs = burstMs;
    this.#jitter = jitter;
  }

  /** Resolves when a request may be sent that costs so much, or when the signal aborts. */
  async pay(costMs: number, signal: AbortSignal): Promise<void> {
    const nowMs = this.#env.now();
    this.#paidMs = Math.max(this.#paidMs, nowMs) + costMs;
    const waitMs = this.#paidMs - this.#burstMs - nowMs;
    if (waitMs > 0) await sleep(this.#env, waitMs + this.#env.random() * this.#jitter * costMs, signal);
  }
}
