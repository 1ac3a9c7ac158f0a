// A process that does nothing but serve and be announced, as an application would. Its only argument says how, as JSON.
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { consulRegistry } from "@rollcall/consul";
import { channels, memoryRegistry } from "@rollcall/core";
import express from "express";
import { WebSocketServer } from "ws";
import { announce, discovery, health } from "../src/index.ts";

/** What it is told. */
export interface ProcessOptions {
  readonly framework?: "http" | "express";
  /** Consul's URL. Default: a registry of its own. */
  readonly consul?: string;
  readonly port?: number;
  readonly drainMs?: number;
  readonly graceMs?: number;
  readonly required?: boolean;
  /** Whether WebSockets are said goodbye to when the drain is over. */
  readonly goodbye?: boolean;
  /** How long it has something else to do before it listens. */
  readonly listenAfterMs?: number;
}

const options = JSON.parse(process.argv[2] ?? "{}") as ProcessOptions;
const { framework = "http", consul, port = 0, drainMs = 0, graceMs, required } = options;

channels.registered.subscribe(({ instance }) => console.log(`registered ${instance.id}`));
const registry = consul === undefined ? memoryRegistry() : consulRegistry({ url: consul });
const clients = discovery({ registry, clients: { own: {} } });

const routes: Readonly<Record<string, (request: IncomingMessage, response: ServerResponse) => unknown>> = {
  "/health": health(),
  "/self": async (_, response) => response.end(await (await clients.client("own").fetch("/health")).text()),
  // A part every 50 ms, for as long as is asked for.
  "/stream": async (request, response) => {
    const parts = Number(request.headers["x-parts"]);
    for (let part = 0; part < parts && !response.destroyed; part++) {
      response.write("part ");
      await delay(50);
    }
    response.end("end");
  },
  "/once": (_, response) => response.setHeader("content-length", 6).end("served"),
};

function server(): ReturnType<typeof createServer> {
  if (framework === "http") {
    return createServer((request, response) => void routes[request.url ?? ""]?.(request, response));
  }
  const app = express();
  for (const [path, handler] of Object.entries(routes)) app.get(path, handler);
  return createServer(app);
}

const own = server();
const sockets = new WebSocketServer({ server: own });
sockets.on("error", () => undefined); // those of the server, which announce tells
setTimeout(() => own.listen(port, "127.0.0.1"), options.listenAfterMs ?? 0);
own.once("close", () => console.log("closed"));
const announcing = announce(own, {
  registry,
  service: "own",
  drainMs,
  graceMs,
  required,
  onDrained: () => {
    console.log("drained");
    if (options.goodbye === true) for (const socket of sockets.clients) socket.close(1001);
  },
  closeAfter: [clients, registry],
});
console.log("starting"); // and listening to signals
const announced = await announcing;
console.log(`serving ${announced.instance.port}`);
