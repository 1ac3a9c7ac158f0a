import { bounded } from "./bounded.ts";
import type { Env } from "./env.ts";
import { TimeoutError, isDiscoveryError } from "./errors.ts";

export interface SessionOptions {
  /** How long the registry may take for an answer. */
  readonly timeoutMs: number;
  readonly env: Env;
}

/** One that ends sooner was not worth its making: the next one may do no better. */
const YOUNG_MS = 2_000;

/**
 * One connection to one server of a registry, from its first answer to its first failure. It is never mended: whatever
 * shows that it is ill (it breaks, an answer does not come) ends it, with all that goes on over it, and the next user gets
 * a new one: see {@link Connection}.
 */
export abstract class Session {
  protected readonly env: Env;
  readonly #registry: string;
  readonly #timeoutMs: number;
  readonly #bornMs: number;
  readonly #ended = new AbortController();
  #heardMs = -Infinity;
  #diedYoungMs: number | undefined;

  /** @param registry the backend's name, for messages. */
  constructor(registry: string, { timeoutMs, env }: SessionOptions) {
    this.env = env;
    this.#registry = registry;
    this.#timeoutMs = timeoutMs;
    this.#bornMs = env.now();
  }

  get open(): boolean {
    return !this.#ended.signal.aborted;
  }

  /** Aborts, with the reason, when it ends. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** When it ended, if that was soon after it began. */
  get diedYoungMs(): number | undefined {
    return this.#diedYoungMs;
  }

  /** Throws the connection away. Does nothing when it has ended before; who overrides it lets go of what it holds. */
  end(reason: unknown): void {
    if (!this.open) return;
    const nowMs = this.env.now();
    if (nowMs - this.#bornMs < YOUNG_MS) this.#diedYoungMs = nowMs;
    this.#ended.abort(reason);
  }

  /** Resolves when it can be used. Rejects when it cannot, or with `signal.reason`. */
  abstract begin(signal: AbortSignal): Promise<void>;

  /** Ends it politely; resolves when nothing is left of it. Never rejects. */
  abstract close(reason: unknown): Promise<void>;

  /** To be called for each message of the server, whatever it says. */
  protected heard(): void {
    this.#heardMs = this.env.now();
  }

  /** Whether a failure shows that the connection is ill. Not asked for a time that is over. */
  protected isFatal(_error: unknown): boolean {
    return false;
  }

  /**
   * Does a piece of work over this connection. Rejects with `signal.reason` as soon as the signal aborts, with the reason
   * of the end when it ends, and with a `TimeoutError` when the time is over.
   *
   * Ends the session if it is to blame: for a time that is over, whoever's it was, only if nothing at all has come since.
   * One long answer must not cost all others theirs.
   */
  protected async bounded<T>(
    what: string,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
    timeoutMs: number = this.#timeoutMs,
  ): Promise<T> {
    const startMs = this.env.now();
    const onTimeout = (): unknown => new TimeoutError(`${this.#registry}: ${what}`, timeoutMs);
    const cut = new AbortController();
    const onAbort = (): void => cut.abort(signal.aborted ? signal.reason : this.ended.reason);
    for (const each of [signal, this.ended]) each.addEventListener("abort", onAbort);
    if (signal.aborted || !this.open) onAbort();
    try {
      return await bounded(this.env, { timeoutMs, onTimeout, signal: cut.signal }, (scope) => work(scope.signal));
    } catch (error) {
      const isLate = isDiscoveryError(error, "TIMEOUT");
      const isToBlame = isLate ? this.#heardMs < startMs : !signal.aborted && this.isFatal(error);
      if (isToBlame) this.end(error);
      throw error;
    } finally {
      for (const each of [signal, this.ended]) each.removeEventListener("abort", onAbort);
    }
  }
}
