import { type Env, resolveEnv } from "./env.ts";
import { checkOptions, is } from "./options.ts";

/** Bounds how much load retries may add, over all calls that share it. */
export interface RetryBudget {
  /** Notes a call. */
  deposit(): void;
  /**
   * Whether a retry may be made now; if so, it is counted. `fruitless` is how many this client has made that brought
   * nothing, less what has gone well since; a budget may ignore it.
   */
  withdraw(fruitless?: number): boolean;
}

/** What {@link retryBudget} can be told. */
export interface RetryBudgetOptions {
  /** Retries per call, over the last ten seconds. Default 0.2: a fleet that fails gets at most 20 % more load. */
  readonly ratio?: number | undefined;
  /** Retries per second that are always allowed on top, so that a quiet client can retry at all. Default 10. */
  readonly perSecond?: number | undefined;
  /** Retries that are allowed in any ten seconds, however few calls there were. Default 3. */
  readonly least?: number | undefined;
  readonly env?: Partial<Env> | undefined;
}

const SLOT_MS = 1_000;
const SLOTS = 10;
/** So many retries that brought nothing, or this share of the calls of the last second or two, are an outage. */
const FRUITLESS = 10;
const FRUITLESS_SHARE = 0.05;

/**
 * Makes a {@link RetryBudget} over a sliding window of ten seconds: retries are allowed while there were fewer than
 * `max(least, ratio · calls + perSecond · seconds)` in it, the seconds counted from the first call. Holds no timer.
 *
 * While hardly anything works, what was saved is not spent: after more than a few retries that brought nothing, only
 * `least` of them are allowed until calls go well again. A retry is worth its load where another endpoint may do better;
 * where none does, a fifth more is too much, and three services in a row would make it three quarters.
 *
 * Source: the constants are those of Finagle's RetryBudget (20 %, 10 per second, 10 s) and Envoy's (at least 3); that
 * retries end in an outage is gRPC's retry throttling (proposal A6), here by whether they help, not by whether calls fail.
 */
export function retryBudget(options: RetryBudgetOptions = {}): RetryBudget {
  checkOptions("", options, { ratio: is.number(0), perSecond: is.number(0), least: is.number(0), env: is.env });
  const { now } = resolveEnv(options.env);
  const { ratio = 0.2, perSecond = 10, least = 3 } = options;
  const calls = new Float64Array(SLOTS);
  const retries = new Float64Array(SLOTS);
  let startedAt: number | undefined;
  /** Number of the newest slot, counted from the start. */
  let newest = 0;

  /** Empties the slots that have left the window; returns the slot of this moment and the window's length so far. */
  const turn = (): { readonly slot: number; readonly windowMs: number } => {
    const at = now();
    startedAt ??= at;
    const number = Math.floor((at - startedAt) / SLOT_MS);
    for (let passed = Math.min(number - newest, SLOTS); passed > 0; passed--) {
      const slot = (number - passed + 1) % SLOTS;
      calls[slot] = 0;
      retries[slot] = 0;
    }
    newest = Math.max(newest, number);
    return { slot: newest % SLOTS, windowMs: Math.min(at - startedAt, SLOTS * SLOT_MS) };
  };

  return {
    deposit() {
      const { slot } = turn();
      calls[slot] = (calls[slot] ?? 0) + 1;
    },
    withdraw(fruitless = 0) {
      const { slot, windowMs } = turn();
      const lately = (calls[slot] ?? 0) + (calls[(slot + SLOTS - 1) % SLOTS] ?? 0);
      const isOutage = fruitless >= Math.max(FRUITLESS, FRUITLESS_SHARE * lately);
      const allowed = isOutage ? least : Math.max(least, ratio * sum(calls) + (perSecond * windowMs) / 1_000);
      // Compared with a hair's breadth of tolerance: 0.29 * 100 is not quite 29.
      if (sum(retries) + 1 > allowed + 1e-9) return false;
      retries[slot] = (retries[slot] ?? 0) + 1;
      return true;
    },
  };
}

function sum(slots: Float64Array): number {
  return slots.reduce((total, count) => total + count, 0);
}
