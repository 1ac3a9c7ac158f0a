import { setTimeout as sleep } from "node:timers/promises";
import { type Closable, closable } from "@rollcall/core";
import type { Access, Backend, Store } from "./backend.ts";
import type { ClientMethods, Period, Truth } from "./client-worker.ts";
import { type Network, network } from "./network.ts";
import { nowMs } from "./now-ms.ts";
import type { ServerMethods } from "./server-worker.ts";
import { type Worker, startWorker } from "./worker.ts";

/** A process that serves, at one address or many. */
export interface StageServer {
  readonly worker: Worker<ServerMethods>;
  readonly addresses: readonly string[];
}

/** What ails the registry, from whoever's view. */
export interface Illness {
  begin(): Promise<unknown>;
  end(): Promise<unknown>;
  /** What else happens in that time; the illness lasts at least until it is done. */
  during?(): Promise<unknown>;
}

/** Where rows play: a real registry server, servers and a client in processes of their own, each with its own way to it. */
export interface Stage extends Closable {
  readonly store: Store;
  readonly service: string;
  readonly client: Worker<ClientMethods>;
  readonly clientSide: Network;
  readonly serverSide: Network;
  /** Those that run, in the order in which they were started. */
  readonly servers: readonly StageServer[];
  /** What the client should see now. */
  readonly truth: Truth;
  /** Starts a server process with this many addresses, or at these ports. It serves; the registry may not know yet. */
  start(ports?: readonly number[]): Promise<StageServer>;
  /** Shuts one down in good order. Unheard: the registry cannot be told, and will find it out by itself. */
  stop(server: StageServer, unheard?: "unheard"): Promise<void>;
  /** `kill -9`. */
  kill(server: StageServer): Promise<void>;
  /** Makes the registry ill for so long. */
  ill(forMs: number, illness: Illness): Promise<void>;
  /** When it was ill, if it was. */
  readonly illness: Period | undefined;
  /** What was to happen has happened: from now on it counts how long the view takes to be right. */
  over(): void;
  /** Waits until the view is right for good, and resolves with whether it ever was. What `over` has begun is measured. */
  settle(): Promise<boolean>;
  /** Waits until nothing is left of a registration that is not renewed; all others must be there all the time. */
  outlast(): Promise<void>;
  /** The longest that `settle` took after `over`, in ms; infinite if the view never was right. */
  readonly rightMs: number;
  /** What a row asks for beyond what is asked of all rows. */
  demand(holds: boolean, otherwise: string): void;
  readonly broken: readonly string[];
  /** What was left in processes that closed everything, each with its process. */
  readonly left: readonly string[];
  /** The journals of all processes, as far as they could be asked. */
  journal(): Promise<readonly string[]>;
  /** Closes client and servers as an application does, and remembers what is left in them. */
  retire(): Promise<void>;
}

export interface StageOptions {
  readonly ttlMs: number | undefined;
  readonly guarded: boolean;
  /** 1 for the whole suite; less shortens all illnesses. */
  readonly scale: number;
}

const common = { flags: ["--expose-gc"], answerMs: 100_000 };
const CLIENT = { script: new URL("./client-worker.ts", import.meta.url), ...common };
const SERVER = { script: new URL("./server-worker.ts", import.meta.url), ...common };
/** The view has to stay right for so long. */
const QUIET_MS = 3_000;
/** What a registry may take longer than the TTL to see that it has run out. */
const EXPIRY_MS = 5_000;
/** Longer is not waited for; it breaks every limit. */
const NEVER_MS = 45_000;
/** A process that has closed everything ends at once. */
const RETIRE_MS = 5_000;

let stages = 0;

