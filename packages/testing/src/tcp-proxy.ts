import { connect, createServer, type Server, type Socket } from "node:net";
import { type Closable, checkOptions, closable, ClosedError, InvalidOptionError, is, required } from "@rollcall/core";
import { freePort } from "./free-port.ts";
import { type Lane, lane } from "./tcp-lane.ts";

/** How a {@link TcpProxy} treats connections now. */
export type TcpProxyMode = "open" | "cut" | "hole" | "delay" | "truncate";

export interface TcpProxyOptions {
  /** Where connections are forwarded to. Nothing has to listen there yet. */
  readonly target: { readonly host: string; readonly port: number };
  /** The address to listen on. Default `127.0.0.1`. */
  readonly host?: string | undefined;
  /** The port to listen on. Default: a free one. */
  readonly port?: number | undefined;
}

/**
 * A network that a test can break: a real TCP proxy between a client and its server. It begins `open`; every mode can
 * follow every other, and the port stays the same. A method changes the existing connections at once and resolves when
 * the mode holds for new ones too; it rejects if the port cannot be listened on again, or with `ClosedError`.
 */
export interface TcpProxy extends Closable {
  readonly host: string;
  readonly port: number;
  /** `http://host:port`. */
  readonly url: string;
  readonly mode: TcpProxyMode;
  /** Connections that clients have to the proxy now. */
  readonly connections: number;
  /** Connections that were accepted so far. */
  readonly accepted: number;
  /** Forwards everything. What was held back in a hole goes on where it stopped. */
  open(): Promise<void>;
  /** As if the server had been killed: existing connections are reset, new ones are refused (nothing listens). */
  cut(): Promise<void>;
  /** As if packets were dropped: new connections are accepted and never answered, existing ones freeze, none closes. */
  hole(): Promise<void>;
  /** Forwards, but everything the server sends arrives `delayMs` later. */
  delay(delayMs: number): Promise<void>;
  /** Forwards, but ends each connection after `bytes` more bytes of what the server sends, as if it had crashed. */
  truncate(bytes: number): Promise<void>;
}

interface Link {
  readonly client: Socket;
  /** Undefined until the connection was first treated as open: in a hole nobody calls the target. */
  server: Socket | undefined;
  /** The target refused or reset it. In a hole the client must not notice. */
  broken: boolean;
  up: Lane | undefined;
  down: Lane | undefined;
}

/**
 * Starts a {@link TcpProxy}; whoever started it closes it, which resets all of its connections.
 *
 * @throws InvalidOptionError for a bad target, host or port; rejects with the system's error if the port is taken.
 *
 * ```ts
 * import { tcpProxy } from "@rollcall/testing";
 * await using proxy = await tcpProxy({ target: { host: "127.0.0.1", port: 8500 } });
 * await proxy.hole(); // whoever uses proxy.url waits now
 * await proxy.open(); // and is answered
 * ```
 */
export async function tcpProxy(options: TcpProxyOptions): Promise<TcpProxy> {
  checkOptions("", options, {
    target: required(is.shape({ host: required(is.nonEmptyString), port: required(is.port) })),
    host: is.nonEmptyString,
    port: is.port,
  });
  const { host: targetHost, port: targetPort } = options.target;
  const host = options.host ?? "127.0.0.1";
  const links = new Set<Link>();
  let mode: TcpProxyMode = "open";
  let delayMs = 0;
  let allowance = Infinity;
  let accepted = 0;
  let listener: Server | undefined;
  let port = options.port;

  const accept = (client: Socket): void => {
    accepted++;
    const link: Link = { client, server: undefined, broken: false, up: undefined, down: undefined };
    links.add(link);
    client.on("error", () => {});
    client.on("close", () => {
      links.delete(link);
      link.server?.destroy();
    });
    // A connection that was on its way while the listener closed.
    if (mode === "cut") client.resetAndDestroy();
    else apply(link);
  };

  const dial = (link: Link): void => {
    const server = connect({ host: targetHost, port: targetPort, allowHalfOpen: true });
    link.server = server;
    server.on("error", () => {
      link.broken = true;
      apply(link);
    });
    link.up = lane(link.client, server);
    link.down = lane(server, link.client);
  };

  /** Makes one connection behave as the present mode says. */
  const apply = (link: Link): void => {
    const flowing = mode !== "hole";
    if (flowing && link.broken) return void link.client.resetAndDestroy();
    if (flowing && link.server === undefined) dial(link);
    link.up?.set({ flowing, delayMs: 0, allowance: Infinity });
    link.down?.set({ flowing, delayMs, allowance });
  };

  const listen = async (): Promise<void> => {
    if (listener !== undefined) return;
    for (let attempt = 1; listener === undefined; attempt++) {
      const tried = port ?? (await freePort(host));
      try {
        listener = await listenOn(tried, host, accept);
        port = tried;
      } catch (error) {
        // Only a port that we chose ourselves, and never used, may be exchanged.
        if (port !== undefined || attempt >= 5) throw error;
      }
    }
  };

  const enter = async (next: TcpProxyMode, nextDelayMs = 0, nextAllowance = Infinity): Promise<void> => {
    [mode, delayMs, allowance] = [next, nextDelayMs, nextAllowance];
    for (const link of links) {
      if (mode === "cut") link.client.resetAndDestroy();
      else apply(link);
    }
    await (mode === "cut" ? unlisten() : listen());
  };

  const unlisten = async (): Promise<void> => {
    const closing = listener;
    listener = undefined;
    if (closing !== undefined) await new Promise<void>((resolve) => void closing.close(() => resolve()));
  };

  // One change after the other: opening and closing the listener takes a turn of the event loop.
  let last: Promise<void> = Promise.resolve();
  const inTurn = (change: () => Promise<void>): Promise<void> => {
    const done = last.then(change);
    last = done.catch(() => {});
    return done;
  };

  await listen();
  const bound = port ?? 0;
  let closed = false;
  const change = (next: TcpProxyMode, nextDelayMs?: number, nextAllowance?: number): Promise<void> =>
    inTurn(async () => {
      if (closed) throw new ClosedError(`the proxy on port ${bound}`);
      await enter(next, nextDelayMs, nextAllowance);
    });

  return {
    host,
    port: bound,
    url: `http://${host.includes(":") ? `[${host}]` : host}:${bound}`,
    get mode() {
      return mode;
    },
    get connections() {
      return links.size;
    },
    get accepted() {
      return accepted;
    },
    open: () => change("open"),
    cut: () => change("cut"),
    hole: () => change("hole"),
    async delay(ms) {
      if (!(Number.isFinite(ms) && ms >= 0))
        throw new InvalidOptionError("delayMs", "a number of milliseconds >= 0", ms);
      await change("delay", ms);
    },
    async truncate(bytes) {
      if (!(Number.isInteger(bytes) && bytes >= 0)) throw new InvalidOptionError("bytes", "an integer >= 0", bytes);
      await change("truncate", 0, bytes);
    },
    ...closable(() =>
      inTurn(async () => {
        closed = true;
        await enter("cut");
      }),
    ),
  };
}

function listenOn(port: number, host: string, accept: (client: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    // Half-open, and paused: each direction ends for itself, and nothing is read before a lane wants it.
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, accept);
    server.once("error", reject);
    server.listen({ port, host, exclusive: true }, () => {
      server.off("error", reject);
      resolve(server);
    });
  });
}
