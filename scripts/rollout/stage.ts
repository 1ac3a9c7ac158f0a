import { mkdir, readFile, readdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { type Closable, closable } from "@rollcall/core";
import type { Backend, Store } from "../chaos/backend.ts";
import { type Worker, startWorker } from "../chaos/worker.ts";
import { type ChildApp, type Ending, startChild } from "../demo/child-app.ts";
import type { ClientMethods } from "./client-worker.ts";
import type { Framework } from "./framework.ts";
import type { Pace } from "./pace.ts";
import type { ServerOptions } from "./server.ts";
import type { Way } from "./way.ts";

/** One copy of the service. */
export interface StageServer {
  readonly child: ChildApp;
  readonly port: number;
  /** When the registry had taken it, by the machine's clock. */
  readonly registeredAtMs: number;
}

/** What POSTs became, told from the journals of those who sent and those who executed them. */
export interface Orders {
  /** Ids that were executed more than once. */
  readonly twice: number;
  /** Ids that were answered, but that nobody has executed. */
  readonly lost: number;
  /** As the client wrote them down. */
  readonly answered: number;
}

/** Where plays are played: a real registry, copies of the service and a client, in processes of their own. */
export interface Stage extends Closable {
  readonly pace: Pace;
  readonly store: Store;
  readonly client: Worker<ClientMethods>;
  /** Those that run, in the order in which they were started. */
  readonly servers: readonly StageServer[];
  /** Starts a copy, at a given port or at any, and waits until it is registered. */
  start(port?: number): Promise<StageServer>;
  /** Starts one that has no chance to be registered now; it is waited for until it serves, or has ended. */
  startUnheard(port: number): Promise<ChildApp>;
  /** Waits until one that was started unheard is registered. */
  registered(child: ChildApp): Promise<StageServer>;
  /** SIGTERM; resolves when the process has ended. That it ended well is demanded. */
  stop(server: StageServer): Promise<void>;
  /** `kill -9` */
  kill(server: StageServer): Promise<void>;
  /** What a play asks for beyond what is asked of all. */
  demand(holds: boolean, otherwise: string): void;
  readonly broken: readonly string[];
  /** A measure of this play, for the table. */
  note(text: string): void;
  readonly notes: readonly string[];
  /** Lets the client and all servers end in good order. */
  retire(): Promise<void>;
  /** Counts, when all have ended. */
  orders(): Promise<Orders>;
  /** What client and servers have said. */
  journal(): Promise<readonly string[]>;
}

export interface StageOptions {
  readonly backend: Backend;
  readonly framework: Framework;
  readonly way: Way;
  readonly pace: Pace;
  readonly servers: number;
}

const CLIENT = { script: new URL("./client-worker.ts", import.meta.url), answerMs: 60_000 };
const SERVER = new URL("./server.ts", import.meta.url);
const ROOM = new URL("../../.cache/rollout/", import.meta.url);
const REGISTERED = /^registered at port (\d+) at ([\d.]+)$/;
/** Nobody needs longer to end: drain, streams and all. */
const END_MS = 30_000;

let stages = 0;

/** Opens a stage with so many servers. Closing it ends whatever is left of it, at once. */
export async function openStage({ backend, framework, way, pace, servers: count }: StageOptions): Promise<Stage> {
  const store = await backend.start({ guarded: false });
  const { url } = store.server;
  const service = `rollout-${++stages}`;
  // Nobody else's, whoever plays at the same time.
  const room = new URL(`${process.pid}-${service}/`, ROOM);
  await mkdir(room, { recursive: true });
  const client = startWorker<ClientMethods>(CLIENT);
  const children = new Set<ChildApp>();
  const servers = new Set<StageServer>();
  const broken: string[] = [];
  const notes: string[] = [];
  const lines: string[] = [];
  const file = (name: string): string => fileURLToPath(new URL(name, room));
  let made = 0;
  let gateway: StageServer | undefined;

  const spawn = (kind: Framework | "gateway", port: number): ChildApp => {
    const journal = file(`executed-${++made}`);
    const { drainMs, feedMs } = pace;
    const options: ServerOptions = {
      framework: kind,
      backend: backend.name,
      url,
      service,
      port,
      drainMs,
      feedMs,
      journal,
    };
    const child = startChild(SERVER, [JSON.stringify(options)]);
    children.add(child);
    return child;
  };
  const registered = async (child: ChildApp): Promise<StageServer> => {
    const [, port, at] = await child.printed(REGISTERED);
    await child.printed(/^started$/);
    const server = { child, port: Number(port), registeredAtMs: Number(at) };
    servers.add(server);
    return server;
  };
  const end = async (child: ChildApp, signal: "SIGTERM" | "SIGKILL"): Promise<Ending> => {
    const timer = setTimeout(() => void child.end("SIGKILL"), END_MS);
    const ending = await child.end(signal);
    clearTimeout(timer);
    children.delete(child);
    lines.push(...child.lines.map(({ text }) => `${text} (server ${child.pid})`));
    return ending;
  };
  const stop = async (server: StageServer): Promise<void> => {
    servers.delete(server);
    const { code, signal } = await end(server.child, "SIGTERM");
    // Nest ends a process by the signal itself, when everything is closed.
    const well = framework.startsWith("nest") && server !== gateway ? signal === "SIGTERM" : code === 0;
    if (!well) broken.push(`a server ended with ${signal ?? `exit code ${code}`}`);
  };

  const stage: Stage = {
    pace,
    store,
    client,
    get servers() {
      return [...servers];
    },
    start: (port = 0) => registered(spawn(framework, port)),
    async startUnheard(port) {
      const child = spawn(framework, port);
      await Promise.race([child.printed(/^started$/).catch(() => undefined), child.ended]);
      return child;
    },
    registered,
    stop,
    async kill(server) {
      servers.delete(server);
      await end(server.child, "SIGKILL");
    },
    demand(holds, otherwise) {
      if (!holds) broken.push(otherwise);
    },
    broken,
    note: (text) => void notes.push(text),
    notes,
    async retire() {
      await client.ask("close");
      lines.push(...(await client.ask("journal")).map((line) => `${line} (client)`));
      if (!(await client.retire(END_MS))) broken.push("the client closed everything, and did not end");
      if (gateway !== undefined) await stop(gateway);
      await Promise.all([...servers].map(stop));
    },
    async orders() {
      const executed = new Map<string, number>();
      for (const name of await readdir(room)) {
        if (!name.startsWith("executed-")) continue;
        for (const id of await idsOf(file(name))) executed.set(id, (executed.get(id) ?? 0) + 1);
      }
      const answered = await idsOf(file("answered")); // there since the client was opened
      return {
        twice: [...executed.values()].filter((times) => times > 1).length,
        answered: answered.length,
        lost: answered.filter((id) => !executed.has(id)).length,
      };
    },
    async journal() {
      const said = [...children].flatMap(({ pid, lines: more }) => more.map(({ text }) => `${text} (server ${pid})`));
      const seen = await client.ask("journal").catch(() => []);
      return [...lines, ...said, ...seen.map((line) => `${line} (client)`)];
    },
    ...closable(async () => {
      await Promise.all([client.kill(), ...[...children].map((child) => child.end("SIGKILL"))]);
      await store.close();
      await rm(room, { recursive: true, force: true });
    }),
  };
  try {
    await Promise.all(Array.from({ length: count }, () => stage.start()));
    if (way === "gateway") {
      gateway = await registered(spawn("gateway", 0));
      servers.delete(gateway);
    }
    const gatewayPort = gateway?.port ?? 0;
    await client.ask("open", { backend: backend.name, url, service, way, gatewayPort, journal: file("answered") });
    return stage;
  } catch (error) {
    await stage.close();
    throw error;
  }
}

async function idsOf(file: string): Promise<readonly string[]> {
  const text = await readFile(file, "utf8");
  return text.split("\n").filter((id) => id !== "");
}
