/**
 * Lets at most `limit` holders in at a time, in the order in which they asked. Whoever gives up leaves the queue at
 * once, and one who got a turn keeps it until the function that it got is called.
 */
export class Turns {
  readonly limit: number;
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  /**
   * Resolves when it is the caller's turn, with the function that ends it; calling that again does nothing. Rejects with
   * `signal.reason` as soon as the signal aborts, unless the turn was given before: then it has to be ended as any other.
   */
  take(signal: AbortSignal): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const give = (): void => {
        leave();
        let ended = false;
        resolve(() => {
          if (!ended) this.#end();
          ended = true;
        });
      };
      const onAbort = (): void => {
        leave();
        reject(signal.reason);
      };
      const leave = (): void => {
        this.#waiting.delete(give);
        signal.removeEventListener("abort", onAbort);
      };
      if (signal.aborted) return onAbort();
      if (this.#taken < this.limit) {
        this.#taken++;
        return give();
      }
      this.#waiting.add(give);
      signal.addEventListener("abort", onAbort);
    });
  }

  #end(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#taken--;
    else next(); // the turn goes from hand to hand
  }
}
