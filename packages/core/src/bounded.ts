import type { Env } from "./env.ts";
import type { Queued, TimeoutQueue } from "./timeout-queue.ts";

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
  /** Where to wait for the time to be over, with others, and since when it runs: instead of a timer. Keeps alive. */
  readonly queue?: TimeoutQueue | undefined;
  readonly since?: number | undefined;
  /** For who may want to end the work before: `cut` is put in when it begins. */
  readonly reins?: Reins | undefined;
}

/** A hand on a piece of work. */
export interface Reins {
  /** Ends it at once, as its signal would, with this reason. Does nothing when it has ended. */
  cut?: (reason: unknown) => void;
}

/** What the work itself sees of its bounds. */
export interface Scope {
  /** Aborts when the work is ended from outside. Made when it is first asked for. */
  readonly signal: AbortSignal;
}

/**
 * Runs `work`, and settles as it does, unless its time is over or the signal aborts before: then it rejects at once,
 * whether the work reacts or not, and whatever the work does later is ignored. Neither timer nor listener stays.
 */
export function bounded<T>(env: Env, bounds: Bounds, work: (scope: Scope) => T | PromiseLike<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => new BoundedWork(env, bounds, resolve, reject).begin(work));
}

/** One object for what is known of a piece of work: every attempt of every call makes one. */
class BoundedWork<T> implements Scope, Queued {
  endsAt = Infinity;
  before: Queued | undefined = undefined;
  after: Queued | undefined = undefined;
  readonly #bounds: Bounds;
  readonly #resolve: (value: T) => void;
  readonly #reject: (reason: unknown) => void;
  readonly #env: Env;
  #open = true;
  /** In the queue, if there is one. */
  #waits = true;
  #cancel: (() => void) | undefined;
  #onAbort: (() => void) | undefined;
  #controller: AbortController | undefined;
  #cutWith: { readonly reason: unknown } | undefined;

  constructor(env: Env, bounds: Bounds, resolve: (value: T) => void, reject: (reason: unknown) => void) {
    this.#env = env;
    this.#bounds = bounds;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#cutWith !== undefined) this.#controller.abort(this.#cutWith.reason);
    }
    return this.#controller.signal;
  }

  begin(work: (scope: Scope) => T | PromiseLike<T>): void {
    const { signal, timeoutMs, keepAlive, reins, queue, since } = this.#bounds;
    if (signal !== undefined) {
      if (signal.aborted) {
        this.#reject(signal.reason);
        return;
      }
      this.#onAbort = () => this.#cut(signal.reason);
      signal.addEventListener("abort", this.#onAbort);
    }
    if (reins !== undefined) reins.cut = (reason) => this.#cut(reason);
    if (queue !== undefined) queue.enter(this, since ?? this.#env.now());
    else if (timeoutMs !== Infinity)
      this.#cancel = this.#env.after(timeoutMs, () => this.expire(), keepAlive === true ? KEEP_ALIVE : undefined);
    try {
      Promise.resolve(work(this)).then(
        (value) => {
          this.#finish();
          this.#resolve(value);
        },
        (error: unknown) => this.#fail(error),
      );
    } catch (error) {
      this.#fail(error);
    }
  }

  expire(): void {
    this.#waits = false;
    this.#cut(this.#bounds.onTimeout());
  }

  #cut(reason: unknown): void {
    if (!this.#open) return;
    this.#finish();
    // Before the abort, so that the work's own reaction to it cannot come first.
    this.#reject(reason);
    this.#cutWith = { reason };
    this.#controller?.abort(reason);
  }

  #fail(error: unknown): void {
    this.#finish();
    this.#reject(error);
  }

  #finish(): void {
    // Work that was given up may still end.
    if (!this.#open) return;
    this.#open = false;
    if (this.#waits) this.#bounds.queue?.leave(this);
    this.#cancel?.();
    if (this.#onAbort !== undefined) this.#bounds.signal?.removeEventListener("abort", this.#onAbort);
  }
}

const KEEP_ALIVE = { keepAlive: true };
