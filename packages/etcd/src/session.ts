import { type CallOptions, InterceptingCall, type Interceptor, type StatusObject, status } from "@grpc/grpc-js";
import { type Env, TimeoutError, bounded, messageOf } from "@rollcall/core";
import type { IWatchCreateRequest } from "etcd3";
import type { EtcdApi } from "./client.ts";
import { EtcdError, isConnectionError } from "./etcd-error.ts";
import { type Watch, WatchStream } from "./watch-stream.ts";

/** A client of one host, as it was just made. */
export interface Dialled {
  /** For messages. */
  readonly host: string;
  readonly api: EtcdApi;
  /** Ends everything that goes on over it. */
  close(): void;
}

export interface EtcdUser {
  readonly name: string;
  readonly password: string;
}

export interface EtcdSessionOptions {
  /** How long etcd may take for an answer. */
  readonly timeoutMs: number;
  readonly user?: EtcdUser | undefined;
  readonly env: Env;
}

/** One request. */
export type EtcdRequest<T> = (api: EtcdApi, options: CallOptions) => Promise<T>;

/**
 * One connection to one host, from its first answer to its first failure. It is never mended: whatever shows that it is
 * ill (a connection error, an answer that does not come) ends it, with all that goes on over it, and the next user gets
 * a new one, maybe to another host.
 */
export class EtcdSession {
  readonly host: string;
  readonly #dialled: Dialled;
  readonly #options: EtcdSessionOptions;
  #token: Promise<string | undefined> = Promise.resolve(undefined);
  #stream: Promise<WatchStream> | undefined;
  readonly #ended = new AbortController();

  constructor(dialled: Dialled, options: EtcdSessionOptions) {
    this.host = dialled.host;
    this.#dialled = dialled;
    this.#options = options;
  }

  get open(): boolean {
    return !this.#ended.signal.aborted;
  }

  /** Resolves when the host does what it is for: it lets the user in, or says how it is. */
  async begin(signal: AbortSignal): Promise<void> {
    if (this.#options.user === undefined) {
      await this.call(`asking ${this.host}`, (api, options) => api.maintenance.status(options), signal);
    } else {
      this.#token = this.#authenticate(this.#options.user, signal);
      await this.#token;
    }
  }

