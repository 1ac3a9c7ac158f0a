/** A turn that was given; see {@link Turns}. */
export class Turn {
  #turns: Turns | undefined;

  constructor(turns: Turns) {
    this.#turns = turns;
  }

  /** Does nothing the second time. */
  end(): void {
    this.#turns?.next();
    this.#turns = undefined;
  }
}

/**
 * Lets at most `limit` holders in at a time, in the order in which they asked. Whoever gives up leaves the queue at
 * once, and one who got a turn keeps it until it is ended.
 */
export class Turns {
  readonly limit: number;
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  /**
   * Resolves with a turn, when it is the caller's. Rejects with `signal.reason` as soon as the signal aborts, unless the
   * turn was given before: then it has to be ended as any other.
   */
  async take(signal: AbortSignal): Promise<Turn> {
    signal.throwIfAborted();
    if (this.#taken < this.limit) this.#taken++;
    else await this.#queue(signal);
    return new Turn(this);
  }

  /** Of a turn: it was ended. It goes from hand to hand. */
  next(): void {
    const [give] = this.#waiting;
    if (give === undefined) this.#taken--;
    else give();
  }

  #queue(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(give);
        signal.removeEventListener("abort", onAbort);
      };
      const give = (): void => {
        leave();
        resolve();
      };
      const onAbort = (): void => {
        leave();
        reject(signal.reason);
      };
      this.#waiting.add(give);
      signal.addEventListener("abort", onAbort);
    });
  }
}
