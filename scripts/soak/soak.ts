import { setTimeout as sleep } from "node:timers/promises";
import { styleText } from "node:util";
import { messageOf } from "@rollcall/core";
import type { Backend } from "../chaos/backend.ts";
import { nowMs } from "../chaos/now-ms.ts";
import { CALLS_PER_SECOND } from "../chaos/result.ts";
import { flap } from "../chaos/rows/network-rows.ts";
import { type Stage, type StageServer, openStage } from "../chaos/stage.ts";
import type { SoakOptions } from "./options.ts";
import { type Sample, growth, inWords } from "./sample.ts";

/** How many instances come and go, and how often one of them does. */
const [CHANGING, CHANGE_MS] = [20, 100];
/** A part of the time is not judged: caches and compiled code grow in it. */
const WARM_UP = 0.2;
const LEAST_WARM_UP_MS = 60_000;
const SAMPLES = 40;
const LEAST_PAUSE_MS = 3_000;
const RIGHT_MS = 3_000;

/** Soaks all backends at the same time, prints samples and a verdict for each. Resolves with the exit code. */
export async function soak(options: SoakOptions): Promise<number> {
  const verdicts = await Promise.all(options.backends.map((backend) => verdictOn(backend, options)));
  return verdicts.every(Boolean) ? 0 : 1;
}

async function verdictOn(backend: Backend, options: SoakOptions): Promise<boolean> {
  let found: readonly string[];
  try {
    const stage = await openStage(backend, { ttlMs: undefined, guarded: false, scale: 1 });
    try {
      found = await endure(stage, options, (text) => print(`${backend.name.padEnd(7)}${text}`));
    } finally {
      await stage.close();
    }
  } catch (error) {
    found = [messageOf(error)];
  }
  if (found.length === 0)
    print(`${styleText("green", "ok")}  ${backend.name}: it holds no more than after its warm-up`);
  else print(`${styleText("red", "NOT OK")}  ${backend.name}: ${found.join("; ")}`);
  return found.length === 0;
}

/** Resolves with what was wrong. */
async function endure(
  stage: Stage,
  { kind, forMs }: SoakOptions,
  tell: (text: string) => void,
): Promise<readonly string[]> {
  const samples: Sample[] = [];
  const [steady] = stage.servers;
  const changing = kind === "change" ? await stage.start(Array<number>(CHANGING).fill(0)) : undefined;
  const startedMs = nowMs();
  const sample = async (): Promise<Sample> => {
    const taken = { atMs: nowMs() - startedMs, held: await holdings(stage, { steady, changing }) };
    tell(inWords(taken));
    return taken;
  };
  await stage.client.ask("startLoad", CALLS_PER_SECOND);
  const calm = changing === undefined ? flap(stage) : await change(changing);
  const warmMs = Math.max(LEAST_WARM_UP_MS, forMs * WARM_UP);
  await sleep(warmMs);
  while (nowMs() - startedMs < warmMs + forMs) {
    samples.push(await sample());
    await sleep(Math.max(LEAST_PAUSE_MS, forMs / SAMPLES));
  }
  await calm();
  stage.over();
  await stage.settle();
  for (let last = 0; last < 3; last++) samples.push(await sample());
  const { calls, failures } = await stage.client.ask("stopLoad");
  tell(`${calls} calls, ${failures.length} failed; the view was right after ${(stage.rightMs / 1_000).toFixed(1)} s`);
  await stage.retire();
  return [
    ...growth(samples),
    ...(failures.length === 0 ? [] : [`${failures.length} calls failed: ${failures[0]?.error}`]),
    ...(stage.rightMs <= RIGHT_MS ? [] : ["the view was not right in time"]),
    ...stage.left.map((one) => `left behind: ${one}`),
  ];
}

/** Lets instances come and go. Returns the function that ends it. */
async function change({ worker }: StageServer): Promise<() => Promise<void>> {
  await worker.ask("startChanging", CHANGE_MS);
  return () => worker.ask("stopChanging");
}

async function holdings(
  { client }: Stage,
  servers: Readonly<Record<string, StageServer | undefined>>,
): Promise<Sample["held"]> {
  const held: Record<string, Sample["held"][string]> = { client: await client.ask("memory") };
  for (const [name, server] of Object.entries(servers)) {
    if (server !== undefined) held[name] = await server.worker.ask("memory");
  }
  return held;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
