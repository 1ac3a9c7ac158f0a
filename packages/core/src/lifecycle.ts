/** Something that can be cut short by its caller. */
export interface Abortable {
  /** When it aborts, the operation rejects at once with `signal.reason`, unwrapped. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Something that holds timers, sockets or registrations until it is closed.
 *
 * Whoever made it closes it, nobody else. `close()` is idempotent: concurrent and later calls share one promise.
 * `await using` does the same as `close()`.
 */
export interface Closable extends AsyncDisposable {
  close(): Promise<void>;
}

/** Makes the two halves of {@link Closable} from one function, which will run at most once. */
export function closable(run: () => Promise<void>): Closable {
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    if (closing === undefined) {
      // Known before it runs: whatever it calls may come back here.
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      closing = promise;
      run().then(resolve, reject);
    }
    return closing;
  };
  return { close, [Symbol.asyncDispose]: close };
}
