import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Server as SecureServer } from "node:https";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { type Abortable, type Env, resolveEnv, sleep } from "@rollcall/core";

/** A server of `node:http` or `node:https`. */
export type HttpServer = Server | SecureServer;

/** Takes one HTTP server out of service without breaking a call. There is one per server: {@link serverDrain}. */
export interface ServerDrain {
  /** Whether {@link ServerDrain.begin} was called. Health checks answer 503 from then on. */
  readonly draining: boolean;
  /**
   * From now on every answer says `Connection: close`, so that clients leave connection by connection, each after an
   * answer and never in the middle of a request. The server still accepts and serves everything. Idempotent.
   */
  begin(): void;
  /**
   * Resolves when this and all other work is done for which the server has to go on serving: a server that stands in
   * several registries serves until the last of them has let it go. The work must not reject.
   */
  hold(work: Promise<void>): Promise<void>;
  /**
   * Waits until nothing has come for a moment (50 ms), at most half a second: no connection, no request. What clients
   * had sent before they noticed is on its way still, and closing a connection with an unread request in it loses that.
   * Where it does not become quiet, for the registry could not be told, it waits until all is accepted that has come so
   * far, at most another half second: close the server right after, before anything else is awaited. Ends at once when
   * the signal aborts. Never rejects.
   */
  quiet(options?: Abortable): Promise<void>;
  /**
   * Closes idle connections again and again, until the server has closed. For servers that somebody else closes (a
   * framework): a connection that was busy at that moment would otherwise stay open until its keep-alive time-out.
   */
  sweep(): void;
  /**
   * Stops accepting, lets the requests under way finish, and resolves when the last connection is gone. After
   * `graceMs`, or when the signal aborts, what is left is cut off. Never rejects; a server that was closed already is
   * waited for all the same.
   */
  stop(options: { readonly graceMs: number; readonly signal?: AbortSignal | undefined }): Promise<void>;
}

/** Longer than what is on its way in one network takes. */
const QUIET_MS = 50;
const MOST_QUIET_MS = 500;
/** A timer that was late runs before what has come meanwhile is read: accepting and reading take a turn each. */
const TURNS = 3;
/** A turn of the event loop that did so little that nothing can have come behind its back. */
const SHORT_TURN_MS = 1;
const MOST_ACCEPTING_MS = 500;
/** How often idle connections are looked for. */
const SWEEP_MS = 100;
/** A connection that has sent nothing so long after the server stopped will not: browsers open some ahead of need. */
const SILENT_MS = 1_000;

const drains = new WeakMap<object, ServerDrain>();

/** The drain of this server, made at the first call. Costs nothing per request before it begins. */
export function serverDrain(
  server: HttpServer,
  options: { readonly env?: Partial<Env> | undefined } = {},
): ServerDrain {
  let drain = drains.get(server);
  if (drain === undefined) {
    drain = new NodeServerDrain(server, resolveEnv(options.env));
    drains.set(server, drain);
  }
  return drain;
}

/**
 * Whether the server that received this request (or this server) is draining: what a health check wants to know.
 * False for a server that nobody drains.
 */
export function isDraining(of: IncomingMessage | HttpServer): boolean {
  // Node puts the server on every connection it accepts; @types/node does not know.
  const server: unknown = "socket" in of ? Reflect.get(of.socket, "server") : of;
  return typeof server === "object" && server !== null && drains.get(server)?.draining === true;
}

class NodeServerDrain implements ServerDrain {
  readonly #server: HttpServer;
  readonly #env: Env;
  /** All open connections, also upgraded ones, which Node itself does not keep; those with TLS twice. */
  readonly #sockets = new Set<Socket>();
  /** What is not to be cut short by stopping the server. */
  readonly #held = new Set<Promise<void>>();
  #draining = false;
  /** When something last came, since the drain began. */
  #lastMs = -Infinity;
  /** So many connections were accepted. */
  #accepted = 0;
  #sweeping = false;

