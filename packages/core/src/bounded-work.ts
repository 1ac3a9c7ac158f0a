import type { Env } from "./env.ts";
import { TOLD } from "./open-call.ts";
import type { Queued, TimeoutQueue } from "./timeout-queue.ts";

/** What the work itself sees of its bounds. */
export interface Scope {
  /** Aborts when the work is ended from outside. Made when it is first asked for. */
  readonly signal: AbortSignal;
}

/**
 * A piece of work that ends once: by itself, or because it is cut. One object for all that is known of it, since every
 * attempt of every call makes one.
 */
export abstract class BoundedWork<T> implements Scope, Queued {
  endsAt = Infinity;
  before: Queued | undefined;
  after: Queued | undefined;
  #open = true;
  #queue: TimeoutQueue | undefined;
  #cancel: (() => void) | undefined;
  #watched: AbortSignal | undefined;
  #controller: AbortController | undefined;
  #cutWith: { readonly reason: unknown } | undefined;

  /** What is to be done. */
  protected abstract work(): T | PromiseLike<T>;
  /** Makes the error for when the time is over. */
  protected abstract tooLate(): unknown;
  /** It has ended well. Called once, or else `failed`. */
  protected abstract succeeded(value: T): void;
  /** It has failed, by itself or because it was cut. */
  protected abstract failed(error: unknown): void;

  get signal(): AbortSignal {
    const controller = (this.#controller ??= new AbortController());
    // The first abort counts.
    if (this.#cutWith !== undefined) controller.abort(this.#cutWith.reason);
    return controller.signal;
  }

  /** Cuts it when the signal aborts. If it has already, the work fails, and is not to begin: false. */
  watch(signal: AbortSignal | undefined): boolean {
    if (signal === undefined) return true;
    if (signal.aborted) {
      this.fail(signal.reason);
      return false;
    }
    this.#watched = signal;
    signal.addEventListener("abort", this);
    return true;
  }

  /** What it watches has aborted. */
  handleEvent(): void {
    this.cut(this.#watched?.reason);
  }

  /** Gives it so much time, with a timer of its own. */
  limit(env: Env, timeoutMs: number, keepAlive: boolean): void {
    this.#cancel = env.after(timeoutMs, () => this.cut(this.tooLate()), { keepAlive });
  }

  /** Gives it the time of the queue, which keeps the process alive. */
  queueUp(queue: TimeoutQueue, since: number): void {
    this.#queue = queue;
    queue.enter(this, since);
  }

  expire(): void {
    this.#queue = undefined;
    this.cut(this.tooLate());
  }

  begin(): void {
    try {
      const given: unknown = this.work();
      if (given !== TOLD) Promise.resolve(given as T).then(this.succeed.bind(this), this.fail.bind(this));
    } catch (error) {
      this.fail(error);
    }
  }

  /** Ends it at once, with this reason. Does nothing when it has ended. */
  cut(reason: unknown): void {
    if (!this.#open) return;
    // Before the abort, so that the work's own reaction to it cannot come first.
    this.fail(reason);
    this.#cutWith = { reason };
    this.#controller?.abort(reason);
  }

  /** It has ended well. Does nothing when it has ended before. */
  succeed(value: T): void {
    // Work that was given up may still end.
    if (!this.#open) return;
    this.#finish();
    this.succeeded(value);
  }

  /** Likewise, with an error. */
  fail(error: unknown): void {
    if (!this.#open) return;
    this.#finish();
    this.failed(error);
  }

  #finish(): void {
    this.#open = false;
    this.#queue?.leave(this);
    this.#cancel?.();
    this.#watched?.removeEventListener("abort", this);
  }
}
