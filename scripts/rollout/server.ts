// One copy of the service, in a process of its own, told by its only argument. What it prints tells the stage how it is.
import { channels } from "@rollcall/core";
import { backendNamed } from "../chaos/backends.ts";
import { nowMs } from "../chaos/now-ms.ts";
import type { Framework } from "./framework.ts";
import type { Serve } from "./frameworks/serve.ts";
import { work } from "./work.ts";

/** What it is told, as JSON. */
export interface ServerOptions {
  readonly framework: Framework | "gateway";
  readonly backend: string;
  readonly url: string;
  readonly service: string;
  /** 0 for any. */
  readonly port: number;
  readonly drainMs?: number | undefined;
  readonly feedMs: number;
  /** The file for the ids of executed orders. */
  readonly journal: string;
}

/** Each process loads only its own. */
const SERVERS: Readonly<Record<ServerOptions["framework"], () => Promise<{ readonly serve: Serve }>>> = {
  http: () => import("./frameworks/http.ts"),
  express: () => import("./frameworks/express.ts"),
  "nest-express": () => import("./frameworks/nest-express.ts"),
  "nest-fastify": () => import("./frameworks/nest-fastify.ts"),
  gateway: () => import("./frameworks/gateway.ts"),
};

const options = JSON.parse(process.argv[2] ?? "") as ServerOptions;
const { framework, backend, url, service, port, drainMs } = options;

const parent = process.ppid;
setInterval(() => {
  if (process.ppid !== parent) process.exit(1); // nobody is left behind
}, 1_000).unref();

channels.registered.subscribe(({ instance }) => {
  process.stdout.write(`registered at port ${instance.port} at ${nowMs()}\n`);
});
channels.deregistered.subscribe(({ instance }) => {
  process.stdout.write(`${nowMs().toFixed(0)} deregistered ${instance.port}\n`);
});
process.once("SIGTERM", () => process.stdout.write(`${nowMs().toFixed(0)} told to end\n`));
process.once("exit", () => process.stdout.write(`${nowMs().toFixed(0)} ended\n`));
const { serve } = await SERVERS[framework]();
const registry = backendNamed(backend).open({ url }, {});
await serve({ registry, service, port, drainMs, work: work(options), name: String(process.pid) });
process.stdout.write("started\n");
