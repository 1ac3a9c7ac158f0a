// A process that serves: one instance, or many, each a server of its own that is announced.
import { once } from "node:events";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Env, type Registry, address } from "@rollcall/core";
import { type Announced, announce } from "@rollcall/http/server";
import type { Access } from "./backend.ts";
import { backendNamed } from "./backends.ts";
import type { Period } from "./client-worker.ts";
import { keepJournal } from "./journal.ts";
import { type LeftBehind, leftBehind } from "./left-behind.ts";
import { type Memory, memory } from "./memory.ts";
import { shiftClock } from "./shift-clock.ts";
import { type Rate, type Traffic, countTraffic } from "./traffic.ts";
import { answer } from "./worker.ts";

export interface Serving {
  readonly backend: string;
  readonly service: string;
  readonly access: Access;
  /** One server for each; 0 is a free port. */
  readonly ports: readonly number[];
}

export type ServerMethods = {
  /** Resolves with the addresses when all are announced; the registry may not have heard of it. */
  open(options: Serving): Promise<readonly string[]>;
  /** Takes one instance out of the registry, or puts it back, every so often, the one after the other. */
  startChanging(everyMs: number): Promise<void>;
  /** Ends that, with all of them registered. */
  stopChanging(): Promise<void>;
  /** The whole event loop, which hears and says nothing meanwhile. */
  block(forMs: number): Promise<void>;
  traffic(period: Period): Promise<Rate>;
  shiftClock(byMs: number): Promise<void>;
  memory(): Promise<Memory>;
  journal(): Promise<readonly string[]>;
  /** Shuts down as a signal does: deregister, drain, finish, close. Tells what is left. */
  close(): Promise<readonly string[]>;
};

/** How long it goes on serving after it was deregistered. */
const DRAIN_MS = 1_000;

const journal = keepJournal();
let started: {
  readonly registry: Registry;
  readonly announced: readonly Announced[];
  readonly traffic: Traffic;
  readonly left: LeftBehind;
};
let changing: NodeJS.Timeout | undefined;

const methods: ServerMethods = {
  async open({ backend, service, access, ports }) {
    const left = leftBehind();
    const traffic = countTraffic(Number(new URL(access.url).port));
    const registry = backendNamed(backend).open(access, left.env);
    const announced = await Promise.all(ports.map(async (port) => start(registry, left.env, service, port)));
    started = { registry, announced, traffic, left };
    return announced.map(({ instance }) => address(instance));
  },
  async startChanging(everyMs) {
    const { announced } = started;
    let turn = 0;
    changing = setInterval(() => {
      const registrar = announced[turn++ % announced.length]?.registrar;
      const change = registrar?.registered ? registrar.deregister() : registrar?.register();
      change?.catch((error: unknown) => journal.note(`changing: ${String(error)}`));
    }, everyMs);
  },
  async stopChanging() {
    clearInterval(changing);
    await Promise.all(started.announced.map(({ registrar }) => registrar.register()));
  },
  async block(forMs) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, forMs);
  },
  traffic: async ({ fromMs, toMs }) => started.traffic.between(fromMs, toMs),
  shiftClock: async (byMs) => shiftClock(byMs),
  memory: async () => memory(),
  journal: async () => journal.lines,
  async close() {
    const { announced, registry, left } = started;
    await Promise.all(announced.map((one) => one.close()));
    await registry.close();
    return left.look();
  },
};

async function start(registry: Registry, env: Partial<Env>, service: string, port: number): Promise<Announced> {
  const server: Server = createServer((_, response) => response.end("here"));
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return announce(server, {
    registry,
    service,
    host: "127.0.0.1",
    port: (server.address() as AddressInfo).port,
    drainMs: DRAIN_MS,
    signals: false,
    env,
    onError: (error) => journal.note(`announcing: ${String(error)}`),
  });
}

answer(methods);
