import type { Env } from "./env.ts";

/** The delay before the next try, after the attempt with this number (from 1), in milliseconds. */
export type Backoff = (attempt: number) => number;

/**
 * Exponential back-off with full jitter: uniform in [0, min(cap, base · 2^(attempt-1))), but never below `leastMs`
 * (default 0). Of the usual forms it makes the fewest calls and finishes soonest when many clients fail at one moment.
 *
 * Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 */
export function fullJitter(
  env: Env,
  options: { readonly baseMs: number; readonly capMs: number; readonly leastMs?: number | undefined },
): Backoff {
  const { baseMs, capMs, leastMs = 0 } = options;
  // 2^30 is beyond any cap, and far from Infinity.
  return (attempt) => Math.max(leastMs, env.random() * Math.min(capMs, baseMs * 2 ** Math.min(attempt - 1, 30)));
}

/** How long a call waits before it is tried elsewhere. */
export const RETRY_BACKOFF = { baseMs: 25, capMs: 1_000 } as const;

/**
 * How long a watch or a registration waits before it is tried again. The cap keeps the promise that what returns is
 * found again within three seconds; full jitter makes the mean of an ill registry's load one request a second, and the
 * least keeps it below five in any second, whatever the dice say.
 */
export const RECONNECT = { baseMs: 500, capMs: 2_000, leastMs: 200 } as const;
