// The process that calls: one real HTTP client over one registry.
import { setTimeout as sleep } from "node:timers/promises";
import { type Instancer, type Registry, address } from "@rollcall/core";
import { type HttpClient, httpClient } from "@rollcall/http";
import type { Access } from "./backend.ts";
import { backendNamed } from "./backends.ts";
import { keepJournal } from "./journal.ts";
import { type LeftBehind, leftBehind } from "./left-behind.ts";
import { type Load, type Tally, startLoad } from "./load.ts";
import { type Memory, memory } from "./memory.ts";
import { nowMs } from "./now-ms.ts";
import { shiftClock } from "./shift-clock.ts";
import { type Rate, type Traffic, countTraffic } from "./traffic.ts";
import { answer } from "./worker.ts";

/** Which addresses a client should see. */
export interface Truth {
  readonly wanted: readonly string[];
  /** Those of which the registry cannot know yet that they have gone. */
  readonly tolerated: readonly string[];
}

export interface Period {
  readonly fromMs: number;
  readonly toMs: number;
}

export type ClientMethods = {
  open(options: { readonly backend: string; readonly service: string; readonly access: Access }): Promise<void>;
  startLoad(callsPerSecond: number): Promise<void>;
  stopLoad(): Promise<Tally>;
  /** When the view became right and then stayed so for `quietMs`; undefined if it did not within `withinMs`. */
  seen(options: { readonly truth: Truth; readonly quietMs: number; readonly withinMs: number }): Promise<number | null>;
  /** From now on the least number of instances it knows is kept. */
  resetFewest(): Promise<void>;
  fewest(): Promise<number>;
  traffic(period: Period): Promise<Rate>;
  shiftClock(byMs: number): Promise<void>;
  memory(): Promise<Memory>;
  journal(): Promise<readonly string[]>;
  /** Closes everything, and tells what is left. */
  close(): Promise<readonly string[]>;
};

/** Instances are near: one that has not answered in this time will not. */
const ATTEMPT_MS = 1_000;
const LOOK_MS = 10;

const journal = keepJournal();
let started: {
  readonly registry: Registry;
  readonly instancer: Instancer;
  readonly client: HttpClient;
  readonly traffic: Traffic;
  readonly left: LeftBehind;
};
let load: Load | undefined;
let fewest = Infinity;

const methods: ClientMethods = {
  async open({ backend, service, access }) {
    const traffic = countTraffic(Number(new URL(access.url).port));
    const left = leftBehind();
    const registry = backendNamed(backend).open(access, left.env);
    const instancer = registry.instancer(service);
    instancer.subscribe(() => (fewest = Math.min(fewest, instancer.snapshot.instances.length)));
    const client = httpClient({ instancer, env: left.env, retry: { attemptTimeoutMs: ATTEMPT_MS } });
    started = { registry, instancer, client, traffic, left };
  },
  async startLoad(callsPerSecond) {
    const { client } = started;
    load = startLoad(callsPerSecond, async () => {
      const response = await client.request("/");
      const text = await response.body.text();
      if (response.statusCode !== 200 || text !== "here") throw new Error(`${response.statusCode} ${text}`);
    });
  },
  async stopLoad() {
    const tally = (await load?.stop()) ?? { calls: 0, failures: [], skipped: 0 };
    load = undefined;
    return tally;
  },
  async seen({ truth, quietMs, withinMs }) {
    const deadline = nowMs() + withinMs;
    let rightAt: number | undefined;
    for (;;) {
      const now = nowMs();
      if (isRight(truth)) rightAt ??= now;
      else rightAt = undefined;
      if (rightAt !== undefined && now - rightAt >= quietMs) return rightAt;
      if (rightAt === undefined && now > deadline) return null;
      await sleep(LOOK_MS);
    }
  },
  async resetFewest() {
    fewest = Infinity;
  },
  fewest: async () => Math.min(fewest, started.instancer.snapshot.instances.length),
  traffic: async ({ fromMs, toMs }) => started.traffic.between(fromMs, toMs),
  shiftClock: async (byMs) => shiftClock(byMs),
  memory: async () => memory(),
  journal: async () => journal.lines,
  async close() {
    const { client, instancer, registry, left } = started;
    await client.close();
    await instancer.close();
    await registry.close();
    return left.look();
  },
};

/** Whether exactly those can be called that should be, and the registry is known to say so. */
function isRight({ wanted, tolerated }: Truth): boolean {
  const { instancer, client } = started;
  const known = new Set(client.endpoints.map(({ instance }) => address(instance)));
  return (
    instancer.snapshot.state === "live" &&
    wanted.every((one) => known.has(one)) &&
    [...known].every((one) => wanted.includes(one) || tolerated.includes(one))
  );
}

answer(methods);
