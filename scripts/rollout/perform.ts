import { mkdirSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "@rollcall/core";
import type { Backend } from "../chaos/backend.ts";
import type { Failure } from "../chaos/load.ts";
import { nowMs } from "../chaos/now-ms.ts";
import type { Framework } from "./framework.ts";
import type { Pace } from "./pace.ts";
import type { Play } from "./play.ts";
import { type Measures, type Result, breaches } from "./result.ts";
import { type Stage, openStage } from "./stage.ts";

export interface Performance {
  readonly play: Play;
  readonly backend: Backend;
  readonly framework: Framework;
}

const LOGS = new URL("../../.cache/rollout/", import.meta.url);

/** Plays it, from the start of its registry to the end of the last process. Never rejects. */
export async function perform({ play, backend, framework }: Performance, pace: Pace): Promise<Result> {
  const startedMs = nowMs();
  const result = (rest: Pick<Result, "measures" | "breaches">): Result => {
    return { play: play.name, backend: backend.name, framework, tookMs: nowMs() - startedMs, ...rest };
  };
  try {
    const { way, servers = pace.servers } = play;
    const stage = await openStage({ backend, framework, way, pace, servers });
    const log = (found: readonly string[], failures: readonly Failure[] = []): Promise<void> =>
      write(`${backend.name}-${play.name}-${framework}.log`, stage, found, failures);
    try {
      const measures = await measure(play, stage);
      const found = breaches(measures);
      if (found.length > 0) await log(found, measures.failures);
      return result({ measures, breaches: found });
    } catch (error) {
      await log([messageOf(error)]);
      throw error;
    } finally {
      await stage.close();
    }
  } catch (error) {
    return result({ breaches: [messageOf(error)] });
  }
}

async function measure(play: Play, stage: Stage): Promise<Measures> {
  const { client, pace } = stage;
  const fromMs = nowMs();
  await client.ask("startLoad", { perSecond: pace.callsPerSecond, mix: play.mix });
  await sleep(pace.leadMs);
  await play.run(stage);
  await sleep(pace.leadMs);
  const seconds = (nowMs() - fromMs) / 1_000;
  const { calls, posts, failures, skipped } = await client.ask("stopLoad");
  await stage.retire();
  const { notes, broken } = stage;
  return {
    calls,
    posts,
    skipped,
    due: seconds * pace.callsPerSecond,
    failures,
    notes,
    broken,
    ...(await stage.orders()),
  };
}

/** Keeps all that is known of a play in which something went wrong. */
async function write(
  name: string,
  stage: Stage,
  found: readonly string[],
  failures: readonly Failure[],
): Promise<void> {
  const lines = [
    ...failures.map(({ atMs, error }) => `${atMs.toFixed(0)} call failed: ${error}`),
    ...(await stage.journal()),
  ];
  mkdirSync(LOGS, { recursive: true });
  writeFileSync(new URL(name, LOGS), `${[...found, "", ...lines.toSorted()].join("\n")}\n`);
}
