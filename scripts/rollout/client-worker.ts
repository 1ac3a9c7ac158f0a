// The process that calls, in one way, with all defaults.
import { openSync, writeSync } from "node:fs";
import { subscribe } from "node:diagnostics_channel";
import type { Socket } from "node:net";
import type { Registry } from "@rollcall/core";
import { backendNamed } from "../chaos/backends.ts";
import { keepJournal } from "../chaos/journal.ts";
import { type Load, type Tally, startLoad } from "../chaos/load.ts";
import { nowMs } from "../chaos/now-ms.ts";
import { answer } from "../chaos/worker.ts";
import { type Caller, type Way, callerOf } from "./way.ts";
import { LARGE_BYTES } from "./work.ts";

/** `mixed`: half are POSTs, some are streamed. `reads`: neither, for nobody can go on with an answer that broke off. */
export type Mix = "mixed" | "reads";

export interface Calling {
  readonly backend: string;
  readonly url: string;
  readonly service: string;
  readonly way: Way;
  /** 0 if there is none. */
  readonly gatewayPort: number;
  /** The file for the ids of orders that were answered. */
  readonly journal: string;
}

export type ClientMethods = {
  open(options: Calling): Promise<void>;
  startLoad(options: { readonly perSecond: number; readonly mix: Mix }): Promise<void>;
  /** Waits for the calls under way, and tells what came of all of them. `posts` of them were POSTs. */
  stopLoad(): Promise<Tally & { readonly posts: number }>;
  /** When each server (a process id) gave its first answer, by the machine's clock. */
  firstAnswers(): Promise<Readonly<Record<string, number>>>;
  /** When it last tried to connect to each port. */
  lastConnects(): Promise<Readonly<Record<string, number>>>;
  journal(): Promise<readonly string[]>;
  close(): Promise<void>;
};

/** Of so many calls, in turns, two are streamed. */
const TURNS = 50;
/** Ten times of what is normal. */
const MOST_UNDER_WAY = 500;
const PAD = "x".repeat(LARGE_BYTES);

const journal = keepJournal();
const firstAnswers: Record<string, number> = {};
const lastConnects: Record<string, number> = {};
let started: { readonly registry: Registry; readonly caller: Caller; readonly answered: number };
let load: Load | undefined;
let posts = 0;
let turn = 0;

subscribe("net.client.socket", (message) => {
  const { socket } = message as { readonly socket: Socket };
  socket.on("connectionAttempt", (_address: string, port: number) => (lastConnects[port] = nowMs()));
});

async function get(path: "/small" | "/large" | "/feed"): Promise<void> {
  const { status, text, by } = await started.caller.call("GET", path);
  const wanted = path === "/small" ? "small".length : LARGE_BYTES;
  if (status !== 200 || text.length !== wanted)
    throw new Error(`GET ${path}: ${status} from ${by}, ${text.length} bytes`);
  firstAnswers[by] ??= nowMs();
}

async function post(path: "/orders" | "/feeds"): Promise<void> {
  const id = String(++posts);
  const { status, text, by } = await started.caller.call("POST", path, `{"id":"${id}","pad":"${PAD}"}`);
  const right = path === "/orders" ? text === id : text.length === LARGE_BYTES;
  if (status >= 300 || !right) throw new Error(`POST ${path} ${id}: ${status} from ${by}: ${text.slice(0, 200)}`);
  writeSync(started.answered, `${id}\n`);
  firstAnswers[by] ??= nowMs();
}

// How late this process is, for whoever wonders why.
let lastMs = nowMs();
setInterval(() => {
  const now = nowMs();
  if (now - lastMs > 250) journal.note(`this process was late by ${(now - lastMs - 50).toFixed(0)} ms`);
  lastMs = now;
}, 50).unref();

function call(mix: Mix): Promise<void> {
  const now = turn++ % TURNS;
  if (mix === "reads") return get(now % 2 === 0 ? "/large" : "/small");
  if (now === 0) return get("/feed");
  if (now === TURNS / 2) return post("/feeds");
  if (now % 2 === 0) return post("/orders");
  return get(now % 4 === 1 ? "/large" : "/small");
}

const methods: ClientMethods = {
  async open({ backend, url, service, way, gatewayPort, journal: file }) {
    const registry = backendNamed(backend).open({ url }, {});
    started = { registry, caller: callerOf(way, registry, service, gatewayPort), answered: openSync(file, "a") };
  },
  async startLoad({ perSecond, mix }) {
    load = startLoad(perSecond, () => call(mix), MOST_UNDER_WAY);
  },
  async stopLoad() {
    const tally = (await load?.stop()) ?? { calls: 0, failures: [], skipped: 0 };
    load = undefined;
    return { ...tally, posts };
  },
  firstAnswers: async () => firstAnswers,
  lastConnects: async () => lastConnects,
  journal: async () => journal.lines,
  async close() {
    await started.caller.close();
    await started.registry.close();
  },
};

answer(methods);
