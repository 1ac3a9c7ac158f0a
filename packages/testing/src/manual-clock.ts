import { checkOptions, type Env, InvalidOptionError, is } from "@rollcall/core";

/** How {@link manualClock} begins. */
export interface ManualClockOptions {
  /** What `env.random()` returns. Default: always 0.5; give `seededRandom(seed)` for varied but repeatable chance. */
  readonly random?: (() => number) | undefined;
  /** What `now()` says at first. Default 0. */
  readonly startMs?: number | undefined;
}

/** A clock that stands still until the test moves it. */
export interface ManualClock {
  /** Hand this to the code under test. It is complete: no real timer, no real chance. */
  readonly env: Env;
  /** Timers that are armed now: neither fired nor cancelled. */
  readonly pending: number;
  /** How many of the pending timers were armed with `keepAlive`. */
  readonly keptAlive: number;
  /** The time in milliseconds. The same as `env.now()`. */
  now(): number;
  /**
   * Lets `ms` milliseconds pass. Timers run in the order in which they are due (ties: in the order they were armed), each
   * at exactly its own time. Before, between and after them all promise continuations that can run do run, so a timer
   * that is armed in one, for a time inside the window, fires too. `advance(0)` only settles, and runs what is due now.
   *
   * A timer that throws rejects the promise; time stays where that timer was due, the rest of the timers stay armed. It
   * also rejects when timers are armed for "now" again and again, so that time could never move on.
   */
  advance(ms: number): Promise<void>;
  /** As {@link advance}, but synchronous: no promise continuation runs meanwhile. A timer that throws throws here. */
  advanceSync(ms: number): void;
  /** Moves to the next timer that is due, however far away, and runs all that are due then. False if none is armed. */
  runNext(): Promise<boolean>;
}

interface Timer {
  readonly dueMs: number;
  readonly keepAlive: boolean;
  readonly run: () => void;
}

/**
 * Makes a {@link ManualClock}. It holds no resource, so there is nothing to close. Where the system's timers would make
 * something of a delay that is no number, this clock throws: such a delay is a mistake in the code under test.
 *
 * ```ts
 * import { manualClock } from "@rollcall/testing";
 * const clock = manualClock();
 * clock.env.after(1_000, () => {});
 * await clock.advance(1_000);
 * clock.pending; // 0
 * ```
 */
export function manualClock(options: ManualClockOptions = {}): ManualClock {
  checkOptions("", options, { random: is.function, startMs: is.number(0) });
  let nowMs = options.startMs ?? 0;
  // How many timers fired since time last moved.
  let firedAtNow = 0;
  // A set keeps the order of arming, which is the order of ties.
  const timers = new Set<Timer>();

  const next = (untilMs: number): Timer | undefined => {
    let first: Timer | undefined;
    for (const timer of timers) {
      if (timer.dueMs <= untilMs && (first === undefined || timer.dueMs < first.dueMs)) first = timer;
    }
    return first;
  };

  const fire = (timer: Timer): void => {
    firedAtNow = timer.dueMs > nowMs ? 1 : firedAtNow + 1;
    if (firedAtNow > MAX_TIMERS_AT_ONCE)
      throw new Error(`more than ${MAX_TIMERS_AT_ONCE} timers were due at ${nowMs} ms`);
    timers.delete(timer);
    nowMs = Math.max(nowMs, timer.dueMs);
    timer.run();
  };

  const end = (ms: number): number => {
    if (!(ms >= 0 && ms < Infinity)) throw new InvalidOptionError("ms", "a finite number of milliseconds >= 0", ms);
    return nowMs + ms;
  };

  const advanceTo = async (endMs: number): Promise<void> => {
    firedAtNow = 0;
    await settle();
    for (let timer = next(endMs); timer !== undefined; timer = next(endMs)) {
      fire(timer);
      await settle();
    }
    nowMs = Math.max(nowMs, endMs);
  };

  return {
    env: {
      now: () => nowMs,
      random: options.random ?? (() => 0.5),
      after(delayMs, run, timerOptions) {
        if (Number.isNaN(delayMs)) throw new InvalidOptionError("delayMs", "a number of milliseconds", delayMs);
        const timer = { dueMs: nowMs + Math.max(0, delayMs), keepAlive: timerOptions?.keepAlive === true, run };
        timers.add(timer);
        return () => void timers.delete(timer);
      },
    },
    get pending() {
      return timers.size;
    },
    get keptAlive() {
      return [...timers].filter((timer) => timer.keepAlive).length;
    },
    now: () => nowMs,
    async advance(ms) {
      await advanceTo(end(ms));
    },
    advanceSync(ms) {
      const endMs = end(ms);
      firedAtNow = 0;
      for (let timer = next(endMs); timer !== undefined; timer = next(endMs)) fire(timer);
      nowMs = Math.max(nowMs, endMs);
    },
    async runNext() {
      await settle();
      // Not one that is never due.
      const timer = next(Number.MAX_VALUE);
      if (timer !== undefined) await advanceTo(Math.max(nowMs, timer.dueMs));
      return timer !== undefined;
    },
  };
}

/** Far more than any test arms for one instant, and reached in well under a second. */
const MAX_TIMERS_AT_ONCE = 10_000;

/** Rounds of the event loop that one settling takes. One drains all microtasks; the others are for code that defers. */
const SETTLE_ROUNDS = 3;

// Taken at import: a test that fakes the global timers must not stop this clock, which would then wait for ever.
const realSetImmediate = setImmediate;

async function settle(): Promise<void> {
  for (let round = 0; round < SETTLE_ROUNDS; round++) {
    await new Promise<void>((resolve) => void realSetImmediate(resolve));
  }
}