  constructor(server: HttpServer, env: Env) {
    this.#server = server;
    this.#env = env;
    const onConnection = (socket: Socket): void => {
      this.#sockets.add(socket);
      this.#accepted++;
      if (this.#draining) this.#lastMs = this.#env.now();
      socket.once("close", () => this.#sockets.delete(socket));
    };
    server.on("connection", onConnection);
    server.on("secureConnection", onConnection); // the same once more, as Node's HTTP sees it
  }

  get draining(): boolean {
    return this.#draining;
  }

  begin(): void {
    if (this.#draining) return;
    this.#draining = true;
    // For the framework's calls, and for those of Node's own close(), too.
    const closeIdle = this.#server.closeIdleConnections.bind(this.#server);
    const unlessLate = (): void => this.#unlessLate(closeIdle);
    // Node makes its call before it closes the listener. Whoever connects while hundreds are being closed would be reset.
    this.#server.closeIdleConnections = () => (this.#server.listening ? process.nextTick(unlessLate) : unlessLate());
    // First of all listeners: it must have spoken before the application writes a header.
    this.#server.prependListener("request", (_request: IncomingMessage, response: ServerResponse) => {
      response.shouldKeepAlive = false;
      this.#lastMs = this.#env.now();
    });
  }

  async hold(work: Promise<void>): Promise<void> {
    this.#held.add(work);
    await work;
    this.#held.delete(work);
    await Promise.all(this.#held);
  }

  async quiet({ signal }: Abortable = {}): Promise<void> {
    this.begin();
    const latestMs = this.#env.now() + MOST_QUIET_MS;
    this.#lastMs = this.#env.now();
    for (;;) {
      const nowMs = this.#env.now();
      const leftMs = Math.min(this.#lastMs + QUIET_MS, latestMs) - nowMs;
      if (signal?.aborted === true) return;
      if (leftMs <= 0) break;
      await sleep(this.#env, leftMs, signal, { keepAlive: true });
      for (let turn = 0; turn < TURNS; turn++) await nextTurn();
    }
    await this.#acceptAll(signal);
  }

  sweep(): void {
    if (this.#sweeping) return;
    this.#sweeping = true;
    const startedMs = this.#env.now();
    let cancel = (): void => undefined;
    this.#server.once("close", () => cancel());
    const step = (): void => {
      cancel = this.#env.after(SWEEP_MS, step);
      this.#server.closeIdleConnections();
      if (this.#env.now() - startedMs >= SILENT_MS) this.#closeSilent();
    };
    step();
  }

  stop(options: { readonly graceMs: number; readonly signal?: AbortSignal | undefined }): Promise<void> {
    const { graceMs, signal } = options;
    this.begin();
    return new Promise((resolve) => {
      const cutOff = (): void => {
        for (const socket of this.#sockets) cut(socket);
        this.#server.closeAllConnections(); // those that are older than this drain
      };
      // First of all, right after the last turn of quiet(). Called with an error if the server was not listening, but not
      // before its last connection is gone either.
      this.#server.close(() => {
        cancel();
        signal?.removeEventListener("abort", cutOff);
        resolve();
      });
      const cancel = Number.isFinite(graceMs) ? this.#env.after(graceMs, cutOff, { keepAlive: true }) : () => undefined;
      this.sweep();
      if (signal?.aborted === true) cutOff();
      signal?.addEventListener("abort", cutOff);
    });
  }

  /**
   * While requests still come, the next may be on its way on any idle connection; the answer ends that connection anyhow.
   * The sweep looks again.
   */
  #unlessLate(closeIdle: () => void): void {
    if (this.#env.now() - this.#lastMs < QUIET_MS) this.sweep();
    else this.#sparing(closeIdle);
  }

  /**
   * Node takes a connection for idle as soon as its answer was ended, and destroys it though most of that may have to leave
   * still. Those connections cannot be destroyed while `closeIdle` runs.
   */
  #sparing(closeIdle: () => void): void {
    const leaving = [...this.#sockets].filter((socket) => socket.writableLength > 0);
    for (const socket of leaving) socket.destroy = () => socket; // in front of its class's own
    try {
      closeIdle();
    } finally {
      for (const socket of leaving) Reflect.deleteProperty(socket, "destroy");
    }
  }

  /**
   * Node accepts one connection a turn. The others have been made all the same, and their clients have written their
   * requests: closing the listener resets them, with no word on whether anything was executed.
   */
  async #acceptAll(signal: AbortSignal | undefined): Promise<void> {
    const latestMs = this.#env.now() + MOST_ACCEPTING_MS;
    for (;;) {
      const [before, fromMs] = [this.#accepted, this.#env.now()];
      await nextTurn();
      const nowMs = this.#env.now();
      const nothingCame = this.#accepted === before && nowMs - fromMs < SHORT_TURN_MS;
      if (nothingCame || nowMs >= latestMs || signal?.aborted === true) return;
    }
  }

  #closeSilent(): void {
    for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
  }
}

/** The event loop polls, accepts and reads before it resolves; what is done then and there is done before it polls again. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** With a reset: an answer that has no length ends with its connection, and must not look whole if it is not. */
function cut(socket: Socket): void {
  // Only TCP can be reset: what lies under TLS is, a Unix socket is not.
  if (socket.destroyed || socket instanceof TLSSocket || socket.remoteAddress === undefined) socket.destroy();
  else socket.resetAndDestroy();
}
