import type { Env } from "./env.ts";
import { firstPlace } from "./first-place.ts";

/** Something that is to be done at a time. The agenda writes `dueMs`, and nobody else does. */
export interface Appointment {
  dueMs: number;
  /** Its time has come. It has left the agenda. */
  keep(): void;
}

/**
 * What many have to do later, by one timer: it is armed for the next of them, and keeps no process alive. With a timer for
 * each, what waits is half a kilobyte; and there may be thousands of watches.
 */
export class Agenda {
  readonly #env: Env;
  /** In their order; the next one is the last. */
  readonly #waiting: Appointment[] = [];
  #disarm: (() => void) | undefined;

  constructor(env: Env) {
    this.#env = env;
  }

  /** Calls `keep` after `delayMs`. Nobody is there twice. */
  enter(appointment: Appointment, delayMs: number): void {
    const dueMs = (appointment.dueMs = this.#env.now() + delayMs);
    const place = firstPlace(this.#waiting, (other) => other.dueMs > dueMs);
    this.#waiting.splice(place, 0, appointment);
    if (this.#waiting.at(-1) === appointment) this.#arm();
  }

  /** Takes it out again; does nothing if it is not there. */
  leave(appointment: Appointment): void {
    const at = this.#waiting.lastIndexOf(appointment);
    if (at < 0) return;
    this.#waiting.splice(at, 1);
    // Otherwise the timer fires for nobody once, at the most.
    if (this.#waiting.length === 0) this.#arm();
  }

  /** For the next one, if there is any. */
  #arm(): void {
    this.#disarm?.();
    const next = this.#waiting.at(-1);
    this.#disarm = next && this.#env.after(Math.max(0, next.dueMs - this.#env.now()), () => this.#fire());
  }

  #fire(): void {
    try {
      for (let next = this.#waiting.at(-1); next !== undefined; next = this.#waiting.at(-1)) {
        if (next.dueMs > this.#env.now()) return;
        this.#waiting.pop();
        next.keep();
      }
    } finally {
      // Even if one has thrown.
      this.#arm();
    }
  }
}
