import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { type Host, Session, type SessionOptions as Common, address, messageOf } from "@rollcall/core";
import { type Client, type Event, Exception, createClient } from "node-zookeeper-client";
import { ZooKeeperError } from "./zookeeper-error.ts";

export interface SessionOptions extends Common {
  /** How long ZooKeeper shall keep what belongs to the session after it last heard of it. */
  readonly sessionTimeoutMs: number;
  /** How long a connection may take, if not as long as an answer. */
  readonly connectMs?: number | undefined;
  /** `user:password`, for digest authentication. */
  readonly digest?: string | undefined;
}

/** One request: calls a method of the client, and `done` with what that says. */
export type Request<T> = (client: Client, done: (error: unknown, value?: T) => void) => void;

/**
 * What is used of the inside of npm `node-zookeeper-client` 1.1.3, which has no other hold on its socket and its timers,
 * repeats connecting for ever, splits IPv6 addresses at their colons, and throws out of a socket's event (which ends the
 * process) when the server's answer has an error code that it does not know.
 */
interface Wire {
  readonly socket: Socket;
  readonly connectTimeoutHandler: NodeJS.Timeout;
  findNextServer(use: (host: Host) => void): void;
  onSocketData(bytes: Buffer): void;
}

/** Notices a connection that is silently dead, also while nobody asks for anything. */
const HEARTBEAT_MS = 5_000;
/** How long a server may take for a goodbye. */
const GOODBYE_MS = 500;

/**
 * One connection to one server, with a session of ZooKeeper's. What outlives it in ZooKeeper, that session with its
 * ephemeral nodes, can be taken up again by the next one: see {@link resume}.
 */
export class ZooKeeperSession extends Session {
  readonly #host: string;
  readonly #connectMs: number | undefined;
  readonly #client: Client;
  readonly #socket: Socket;
  readonly #closed = Promise.withResolvers<void>();
  #cancelHeartbeat: (() => void) | undefined;

  /**
   * Emits the path of a node of which there is something new, under this path and under its parent's; what it is must be
   * looked up. Of nodes that are watched with {@link onEvent}.
   */
  readonly events = new EventEmitter().setMaxListeners(0);

  /** The watcher to pass to the client, always this one: the library would keep every other for as long as it lives. */
  readonly onEvent = ({ path }: Event): void => {
    for (const folder of [path, path.slice(0, path.lastIndexOf("/"))]) this.events.emit(folder, path);
  };

  /** Begins to connect; see {@link begin}. `resume` is what an earlier session says of itself. */
  constructor(host: Host, options: SessionOptions, resume?: ZooKeeperSession["resume"]) {
    super("ZooKeeper", options);
    this.#host = address(host);
    this.#connectMs = options.connectMs;
    const client = createClient("host", { sessionTimeout: options.sessionTimeoutMs, retries: 0, ...resume });
    const fail = (message: string, code?: number, cause?: unknown): void =>
      this.end(new ZooKeeperError(message, { code, cause }));
    client.once("expired", () => fail("the session has expired", Exception.SESSION_EXPIRED));
    client.once("authenticationFailed", () => fail("the credentials are refused", Exception.AUTH_FAILED));
    if (options.digest !== undefined) client.addAuthInfo("digest", Buffer.from(options.digest));

    const wire = (client as unknown as { readonly connectionManager: Wire }).connectionManager;
    const { onSocketData } = wire;
    wire.onSocketData = (bytes) => {
      this.heard();
      try {
        onSocketData.call(wire, bytes);
      } catch (cause) {
        fail(`an answer that cannot be understood: ${messageOf(cause)}`, undefined, cause);
      }
    };
    wire.findNextServer = (use) => use(host);
    client.connect();
    wire.findNextServer = () => undefined; // never again
    clearTimeout(wire.connectTimeoutHandler); // ours is shorter, and holds no process
    this.#client = client;
    this.#socket = wire.socket.unref();
    let cause: unknown;
    this.#socket.once("error", (error) => (cause = error));
    this.#socket.once("close", () => {
      fail(`the connection to ${this.#host} is lost`, Exception.CONNECTION_LOSS, cause);
      this.#closed.resolve();
    });
  }

  /** Resolves when the session stands. Rejects with code -112 if the one to resume has expired. */
  override async begin(signal: AbortSignal): Promise<void> {
    const connected: Request<void> = (client, done) => client.once("connected", () => done(null));
    await this.call(`connecting to ${this.#host}`, signal, connected, this.#connectMs);
    this.#beat();
  }

  /** The time-out that ZooKeeper agreed to. */
  get timeoutMs(): number {
    return this.#client.getSessionTimeout();
  }

  /** What ZooKeeper knows the session by. */
  get resume() {
    return { sessionId: this.#client.getSessionId(), sessionPassword: this.#client.getSessionPassword() };
  }

  /**
   * Sends one request. Resolves with undefined if there is no such node; rejects with a {@link ZooKeeperError} when it is
   * refused, and as {@link bounded} does.
   */
  call<T>(what: string, signal: AbortSignal, request: Request<T>, timeoutMs?: number): Promise<T | undefined> {
    const ask = (): Promise<T | undefined> =>
      new Promise((resolve, reject) => {
        request(this.#client, (cause, value) => {
          const code = cause instanceof Exception ? cause.code : undefined;
          if (code === Exception.NO_NODE) resolve(undefined);
          else if (cause === null || cause === undefined) resolve(value);
          else reject(new ZooKeeperError(`${what}: ${messageOf(cause)}`, { cause, code }));
        });
      });
    return this.bounded(what, signal, ask, timeoutMs);
  }

  /** Throws the connection away; the session may live on in ZooKeeper. */
  override end(reason: unknown): void {
    super.end(reason);
    this.#cancelHeartbeat?.();
    this.#socket.destroy();
  }

  /** Ends the session in ZooKeeper, and with it all its ephemeral nodes; resolves when the socket is closed. */
  override async close(reason: unknown): Promise<void> {
    this.#cancelHeartbeat?.();
    if (this.open) this.#client.close();
    const cancel = this.env.after(GOODBYE_MS, () => this.end(reason), { keepAlive: true });
    await this.#closed.promise;
    cancel();
  }

  #beat(): void {
    this.#cancelHeartbeat = this.env.after(Math.min(HEARTBEAT_MS, this.timeoutMs / 3), () => {
      this.call("asking for a sign of life", this.ended, (client, done) => client.exists("/", done)).then(
        () => this.open && this.#beat(),
        (error: unknown) => this.end(error),
      );
    });
  }
}
