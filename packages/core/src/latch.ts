/**
 * What many wait for and what happens once: it opens, or fails. One who stops waiting leaves nothing behind, however
 * long the others still wait (a promise would keep a reaction for each of them).
 */
export class Latch {
  #end: { readonly error?: unknown } | undefined;
  readonly #waiting = new Set<() => void>();

  /** Lets everybody through. Does nothing when it has ended before. */
  open(): void {
    if (this.#end === undefined) this.#finish({});
  }

  /** Rejects all who wait, and from now on also those who come, even if it was open. */
  fail(error: unknown): void {
    this.#finish({ error });
  }

  /** Resolves when it is open. Rejects with `signal.reason` as soon as the signal aborts, or as {@link fail} says. */
  wait(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        this.#waiting.delete(settle);
        signal?.removeEventListener("abort", settle);
        if (signal?.aborted === true) reject(signal.reason);
        else if (this.#end !== undefined && "error" in this.#end) reject(this.#end.error);
        else resolve();
      };
      if (this.#end !== undefined || signal?.aborted === true) return settle();
      this.#waiting.add(settle);
      signal?.addEventListener("abort", settle);
    });
  }

  #finish(end: { readonly error?: unknown }): void {
    this.#end = end;
    for (const settle of this.#waiting) settle();
  }
}
