import { styleText } from "node:util";
import { writeBetween } from "../document.ts";
import type { RolloutOptions } from "./options.ts";
import { perform } from "./perform.ts";
import type { Result } from "./result.ts";
import { table } from "./table.ts";

const DOCUMENT = new URL("../../docs/deploys.md", import.meta.url);

/** Plays what was asked for, one after another, and prints what came of it. Resolves with the exit code. */
export async function rollout({ performances, pace, whole }: RolloutOptions): Promise<number> {
  const startedAt = performance.now();
  const results: Result[] = [];
  for (const each of performances) {
    const result = await perform(each, pace);
    results.push(result);
    print(progress(result));
  }
  const text = table(results);
  print(`\n${text}\n`);
  const broken = results.filter(({ breaches }) => breaches.length > 0);
  if (whole && broken.length === 0) await writeBetween(DOCUMENT, "rollout", text);
  const took = `${((performance.now() - startedAt) / 60_000).toFixed(1)} min`;
  if (results.length === 0) print(styleText("red", "Of all plays none is meant by this."));
  else if (broken.length === 0) print(`${results.length} plays, all within their limits, in ${took}.`);
  else
    print(
      styleText(
        "red",
        `${broken.length} of ${results.length} plays broke their limits: ${broken.map(nameOf).join(", ")}`,
      ),
    );
  return broken.length === 0 && results.length > 0 ? 0 : 1;
}

function progress(result: Result): string {
  const took = `${(result.tookMs / 1_000).toFixed(0)} s`;
  if (result.breaches.length === 0) return `${styleText("green", "ok")}  ${nameOf(result)} (${took})`;
  const log = `.cache/rollout/${result.backend}-${result.play}-${result.framework}.log`;
  return `${styleText("red", "BROKEN")}  ${nameOf(result)} (${took}; ${log})\n    ${result.breaches.join("\n    ")}`;
}

function nameOf({ backend, play, framework }: Result): string {
  return `${backend}/${play}/${framework}`;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
