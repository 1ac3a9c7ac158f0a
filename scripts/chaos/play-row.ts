import { mkdirSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "@rollcall/core";
import type { Backend } from "./backend.ts";
import { nowMs } from "./now-ms.ts";
import { CALLS_PER_SECOND, type Measures, type Result, breaches } from "./result.ts";
import type { Row } from "./row.ts";
import { type Stage, openStage } from "./stage.ts";
import type { Rate } from "./traffic.ts";

/** How long calls stream in before anything happens. */
const LEAD_MS = 2_000;
const LOGS = new URL("../../.cache/chaos/", import.meta.url);

/** Plays a row on one backend, from the start of its server to the end of the last process. Never rejects. */
export async function playRow(row: Row, backend: Backend, scale: number): Promise<Result> {
  const startedMs = nowMs();
  const result = (rest: Omit<Result, "backend" | "row" | "tookMs">): Result => {
    return { backend: backend.name, row: row.name, tookMs: nowMs() - startedMs, ...rest };
  };
  const no = backend.cannot[row.name];
  if (no !== undefined) return result({ no: no.replace(/^no: /, ""), breaches: [] });
  try {
    const stage = await openStage(backend, { ttlMs: row.ttlMs, guarded: row.guarded === true, scale });
    try {
      const measures = await measure(row, stage, scale);
      const found = breaches(row, measures);
      if (found.length > 0 || measures.failures.length > 0) await log(row, backend, stage, found, measures);
      return result({ measures, breaches: found });
    } catch (error) {
      await log(row, backend, stage, [messageOf(error)]);
      throw error;
    } finally {
      await stage.close();
    }
  } catch (error) {
    return result({ breaches: [messageOf(error)] });
  }
}

async function measure(row: Row, stage: Stage, scale: number): Promise<Measures> {
  const { client } = stage;
  const fromMs = nowMs();
  await client.ask("startLoad", CALLS_PER_SECOND);
  await sleep(LEAD_MS * scale);
  await row.run(stage);
  await stage.settle();
  if (row.outlast === true && scale === 1) await stage.outlast();
  const seconds = (nowMs() - fromMs) / 1_000;
  const { calls, failures } = await client.ask("stopLoad");
  const { illness } = stage;
  let perWatch: Rate | null = null;
  let perRegistration: Rate | null = null;
  if (illness !== undefined) {
    perWatch = await client.ask("traffic", illness);
    const rates = await Promise.all(stage.servers.map(({ worker }) => worker.ask("traffic", illness)));
    perRegistration = {
      mean: Math.max(...rates.map(({ mean }) => mean)),
      peak: Math.max(...rates.map(({ peak }) => peak)),
    };
  }
  await stage.retire();
  const rightMs = Number.isFinite(stage.rightMs) ? stage.rightMs : null;
  return { calls, seconds, failures, rightMs, perWatch, perRegistration, left: stage.left, broken: stage.broken };
}

/** Keeps all that is known of a row in which something went wrong. */
async function log(
  row: Row,
  backend: Backend,
  stage: Stage,
  found: readonly string[],
  measures?: Measures,
): Promise<void> {
  const failures = (measures?.failures ?? []).map(({ atMs, error }) => `${atMs.toFixed(0)} call failed: ${error}`);
  const period = stage.illness;
  const ill = period === undefined ? [] : [`${period.fromMs.toFixed(0)} -- ill`, `${period.toMs.toFixed(0)} -- well`];
  const lines = [...ill, ...failures, ...(await stage.journal())].toSorted();
  mkdirSync(LOGS, { recursive: true });
  const text = [...found, "", ...lines, "", "the server's log:", stage.store.server.log()].join("\n");
  writeFileSync(new URL(`${backend.name}-${row.name}.log`, LOGS), `${text}\n`);
}
