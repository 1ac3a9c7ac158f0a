import { untilAborted } from "./abort.ts";
import { type Env, sleep } from "./env.ts";
import { ClosedError } from "./errors.ts";
import type { Session } from "./session.ts";

/** However often connections fail, a new one is sought no sooner than this after the last. */
const PAUSE_MS = 200;
/** The same after one that could be made, but did not last. It was not for nothing: it cost the registry several requests. */
const LONG_PAUSE_MS = 1_000;

/**
 * The way to a registry: at most one {@link Session} at a time, made when it is needed and shared by all who need it. A
 * backend says how one is made.
 */
export abstract class Connection<S extends Session> {
  readonly env: Env;
  readonly #registry: string;
  readonly #closing = new AbortController();
  #session: S | undefined;
  #connecting: Promise<S> | undefined;
  #freeMs = -Infinity;

  /** @param registry its name, for messages. */
  constructor(registry: string, env: Env) {
    this.env = env;
    this.#registry = registry;
  }

  /** Aborts when the connection is closed. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Resolves with a session that has begun. Rejects when none can be had, and as soon as {@link closing} aborts. */
  protected abstract open(): Promise<S>;

  /** Rejects as `open` does, or with `signal.reason` as soon as the signal aborts. */
  async session(signal: AbortSignal): Promise<S> {
    if (this.#session?.open === true) return this.#session;
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    return untilAborted(this.#connecting, signal);
  }

  /** Ends the session and everybody's waiting for one; resolves when nothing is left. */
  async close(): Promise<void> {
    const error = new ClosedError(`the connection to ${this.#registry}`);
    this.#closing.abort(error);
    await this.#connecting?.catch(() => undefined);
    await this.#session?.close(error);
  }

  /** Begins a session; one that cannot begin is thrown away. */
  protected async begun(session: S, signal: AbortSignal): Promise<S> {
    try {
      await session.begin(signal);
      return session;
    } catch (error) {
      session.end(error);
      await session.close(error);
      throw error;
    }
  }

  async #connect(): Promise<S> {
    const { diedYoungMs = -Infinity } = this.#session ?? {};
    const pauseMs = Math.max(this.#freeMs, diedYoungMs + LONG_PAUSE_MS) - this.env.now();
    if (pauseMs > 0) await sleep(this.env, pauseMs, this.closing);
    this.closing.throwIfAborted();
    this.#freeMs = this.env.now() + PAUSE_MS;
    this.#session = await this.open();
    if (this.closing.aborted) this.#session.end(this.closing.reason);
    return this.#session;
  }
}
