import { BoundedWork, type Scope } from "./bounded-work.ts";
import type { Env } from "./env.ts";
import type { Ends } from "./open-call.ts";

/** What ends a piece of work from outside. */
export interface Bounds {
  /** `Infinity` for none, and then there is no timer. */
  readonly timeoutMs: number;
  /** Makes the error for when the time is over. */
  readonly onTimeout: () => unknown;
  /** Its abort ends the work with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
  /** Whether the timer keeps the process alive: when somebody awaits the work. */
  readonly keepAlive?: boolean | undefined;
}

/**
 * Runs `work`, and settles as it does, unless its time is over or the signal aborts before: then it rejects at once,
 * whether the work reacts or not, and whatever the work does later is ignored. Neither timer nor listener stays.
 */
export function bounded<T>(env: Env, bounds: Bounds, work: (scope: Scope) => T | PromiseLike<T>): Promise<T> {
  const { timeoutMs, signal, keepAlive } = bounds;
  return new Promise<T>((resolve, reject) => {
    const timed = new TimedWork<T>(work, bounds.onTimeout, { resolve, reject });
    if (!timed.watch(signal)) return;
    if (timeoutMs !== Infinity) timed.limit(env, timeoutMs, keepAlive === true);
    timed.begin();
  });
}

class TimedWork<T> extends BoundedWork<T> {
  readonly #work: (scope: Scope) => T | PromiseLike<T>;
  readonly #onTimeout: () => unknown;
  readonly #ends: Ends<T>;

  constructor(work: (scope: Scope) => T | PromiseLike<T>, onTimeout: () => unknown, ends: Ends<T>) {
    super();
    this.#work = work;
    this.#onTimeout = onTimeout;
    this.#ends = ends;
  }

  protected override work(): T | PromiseLike<T> {
    return this.#work(this);
  }

  protected override tooLate(): unknown {
    return this.#onTimeout();
  }

  protected override succeeded(value: T): void {
    this.#ends.resolve(value);
  }

  protected override failed(error: unknown): void {
    this.#ends.reject(error);
  }
}
