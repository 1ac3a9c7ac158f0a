import { styleText } from "node:util";
import { messageOf } from "@rollcall/core";
import { writeBetween } from "../document.ts";
import type { DirectorMethods } from "./director.ts";
import type { ChaosOptions } from "./options.ts";
import type { Result } from "./result.ts";
import { footnotes, table } from "./table.ts";
import { startWorker } from "./worker.ts";

/** No row takes longer. */
const ROW_MS = 300_000;
const DIRECTOR = { script: new URL("./director.ts", import.meta.url), answerMs: ROW_MS };
const SHORT_SCALE = 0.3;
const DOCUMENT = new URL("../../docs/reliability.md", import.meta.url);

/** Plays the rows on all backends at the same time, and prints what came of it. Resolves with the exit code. */
export async function chaos(options: ChaosOptions): Promise<number> {
  const startedAt = performance.now();
  const scale = options.short ? SHORT_SCALE : 1;
  const results: Result[] = [];
  await Promise.all(
    options.backends.map(async ({ name }) => {
      let director = startWorker<DirectorMethods>(DIRECTOR);
      for (const { name: row } of options.rows) {
        let result: Result;
        try {
          result = await director.ask("play", { backend: name, row, scale });
        } catch (error) {
          result = { backend: name, row, tookMs: ROW_MS, breaches: [messageOf(error)] };
          // Whatever it hangs in ends with it.
          await director.kill();
          director = startWorker<DirectorMethods>(DIRECTOR);
        }
        results.push(result);
        print(progress(result));
      }
      await director.kill();
    }),
  );
  const broken = results.filter(({ breaches }) => breaches.length > 0);
  const text = table(results);
  print(`\n${text}\n`);
  if (options.whole) await writeBetween(DOCUMENT, "chaos", text, footnotes());
  const took = `${((performance.now() - startedAt) / 60_000).toFixed(1)} min`;
  if (broken.length === 0) print(`${results.length} rows, all within their limits, in ${took}.`);
  else
    print(
      styleText(
        "red",
        `${broken.length} of ${results.length} rows broke their limits: ${broken.map(nameOf).join(", ")}`,
      ),
    );
  return broken.length === 0 ? 0 : 1;
}

function progress(result: Result): string {
  const took = `${(result.tookMs / 1_000).toFixed(0)} s`;
  if (result.no !== undefined) return styleText("dim", `–   ${nameOf(result)}: ${result.no}`);
  if (result.breaches.length === 0) return `${styleText("green", "ok")}  ${nameOf(result)} (${took})`;
  const log = `.cache/chaos/${result.backend}-${result.row}.log`;
  return `${styleText("red", "BROKEN")}  ${nameOf(result)} (${took}; ${log})\n    ${result.breaches.join("\n    ")}`;
}

function nameOf({ backend, row }: Result): string {
  return `${backend}/${row}`;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
