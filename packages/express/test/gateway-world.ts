import { once } from "node:events";
import { type RequestListener, type Server, createServer } from "node:http";
import {
  type AddressInfo,
  type Server as TcpServer,
  type Socket,
  connect,
  createServer as createTcpServer,
} from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { type MemoryRegistry, memoryRegistry } from "@rollcall/core";
import { onTestFinished } from "vitest";
import { type Gateway, type GatewayOptions, gateway } from "../src/index.ts";

/** A registry, instances of one service in it, and gateways to them: real servers on loopback, gone with the test. */
export interface World {
  readonly registry: MemoryRegistry;
  /** A server that is an instance; `onServer` may listen to more of it than requests. */
  instance(listener: RequestListener, onServer?: (server: Server) => void): Promise<number>;
  /** An instance that is spoken to byte by byte: told everything that a connection has sent so far. */
  rawInstance(onData: (socket: Socket, received: string) => void): Promise<number>;
  gateway(options?: Partial<GatewayOptions>): Gateway;
  /** A server that is nothing but a gateway, upgrades included. */
  front(options?: Partial<GatewayOptions>, onServer?: (server: Server) => void): Promise<number>;
}

/** Makes a {@link World} for the test that runs. */
export function world(): World {
  const registry = memoryRegistry();
  onTestFinished(() => registry.close());
  const register = async (port: number): Promise<number> => {
    await registry.registrar({ service: "lorem", host: "127.0.0.1", port }).register();
    return port;
  };
  const made = (options: Partial<GatewayOptions> = {}): Gateway => {
    const proxy = gateway("lorem", { registry, ...options });
    onTestFinished(() => proxy.close());
    return proxy;
  };
  return {
    registry,
    instance: async (listener, onServer) => {
      const server = createServer(listener);
      onServer?.(server);
      return register(await listen(server));
    },
    rawInstance: async (onData) =>
      register(
        await listen(
          createTcpServer((socket) => {
            let received = "";
            socket.on("error", () => undefined);
            socket.on("data", (data) => {
              received += data.toString("latin1");
              onData(socket, received);
            });
          }),
        ),
      ),
    gateway: made,
    front: (options, onServer) => {
      const proxy = made(options);
      const server = createServer(proxy).on("upgrade", proxy.upgrade);
      onServer?.(server);
      return listen(server);
    },
  };
}

/** Listens on a free port until the test has finished; then every connection is cut, upgraded ones too. */
export async function listen(server: Server | TcpServer): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

/** Sends bytes as they are, and resolves with all that comes back until the connection ends. */
export async function raw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.write(bytes, "latin1");
  let text = "";
  for await (const chunk of socket) text += (chunk as Buffer).toString("latin1");
  return text;
}

/** Waits until `condition` holds; fails if it does not for long. */
export async function until(condition: () => boolean, withinMs = 4_000): Promise<void> {
  for (const end = Date.now() + withinMs; !condition(); await delay(2)) {
    if (Date.now() > end) throw new Error(`never came true: ${String(condition)}`);
  }
}
