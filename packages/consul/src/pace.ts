import { type Env, sleep } from "@rollcall/core";

/**
 * A limit of how much is asked (the generic cell rate algorithm): resolves when a request may be sent that costs so much,
 * or when the signal aborts. What is asked in any stretch of time costs no more than that stretch, and the burst.
 */
export type Pace = (costMs: number, signal: AbortSignal) => Promise<void>;

/** @param jitter How much longer than necessary it may wait, as a share of the cost. */
export function pacer(env: Env, burstMs: number, jitter: number): Pace {
  let paidMs = -Infinity; // until when what was asked is paid for
  return async (costMs, signal) => {
    const nowMs = env.now();
    paidMs = Math.max(paidMs, nowMs) + costMs;
    const waitMs = paidMs - burstMs - nowMs;
    if (waitMs > 0) await sleep(env, waitMs + env.random() * jitter * costMs, signal);
  };
}
