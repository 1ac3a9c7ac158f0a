import { ClosedError, messageOf, sleep, untilAborted } from "@rollcall/core";
import { EtcdError } from "./etcd-error.ts";
import { type Dialled, EtcdSession, type EtcdSessionOptions } from "./session.ts";

export interface EtcdConnectionOptions extends EtcdSessionOptions {
  /** At least one. */
  readonly hosts: readonly string[];
  /** Makes a client of one host; the session closes it. */
  readonly dial: (host: string) => Dialled;
}

/** How long a host may be silent before the next one is called too (RFC 8305 recommends 250 ms). */
const STAGGER_MS = 250;
/** When all have been called: how long before the first is called again, for a way that was blocked may be free now. */
const REDIAL_MS = 1_000;
/** However often connections fail, a new one is sought no sooner than this after the last. */
const PAUSE_MS = 200;
/** The same after one that could be made, but did not last. It was not for nothing: it cost etcd several requests. */
const LONG_PAUSE_MS = 1_000;

/**
 * The way to etcd: at most one {@link EtcdSession} at a time, made when it is needed and shared by all who need it. All
 * hosts are called, one shortly after the other, and the first that answers is taken, so that a silent host costs a
 * moment; the next time another host comes first.
 */
export class EtcdConnection {
  readonly #options: EtcdConnectionOptions;
  readonly #closing = new AbortController();
  /** Connections that are being made, and that were thrown away, until it is over. */
  readonly #beginning = new Set<Promise<unknown>>();
  readonly #ending = new Set<Promise<void>>();
  #session: EtcdSession | undefined;
  #connecting: Promise<EtcdSession> | undefined;
  #firstHost = 0;
  #freeMs = -Infinity;

  constructor(options: EtcdConnectionOptions) {
    this.#options = options;
  }

  /** Rejects when no host answers in time, with what each said, or with `signal.reason`. */
  async session(signal: AbortSignal): Promise<EtcdSession> {
    if (this.#session?.open === true) return this.#session;
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    return untilAborted(this.#connecting, signal);
  }

  /** Ends the session and everybody's waiting for one; resolves when nothing is left. */
  async close(): Promise<void> {
    const error = new ClosedError("the connection to etcd");
    this.#closing.abort(error);
    void this.#session?.end(error);
    await Promise.allSettled(this.#beginning);
    await Promise.all(this.#ending);
  }

  async #connect(): Promise<EtcdSession> {
    const { env } = this.#options;
    const { diedYoungMs = -Infinity } = this.#session ?? {};
    const pauseMs = Math.max(this.#freeMs, diedYoungMs + LONG_PAUSE_MS) - env.now();
    if (pauseMs > 0) await sleep(env, pauseMs, this.#closing.signal);
    this.#closing.signal.throwIfAborted();
    this.#freeMs = env.now() + PAUSE_MS;
    const session = await this.#race();
    if (this.#closing.signal.aborted) void session.end(this.#closing.signal.reason);
    this.#session = session;
    return session;
  }

  #race(): Promise<EtcdSession> {
    const { hosts, env, timeoutMs } = this.#options;
    const turn = this.#firstHost++;
    const running = new Set<AbortController>();
    const said = new Map<string, string>();
    const { promise, resolve, reject } = Promise.withResolvers<EtcdSession>();
    let calls = 0;
    let cancelNext: (() => void) | undefined;
    let over = false;

    const end = (): void => {
      over = true;
      cancelNext?.();
      cancelLast();
      this.#closing.signal.removeEventListener("abort", onClose);
      for (const each of running) each.abort(new EtcdError("another host was faster"));
    };
    const give = (error: unknown): void => {
      end();
      reject(error);
    };
    const onClose = (): void => give(this.#closing.signal.reason);
    const call = (): void => {
      cancelNext?.();
      const host = hosts[(turn + calls++) % hosts.length] as string;
      cancelNext = env.after(calls < hosts.length ? STAGGER_MS : REDIAL_MS, call);
      const mine = new AbortController();
      running.add(mine);
      const beginning = this.#begin(host, mine.signal).finally(() => this.#beginning.delete(beginning));
      this.#beginning.add(beginning);
      void beginning.then(
        (session) => {
          running.delete(mine);
          if (over) {
            void session.end(new EtcdError("another host was faster"));
            return;
          }
          end();
          resolve(session);
        },
        (error: unknown) => {
          running.delete(mine);
          if (over) return;
          said.set(host, messageOf(error));
          if (said.size === 1) firstError = error;
          // Somebody is still silent, or has not been called yet.
          if (calls < hosts.length) call();
          else if (running.size === 0) give(noHost(hosts, said, firstError));
        },
      );
    };
    let firstError: unknown;
    const cancelLast = env.after(timeoutMs, () => give(noHost(hosts, said, firstError, timeoutMs)));
    this.#closing.signal.addEventListener("abort", onClose);
    call();
    return promise;
  }

  async #begin(host: string, signal: AbortSignal): Promise<EtcdSession> {
    const dialled = this.#options.dial(host);
    const close = (): Promise<void> => {
      const ending = dialled.close().finally(() => this.#ending.delete(ending));
      this.#ending.add(ending);
      return ending;
    };
    const session = new EtcdSession({ ...dialled, close }, this.#options);
    try {
      await session.begin(signal);
      return session;
    } catch (error) {
      void session.end(error);
      throw error;
    }
  }
}

function noHost(
  hosts: readonly string[],
  said: ReadonlyMap<string, string>,
  cause: unknown,
  timeoutMs?: number,
): unknown {
  // What a single host said is said best in its own words.
  if (hosts.length === 1 && cause !== undefined) return cause;
  const each = hosts.map((host) => `${host}: ${said.get(host) ?? `no answer within ${timeoutMs} ms`}`);
  return new EtcdError(`no host can be used (${each.join("; ")})`, { cause });
}
