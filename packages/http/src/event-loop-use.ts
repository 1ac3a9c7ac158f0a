import { performance } from "node:perf_hooks";

/** What it spans is between one and two of these: long enough for a loop that is blocked now and then. */
const WINDOW_MS = 250;
/** So long the last answer is good enough. */
const STEP_MS = 10;

/** The times of an event loop since its start, in milliseconds: idle, waiting for something to happen, and active. */
export interface LoopTimes {
  readonly idle: number;
  readonly active: number;
}

/**
 * How busy this process's event loop was in the last quarter or half of a second; longer ago only if nobody has asked
 * meanwhile. Needs no timer: it looks when it is asked.
 */
export class EventLoopUse {
  readonly #now: () => number;
  readonly #read: () => LoopTimes;
  /** From where it counts, and from where it will. */
  #from: LoopTimes;
  #next: LoopTimes;
  #nextAt: number;
  #lookedAt = -Infinity;
  #utilization = 0;

  constructor(
    now: () => number = () => performance.now(),
    read: () => LoopTimes = () => performance.eventLoopUtilization(),
  ) {
    this.#now = now;
    this.#read = read;
    this.#from = read();
    this.#next = this.#from;
    this.#nextAt = now();
  }

  /** 0 for idle, 1 for no time left. */
  get utilization(): number {
    const nowMs = this.#now();
    if (nowMs - this.#lookedAt < STEP_MS) return this.#utilization;
    this.#lookedAt = nowMs;
    const times = this.#read();
    if (nowMs - this.#nextAt >= WINDOW_MS) {
      this.#from = this.#next;
      this.#next = times;
      this.#nextAt = nowMs;
    }
    const active = times.active - this.#from.active;
    const all = active + times.idle - this.#from.idle;
    // Nothing has passed yet, or the loop has not begun to turn.
    if (all > 0) this.#utilization = Math.min(1, Math.max(0, active / all));
    return this.#utilization;
  }
}