  /**
   * Sends one request. Rejects with `signal.reason` as soon as the signal aborts, with a `TimeoutError` when the time is
   * over, with an {@link EtcdError} that has etcd's status otherwise. A token that etcd knows no more (it forgets them
   * when it restarts) is exchanged for a new one, once.
   */
  call<T>(what: string, request: EtcdRequest<T>, signal: AbortSignal, timeoutMs = this.#options.timeoutMs): Promise<T> {
    return this.#bounded(what, timeoutMs, signal, async (inner) => {
      const token = this.#token;
      try {
        return await this.#send(what, request, await token, inner);
      } catch (error) {
        const { user } = this.#options;
        if (user === undefined || !isUnauthenticated(error)) throw error;
        // Others may have seen it before.
        if (this.#token === token) this.#token = this.#authenticate(user, this.#ended.signal);
        return await this.#send(what, request, await this.#token, inner);
      }
    });
  }

  /** Renews a lease; resolves with the seconds that it has now, 0 if there is none. */
  keepAlive(lease: string, signal: AbortSignal): Promise<number> {
    return this.call(
      `renewing lease ${lease}`,
      async (api, options) => {
        const stream = await api.leaseClient.leaseKeepAlive(options);
        const answer = Promise.withResolvers<number>();
        stream.on("data", ({ TTL }) => answer.resolve(Number(TTL)));
        stream.on("error", answer.reject);
        stream.on("end", () => answer.reject(new Error("etcd ended the stream without an answer")));
        stream.write({ ID: lease });
        const ttlSeconds = await answer.promise;
        stream.end();
        return ttlSeconds;
      },
      signal,
    );
  }

  /** Resolves with a watcher that etcd has confirmed, and the answer that did. Whoever asked for it cancels it. */
  async watch(what: string, request: IWatchCreateRequest, signal: AbortSignal) {
    return this.#bounded(what, this.#options.timeoutMs, signal, async (inner) => {
      const opening = (this.#stream ??= this.#openStream(what));
      const watch: Watch = (await opening).watch(request);
      const onAbort = (): void => watch.cancel(inner.reason);
      inner.addEventListener("abort", onAbort);
      try {
        const created = await watch.next();
        if (created === undefined || created.canceled) {
          // The stream has the token that it was opened with: the next watcher gets a stream of its own.
          if (this.#stream === opening) this.#stream = undefined;
          throw new EtcdError(`${what}: ${created?.cancel_reason || "refused"}`, { code: status.PERMISSION_DENIED });
        }
        return { watch, created };
      } finally {
        inner.removeEventListener("abort", onAbort);
      }
    });
  }

  /** Throws the connection away. */
  end(reason: unknown): void {
    if (!this.open) return;
    this.#ended.abort(reason);
    this.#dialled.close();
  }

  async #openStream(what: string): Promise<WatchStream> {
    const request: EtcdRequest<WatchStream> = async (api, options) =>
      new WatchStream(await api.watchClient.watch(options), (error) => this.end(error));
    const stream = await this.#send(what, request, await this.#token, this.#ended.signal);
    this.#ended.signal.addEventListener("abort", () => stream.close(this.#ended.signal.reason));
    return stream;
  }

  #authenticate({ name, password }: EtcdUser, signal: AbortSignal): Promise<string> {
    const request: EtcdRequest<string> = async (api, options) =>
      (await api.auth.authenticate({ name, password }, options)).token;
    const token = this.#send(`authenticating "${name}" at ${this.host}`, request, undefined, signal);
    token.catch((error: unknown) => this.end(error));
    return token;
  }

  async #send<T>(what: string, request: EtcdRequest<T>, token: string | undefined, signal: AbortSignal): Promise<T> {
    const { options, outcome } = carry(token, signal);
    try {
      return await request(this.#dialled.api, options);
    } catch (cause) {
      signal.throwIfAborted();
      const { code, details } = outcome() ?? {};
      const said = code === undefined ? messageOf(cause) : `${details || "no answer"} (${status[code]})`;
      throw new EtcdError(`${what}: ${said}`, { cause, code });
    }
  }

  /** Ends with the session; and ends the session if it is to blame. */
  async #bounded<T>(
    what: string,
    timeoutMs: number,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const ended = this.#ended.signal;
    const onTimeout = (): unknown => new TimeoutError(`etcd: ${what}`, timeoutMs);
    const cut = new AbortController();
    const onAbort = (): void => cut.abort(signal.aborted ? signal.reason : ended.reason);
    for (const each of [signal, ended]) each.addEventListener("abort", onAbort);
    if (signal.aborted || ended.aborted) onAbort();
    try {
      return await bounded(this.#options.env, { timeoutMs, onTimeout, signal: cut.signal }, (scope) =>
        work(scope.signal),
      );
    } catch (error) {
      if (!signal.aborted && isConnectionError(error)) this.end(error);
      throw error;
    } finally {
      for (const each of [signal, ended]) each.removeEventListener("abort", onAbort);
    }
  }
}

/** etcd3's own repetition of a call whose token is refused has no end. */
const MAX_SENDS = 2;

/**
 * What goes with a call: its token, the wish to speak to a member that has a leader, and the abort, of which etcd3 knows
 * nothing. `outcome` is the status that came back, which etcd3 turns into classes without their code.
 */
function carry(token: string | undefined, signal: AbortSignal) {
  let outcome: StatusObject | undefined;
  let sends = 0;
  const interceptor: Interceptor = (callOptions, nextCall) => {
    if (++sends > MAX_SENDS) throw new EtcdError("the token is refused", { code: status.UNAUTHENTICATED });
    const call = new InterceptingCall(nextCall(callOptions), {
      start(metadata, _listener, next) {
        if (token !== undefined) metadata.set("token", token);
        metadata.set("hasleader", "true");
        next(metadata, {
          onReceiveStatus(received, forward) {
            outcome = received;
            signal.removeEventListener("abort", onAbort);
            forward(received);
          },
        });
      },
    });
    const onAbort = (): void => call.cancelWithStatus(status.CANCELLED, "given up");
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    return call;
  };
  return { options: { interceptors: [interceptor] }, outcome: () => outcome };
}

/** Whether a new token may help: this one is unknown, or older than a change of users and roles. */
function isUnauthenticated(error: unknown): boolean {
  if (!(error instanceof EtcdError)) return false;
  return error.code === status.UNAUTHENTICATED || error.message.includes("revision of auth store is old");
}
