import type { Env } from "./env.ts";

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
  const { signal, timeoutMs } = bounds;
  return new Promise<T>((resolve, reject) => {
    const scope = new LazyScope();
    const cut = (reason: unknown): void => {
      if (!open) return;
      finish();
      // Before the abort, so that the work's own reaction to it cannot come first.
      reject(reason);
      scope.abort(reason);
    };
    const onAbort = (): void => cut(signal?.reason);
    let open = true;
    const finish = (): void => {
      // Work that was given up may still end.
      if (!open) return;
      open = false;
      cancel?.();
      signal?.removeEventListener("abort", onAbort);
    };
    if (signal?.aborted === true) return reject(signal.reason);
    signal?.addEventListener("abort", onAbort);
    if (bounds.reins !== undefined) bounds.reins.cut = cut;
    const cancel =
      timeoutMs === Infinity
        ? undefined
        : env.after(timeoutMs, () => cut(bounds.onTimeout()), { keepAlive: bounds.keepAlive === true });
    const fail = (error: unknown): void => {
      finish();
      reject(error);
    };
    try {
      const result = work(scope);
      Promise.resolve(result).then((value) => {
        finish();
        resolve(value);
      }, fail);
    } catch (error) {
      fail(error);
    }
  });
}

class LazyScope implements Scope {
  #controller: AbortController | undefined;
  #cut: { readonly reason: unknown } | undefined;

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#cut !== undefined) this.#controller.abort(this.#cut.reason);
    }
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    this.#cut = { reason };
    this.#controller?.abort(reason);
  }
}