/** Opens a stage with three servers, which the client sees. Closing it ends whatever is left of it, at once. */
export async function openStage(backend: Backend, options: StageOptions): Promise<Stage> {
  const store = await backend.start({ guarded: options.guarded });
  const clientSide = network(store.readAt ?? store.server);
  const serverSide = network(store.server);
  const client = startWorker<ClientMethods>(CLIENT);
  const service = `chaos-${++stages}`;
  const workers = new Set<Worker<ServerMethods>>();
  const servers = new Set<StageServer>();
  const tolerated: string[] = [];
  const left: string[] = [];
  const broken: string[] = [];
  const lines: string[] = [];
  const access = (url: string, whose: "client" | "servers"): Access => {
    return { url, ttlMs: options.ttlMs, credentials: store.credentials?.[whose] };
  };
  let illness: Period | undefined;
  let overAt: number | undefined;
  let rightMs = 0;

  const start = async (ports: readonly number[] = [0]): Promise<StageServer> => {
    const worker = startWorker<ServerMethods>(SERVER);
    workers.add(worker);
    const url = await serverSide.add();
    const addresses = await worker.ask("open", {
      backend: backend.name,
      service,
      access: access(url, "servers"),
      ports,
    });
    const server = { worker, addresses };
    servers.add(server);
    return server;
  };
  /** Asks for what is left, and sees whether the process ends by itself then. */
  const dismiss = async (name: string, worker: Worker<Pick<ServerMethods, "journal" | "close">>): Promise<void> => {
    const found = [...(await worker.ask("close"))];
    lines.push(...(await worker.ask("journal")).map((line) => `${line} (${name})`));
    if (!(await worker.retire(RETIRE_MS))) found.push("a process that does not end");
    left.push(...found.map((one) => `${name}: ${one}`));
  };
  const stop = async (server: StageServer, unheard?: "unheard"): Promise<void> => {
    servers.delete(server);
    // For the client it may go at any time from now on.
    const leaving = [...server.addresses];
    tolerated.push(...leaving);
    await dismiss(`server ${leaving[0]}`, server.worker);
    workers.delete(server.worker);
    if (unheard === undefined) for (const one of leaving) tolerated.splice(tolerated.indexOf(one), 1);
  };

  const stage: Stage = {
    store,
    service,
    client,
    clientSide,
    serverSide,
    get servers() {
      return [...servers];
    },
    get truth() {
      return { wanted: [...servers].flatMap(({ addresses }) => addresses), tolerated: [...tolerated] };
    },
    start,
    stop,
    async kill(server) {
      servers.delete(server);
      tolerated.push(...server.addresses);
      await server.worker.kill();
      workers.delete(server.worker);
    },
    async ill(forMs, { begin, end, during }) {
      const fromMs = nowMs();
      await begin();
      await Promise.all([sleep(forMs * options.scale), during?.()]);
      const toMs = nowMs();
      await end();
      illness = { fromMs, toMs };
      stage.over();
    },
    get illness() {
      return illness;
    },
    over() {
      overAt = nowMs();
    },
    async settle() {
      const question = { truth: stage.truth, quietMs: QUIET_MS * options.scale, withinMs: NEVER_MS };
      const rightAt = await client.ask("seen", question);
      if (overAt !== undefined) rightMs = Math.max(rightMs, rightAt === null ? Infinity : rightAt - overAt);
      overAt = undefined;
      return rightAt !== null;
    },
    async outlast() {
      await client.ask("resetFewest");
      await sleep((options.ttlMs ?? backend.ttlMs) + EXPIRY_MS);
      const { wanted } = stage.truth;
      const exact = await client.ask("seen", { truth: { wanted, tolerated: [] }, quietMs: 0, withinMs: EXPIRY_MS });
      stage.demand(exact !== null, "a TTL later, the registry still lists who has gone");
      stage.demand(
        (await client.ask("fewest")) >= wanted.length,
        "a registration that seemed to be back was lost again",
      );
    },
    get rightMs() {
      return rightMs;
    },
    demand(holds, otherwise) {
      if (!holds) broken.push(otherwise);
    },
    broken,
    left,
    async journal() {
      const present = [...servers].map(({ worker, addresses }) => ({ name: `server ${addresses[0]}`, worker }));
      for (const { name, worker } of [{ name: "client", worker: client }, ...present]) {
        const more = await worker.ask("journal").catch(() => []);
        lines.push(...more.map((line) => `${line} (${name})`));
      }
      return lines.toSorted();
    },
    async retire() {
      await dismiss("client", client);
      await Promise.all([...servers].map((server) => stop(server)));
    },
    ...closable(async () => {
      await Promise.all([client.kill(), ...[...workers].map((worker) => worker.kill())]);
      await Promise.all([clientSide.close(), serverSide.close()]);
      await store.close();
    }),
  };
  try {
    await client.ask("open", { backend: backend.name, service, access: access(await clientSide.add(), "client") });
    await Promise.all([start(), start(), start()]);
    if (!(await stage.settle())) throw new Error("the client does not see the servers, while all is well");
    return stage;
  } catch (error) {
    await stage.close();
    throw error;
  }
}
