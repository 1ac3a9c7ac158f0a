import { type Turn, Turns } from "@rollcall/core";

/** One watch's turn to poll. */
export class Poll {
  /** How long Consul may hold its answer back. */
  readonly waitMs: number;
  readonly #turn: Turn;
  readonly #onEnd: (() => void) | undefined;

  constructor(waitMs: number, turn: Turn, onEnd?: () => void) {
    this.waitMs = waitMs;
    this.#turn = turn;
    this.#onEnd = onEnd;
  }

  /** Lets the next watch poll. Must be called, once the answer is there or the request has failed. */
  end(): void {
    this.#onEnd?.();
    this.#turn.end();
  }
}

/** When there are more watches than connections, each polls this often. */
const ROUND_MS = 2_500;
/** All watches together, however many they are: a round may take longer then. */
const MAX_PER_SECOND = 500;

/**
 * Shares a limited number of connections among all watches of a registry, because Consul limits the connections from one
 * address, and refuses heartbeats too when they are used up.
 *
 * As long as each watch can have a connection, polls last as long as they are asked to. When there are more watches, they
 * take turns, with polls so short that every watch gets its turn within about three seconds. Nothing gets lost between
 * two turns: a poll says which index it knows, and is answered at once if that is not the present one.
 *
 * A tenth of the connections is never given to long polls: when many watches come at once, they take turns there until
 * the long ones are over.
 */
export class Polls {
  readonly #turns: Turns;
  readonly #maxLong: number;
  readonly #onLongEnd = (): void => void this.#long--;
  #watches = 0;
  #long = 0;

  constructor(maxConnections: number) {
    this.#turns = new Turns(maxConnections);
    this.#maxLong = Math.floor(maxConnections * 0.9);
  }

  /** One watch more, until it leaves. */
  join(): void {
    this.#watches++;
  }

  leave(): void {
    this.#watches--;
  }

  /**
   * Resolves when a watch that has joined may send a poll that Consul holds back for at most `waitMs`; with 0, one that
   * it answers at once. Rejects with `signal.reason` as soon as the signal aborts.
   */
  async take(waitMs: number, signal: AbortSignal): Promise<Poll> {
    const turn = await this.#turns.take(signal);
    if (waitMs === 0) return new Poll(waitMs, turn);
    if (this.#watches <= this.#turns.limit && this.#long < this.#maxLong) {
      this.#long++;
      return new Poll(waitMs, turn, this.#onLongEnd);
    }
    const roundMs = Math.max(ROUND_MS, (this.#watches / MAX_PER_SECOND) * 1_000);
    const share = (this.#turns.limit - this.#long) / (this.#watches - this.#long);
    return new Poll(Math.min(waitMs, Math.ceil(roundMs * share)), turn);
  }
}
