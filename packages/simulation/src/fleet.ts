import { type Instancer, closable, createCache, createInstance } from "@rollcall/core";
import type { Attempt } from "./attempt.ts";
import { quantileOf } from "./distribution.ts";
import { VirtualEvent } from "./event-heap.ts";
import type { Scenario } from "./scenario.ts";
import { Server } from "./server.ts";
import { timelineOf } from "./timeline.ts";
import type { VirtualTime } from "./virtual-time.ts";

const SERVICE = "fleet";

/** The servers of a scenario, the network before them, and the registry that lists them. */
export interface Fleet {
  readonly servers: readonly Server[];
  /** Those that the registry lists now. */
  readonly listed: readonly Server[];
  /** The registry's view, shared by all clients. */
  readonly instancer: Instancer;
  serverOf(id: string): Server;
  /** Puts an attempt on its way. */
  send(attempt: Attempt): void;
}

export function createFleet(scenario: Scenario, time: VirtualTime): Fleet {
  const { networkMs = 0 } = scenario;
  const toClient = time.line<Attempt>(networkMs, (attempt) => attempt.end(attempt.result));
  const toServer = time.line<Attempt>(networkMs, (attempt) => attempt.server.arrive(attempt));
  const servers = makeServers(scenario, time, toClient);
  const byId = new Map(servers.map((server) => [server.parts.instance.id, server]));

  const cache = createCache({ env: time.env(() => 0) });
  let listed: readonly Server[] = [];
  const list = (): void => {
    const { nowMs } = time;
    listed = servers.filter(({ parts }) => parts.joinsAtMs <= nowMs && nowMs < parts.leavesAtMs);
    cache.update(listed.map(({ parts }) => parts.instance));
  };
  list();
  const changes = new Set(servers.flatMap(({ parts }) => [parts.joinsAtMs, parts.leavesAtMs]));
  for (const atMs of changes) {
    if (atMs > 0 && atMs < Infinity) time.plan(new Change(list), atMs);
  }
  const instancer: Instancer = {
    service: SERVICE,
    get snapshot() {
      return cache.snapshot;
    },
    subscribe: (onChange) => cache.subscribe(onChange),
    ...closable(async () => undefined),
  };

  return {
    servers,
    get listed() {
      return listed;
    },
    instancer,
    serverOf(id) {
      const server = byId.get(id);
      if (server === undefined) throw new Error(`the fleet has no server ${id}`);
      return server;
    },
    send: toServer,
  };
}

function makeServers(scenario: Scenario, time: VirtualTime, answer: (attempt: Attempt) => void): Server[] {
  const { durationMs, abandoned } = scenario;
  const work = quantileOf(scenario.work);
  const numbers = new Map<string, number>();
  const servers: Server[] = [];
  for (const group of scenario.servers) {
    const { count = 1, name = "server", workers = 4, queue = 100, speed = 1, weight = 1, zone, faults = [] } = group;
    const { reports = true, joinsAtMs = 0, leavesAtMs = Infinity } = group;
    const timeline = timelineOf(speed, faults, durationMs);
    for (let n = 0; n < count; n++) {
      const number = (numbers.get(name) ?? 0) + 1;
      numbers.set(name, number);
      const place = servers.length;
      const host = `10.${place >> 16}.${(place >> 8) & 255}.${place & 255}`;
      const parts = {
        instance: createInstance({ service: SERVICE, id: `${name}-${number}`, host, port: 80, weight, zone }),
        place,
        workers,
        queue,
        speed,
        timeline,
        work,
        dropsAbandoned: abandoned === "dropped",
        reports,
        joinsAtMs,
        leavesAtMs,
      };
      servers.push(new Server(parts, time, answer));
    }
  }
  return servers;
}

class Change extends VirtualEvent {
  readonly #list: () => void;

  constructor(list: () => void) {
    super();
    this.#list = list;
  }

  override run(): void {
    this.#list();
  }
}
