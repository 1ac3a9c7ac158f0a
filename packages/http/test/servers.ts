import { type IncomingMessage, type RequestListener, createServer } from "node:http";
import { type AddressInfo, type Server, type Socket, createServer as createTcpServer } from "node:net";
import type { Duplex } from "node:stream";
import { type InstanceInit, type MemoryRegistry, fixedInstancer, memoryRegistry } from "@rollcall/core";
import { onTestFinished } from "vitest";
import { type HttpClient, type HttpClientOptions, httpClient } from "../src/index.ts";

/** A real server on loopback, which counts what reaches it. */
export interface TestServer extends AsyncDisposable {
  readonly port: number;
  readonly instance: InstanceInit;
  /** Requests that arrived, or, of a raw server, what each connection has sent so far. */
  readonly seen: string[];
  /** Connections that were opened. */
  readonly connections: () => number;
  /** Connections that are open now. */
  readonly open: () => number;
  /** As stopped properly: nobody new, idle connections are closed, what runs may end. */
  stop(): Promise<void>;
  /** As killed: nobody listens any more, all connections are gone. */
  kill(): Promise<void>;
}

/** An HTTP server; `seen` holds "METHOD target" of every request. */
export async function httpServer(
  listener: (...args: Parameters<RequestListener>) => void | Promise<void>,
  host = "127.0.0.1",
  onUpgrade?: (socket: Duplex) => void,
): Promise<TestServer> {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    void listener(request, response);
  });
  if (onUpgrade !== undefined) server.on("upgrade", (_, socket) => onUpgrade(socket));
  return listen(server, seen, host);
}

/** A server that speaks HTTP only as far as `onData` does, which is called with everything a connection has sent. */
export async function rawServer(
  onData: (socket: Socket, received: string, connection: number) => void,
  onConnection: (socket: Socket) => void = () => undefined,
): Promise<TestServer> {
  const seen: string[] = [];
  const server = createTcpServer((socket) => {
    const connection = seen.push("") - 1;
    onConnection(socket);
    socket.on("data", (chunk) => {
      seen[connection] += chunk.toString("latin1");
      onData(socket, seen[connection] ?? "", connection);
    });
  });
  return listen(server, seen, "127.0.0.1");
}

async function listen(server: Server, seen: string[], host: string): Promise<TestServer> {
  const sockets = new Set<Socket>();
  let connections = 0;
  server.on("connection", (socket: Socket) => {
    connections++;
    sockets.add(socket);
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, host, resolve));
  const { port } = server.address() as AddressInfo;
  const stop = (): Promise<void> => new Promise((resolve) => void server.close(() => resolve()));
  const kill = async (): Promise<void> => {
    const closed = stop();
    for (const socket of sockets) socket.resetAndDestroy();
    await closed;
  };
  return {
    port,
    instance: { service: "lorem", host, port },
    seen,
    connections: () => connections,
    open: () => sockets.size,
    stop,
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

/** A port on which nobody listens. */
export async function deadInstance(): Promise<InstanceInit> {
  await using server = await httpServer(() => undefined);
  return server.instance;
}

/** A client of these servers, in this order, beginning with the first; without back-off and budget. */
export function clientOf(
  servers: readonly (TestServer | InstanceInit)[],
  options: Partial<HttpClientOptions> = {},
): HttpClient {
  const instances = servers.map((server) => ("instance" in server ? server.instance : server));
  const { retry } = options;
  return httpClient({
    instancer: fixedInstancer("lorem", instances),
    drainMs: 1_000,
    env: { random: () => 0 },
    ...options,
    retry: retry === false ? false : { timeoutMs: 5_000, budget: false, ...retry },
  });
}

/** A registry that knows these servers. Closes with the test. */
export async function registryOf(servers: readonly (TestServer | InstanceInit)[]): Promise<MemoryRegistry> {
  const registry = memoryRegistry();
  onTestFinished(() => registry.close());
  for (const server of servers) await registry.registrar("instance" in server ? server.instance : server).register();
  return registry;
}

/** The requests in flight, by endpoint. */
export function inFlight(client: HttpClient): number[] {
  return client.endpoints.map((endpoint) => endpoint.stats.inFlight);
}

export async function text(request: IncomingMessage): Promise<string> {
  let all = "";
  for await (const chunk of request.setEncoding("utf8")) all += String(chunk);
  return all;
}

/** Waits until `condition` holds; fails if it does not for long. */
export async function until(condition: () => boolean, withinMs = 4_000): Promise<void> {
  for (const end = Date.now() + withinMs; !condition(); await new Promise((resolve) => setTimeout(resolve, 5))) {
    if (Date.now() > end) throw new Error(`never came true: ${String(condition)}`);
  }
}
