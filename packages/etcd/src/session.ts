import { type CallOptions, InterceptingCall, type Interceptor, type StatusObject, status } from "@grpc/grpc-js";
import { Session, type SessionOptions, messageOf } from "@rollcall/core";
import type { IWatchCreateRequest } from "etcd3";
import type { EtcdApi } from "./client.ts";
import { EtcdError, isConnectionError } from "./etcd-error.ts";
import { type Watch, WatchStream } from "./watch-stream.ts";

/** A client of one host, as it was just made. */
export interface Dialled {
  /** For messages. */
  readonly host: string;
  readonly api: EtcdApi;
  /** Resolves when the connection is gone, if that can be known. */
  readonly lost?: Promise<void> | undefined;
  /** Ends everything that goes on over it; resolves when nothing is left. */
  close(): Promise<void>;
}

export interface EtcdUser {
  readonly name: string;
  readonly password: string;
}

export interface EtcdSessionOptions extends SessionOptions {
  readonly user?: EtcdUser | undefined;
}

/** One request. */
export type EtcdRequest<T> = (api: EtcdApi, options: CallOptions) => Promise<T>;

/** One connection to one host: requests, each with the user's token, and one stream for all watchers. */
export class EtcdSession extends Session {
  readonly host: string;
  readonly #dialled: Dialled;
  readonly #options: EtcdSessionOptions;
  #token: Promise<string | undefined> = Promise.resolve(undefined);
  /** The one for new watchers. */
  #stream: Promise<WatchStream> | undefined;
  /** All that have not ended. */
  readonly #streams = new Set<WatchStream>();
  #closing: Promise<void> = Promise.resolve();

  constructor(dialled: Dialled, options: EtcdSessionOptions) {
    super("etcd", options);
    this.host = dialled.host;
    this.#dialled = dialled;
    this.#options = options;
    void dialled.lost?.then(() => this.end(new EtcdError(`the connection to ${dialled.host} was lost`)));
  }

  /** Resolves when the host does what it is for: it lets the user in, or says how it is. */
  override async begin(signal: AbortSignal): Promise<void> {
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
  call<T>(what: string, request: EtcdRequest<T>, signal: AbortSignal): Promise<T> {
    return this.bounded(what, signal, async (inner) => {
      const token = this.#token;
      try {
        return await this.#send(what, request, await token, inner);
      } catch (error) {
        const { user } = this.#options;
        if (user === undefined || !isUnauthenticated(error)) throw error;
        // Others may have seen it before.
        if (this.#token === token) this.#token = this.#authenticate(user, this.ended);
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
    let watch: Watch | undefined;
    try {
      return await this.bounded(what, signal, async (inner) => {
        for (;;) {
          const isNew = this.#stream === undefined;
          const opening = (this.#stream ??= this.#openStream(what));
          const stream = await opening;
          inner.throwIfAborted();
          watch = stream.watch(request);
          const created = await watch.confirmed();
          if (created?.canceled === false) return { watch, created };
          if (this.#stream === opening) this.#stream = undefined;
          // An older stream has an older token, of which etcd may know nothing any more; or it was refused to another.
          if (created !== undefined && isNew) {
            throw new EtcdError(`${what}: ${created.cancel_reason || "refused"}`, { code: status.PERMISSION_DENIED });
          }
        }
      });
    } catch (error) {
      watch?.cancel(error); // whenever it was: also in the very moment in which it was created
      throw error;
    }
  }

  override end(reason: unknown): void {
    if (!this.open) return;
    super.end(reason);
    for (const stream of this.#streams) stream.close(reason);
    this.#closing = this.#dialled.close();
  }

  override close(reason: unknown): Promise<void> {
    this.end(reason);
    return this.#closing;
  }

  protected override isFatal(error: unknown): boolean {
    return isConnectionError(error);
  }

  #openStream(what: string): Promise<WatchStream> {
    const open: EtcdRequest<WatchStream> = async (api, options) => {
      const duplex = await api.watchClient.watch(options);
      const stream = new WatchStream(duplex, (error) => {
        this.#streams.delete(stream);
        if (error !== undefined) this.end(error);
      });
      this.#streams.add(stream);
      if (!this.open) stream.close(this.ended.reason);
      return stream;
    };
    const opening = this.#token.then((token) => this.#send(what, open, token, this.ended));
    opening.catch(() => {
      if (this.#stream === opening) this.#stream = undefined;
    });
    return opening;
  }

  #authenticate({ name, password }: EtcdUser, signal: AbortSignal): Promise<string> {
    const request: EtcdRequest<string> = async (api, options) =>
      (await api.auth.authenticate({ name, password }, options)).token;
    const token = this.#send(`authenticating "${name}" at ${this.host}`, request, undefined, signal);
    token.catch((error: unknown) => this.end(error));
    return token;
  }

  async #send<T>(what: string, request: EtcdRequest<T>, token: string | undefined, signal: AbortSignal): Promise<T> {
    const { options, outcome } = carry(token, signal, () => this.heard());
    try {
      return await request(this.#dialled.api, options);
    } catch (cause) {
      signal.throwIfAborted();
      const { code, details } = outcome() ?? {};
      const said = code === undefined ? messageOf(cause) : `${details || "no answer"} (${status[code]})`;
      throw new EtcdError(`${what}: ${said}`, { cause, code });
    }
  }
}

/**
 * What goes with a call: its token, the wish to speak to a member that has a leader, and the abort, of which etcd3 knows
 * nothing. `outcome` is the status that came back, which etcd3 turns into classes without their code.
 */
function carry(token: string | undefined, signal: AbortSignal, onMessage: () => void) {
  let outcome: StatusObject | undefined;
  let refusals = 0;
  const interceptor: Interceptor = (callOptions, nextCall) => {
    // A call whose token is refused is repeated by etcd3 without an end. Once may help, if the token is its own.
    if (outcome?.code === status.UNAUTHENTICATED && ++refusals > 1) throw new Error(outcome.details);
    const call = new InterceptingCall(nextCall(callOptions), {
      start(metadata, _listener, next) {
        if (token !== undefined) metadata.set("token", token);
        metadata.set("hasleader", "true");
        next(metadata, {
          onReceiveMessage(message, forward) {
            onMessage();
            forward(message);
          },
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
