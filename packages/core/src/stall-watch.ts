import type { Env } from "./env.ts";

/** How often it looks whether the event loop still turns, while calls are in flight. */
const BEAT_MS = 100;
/** While no call begins or ends, the looks become rarer, up to this: a stream that lasts hours must cost nothing. */
const BEAT_MOST_MS = 1_600;
/** How late such a look must be to call it a stall; what is shorter is the jitter of a busy process. */
const STALL_MS = 100;

/**
 * Notices when this process itself stood still: its event loop was blocked, its machine suspended. Calls that were in
 * flight then look slow or timed out, whatever their servers did, and must not be held against them.
 *
 * A timer beats while calls are in flight; if a beat is overdue when somebody asks for the time, the process has
 * stalled. It is not enough that time passed: between a call and its time-out there may be nothing else to do.
 * Nothing is armed while nothing is in flight, so there is nothing to close.
 */
export class StallWatch {
  /** When the last stall was noticed: calls that began before this and end after it teach nothing. */
  wokeAt = -Infinity;
  readonly #env: Env;
  readonly #watches: boolean;
  #inFlight = 0;
  #lateAt = Infinity;
  #beatMs = BEAT_MS;
  /** Whether a call has begun or ended since the last look. */
  #stirred = false;
  #disarm: (() => void) | undefined;

  /** Where the timers keep another time than the clock, their being late tells nothing: `watches` is false. */
  constructor(env: Env, watches = true) {
    this.#env = env;
    this.#watches = watches;
  }

  /** The time; every look at the clock is a look for a stall. */
  now(): number {
    const nowMs = this.#env.now();
    if (nowMs > this.#lateAt) {
      this.wokeAt = nowMs;
      // Until the beat comes, it is still the same stall. (If timers never fire, there is no second one.)
      this.#lateAt = Infinity;
    }
    return nowMs;
  }

  started(nowMs: number): void {
    this.#inFlight++;
    this.#stirred = true;
    if (!this.#watches || (this.#disarm !== undefined && this.#beatMs === BEAT_MS)) return;
    this.#disarm?.();
    this.#arm(nowMs);
  }

  ended(): void {
    this.#inFlight--;
    this.#stirred = true;
    if (this.#inFlight > 0) return;
    this.#disarm?.();
    this.#disarm = undefined;
    this.#lateAt = Infinity;
  }

  #arm(nowMs: number): void {
    this.#beatMs = this.#stirred ? BEAT_MS : Math.min(BEAT_MOST_MS, 2 * this.#beatMs);
    this.#stirred = false;
    const lateAt = nowMs + this.#beatMs + STALL_MS;
    this.#lateAt = lateAt;
    this.#disarm = this.#env.after(this.#beatMs, () => {
      const beatAt = this.now();
      // The stall ends here, also if somebody has noticed it in the middle, and begun a call.
      if (beatAt > lateAt) this.wokeAt = beatAt;
      this.#arm(beatAt);
    });
  }
}
