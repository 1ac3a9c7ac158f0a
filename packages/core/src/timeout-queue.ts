import type { Env } from "./env.ts";

/** What waits in a {@link TimeoutQueue}. The queue writes all but `expire`, and nobody else does. */
export interface Queued {
  endsAt: number;
  before: Queued | undefined;
  after: Queued | undefined;
  /** Its time is over. It has left the queue. */
  expire(): void;
}

/**
 * Time-outs of one length. They end in the order in which they began, so one timer serves them all: it is armed while
 * anything waits, and keeps the process alive. Hardly one ever ends, and to enter and to leave costs a few nanoseconds, where
 * a timer costs 200. Node's own timers lie in such lists, one for each length.
 */
export class TimeoutQueue {
  readonly timeoutMs: number;
  readonly #env: Env;
  #first: Queued | undefined;
  #last: Queued | undefined;
  #disarm: (() => void) | undefined;

  constructor(timeoutMs: number, env: Env) {
    this.timeoutMs = timeoutMs;
    this.#env = env;
  }

  /** Calls `expire` when the time is over, counted from `since`, which is never earlier than that of who entered before. */
  enter(queued: Queued, since: number): void {
    queued.endsAt = since + this.timeoutMs;
    queued.before = this.#last;
    if (this.#last === undefined) this.#first = queued;
    else this.#last.after = queued;
    this.#last = queued;
    if (this.#disarm === undefined) this.#arm(this.timeoutMs);
  }

  /** Takes it out again, before its time is over. */
  leave(queued: Queued): void {
    this.#remove(queued);
    if (this.#first !== undefined) return;
    this.#disarm?.();
    this.#disarm = undefined;
  }

  #remove(queued: Queued): void {
    const { before, after } = queued;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    queued.before = queued.after = undefined;
  }

  #arm(delayMs: number): void {
    this.#disarm = this.#env.after(delayMs, () => this.#fire(), { keepAlive: true });
  }

  /** Who the timer was armed for may have left long ago. */
  #fire(): void {
    this.#disarm = undefined;
    try {
      for (let first = this.#first; first !== undefined; first = this.#first) {
        if (first.endsAt > this.#env.now()) return;
        this.#remove(first);
        first.expire();
      }
    } finally {
      // Even if one has thrown. Who expired may have brought about new ones, and so a timer.
      const next = this.#first;
      if (next !== undefined && this.#disarm === undefined) this.#arm(Math.max(0, next.endsAt - this.#env.now()));
    }
  }
}
