import { styleText } from "node:util";
import { messageOf } from "@rollcall/core";
import { memoryStage } from "./memory-stage.ts";
import type { DemoOptions } from "./options.ts";
import { processStage } from "./process-stage.ts";
import type { Stage } from "./stage.ts";
import { type Line, story } from "./story.ts";
import { table } from "./table.ts";

/**
 * Plays the whole demo and prints what happens. Resolves with the exit code: 0 if every line held, 1 if one did not, 130
 * when it was interrupted. Whatever it started has ended by then.
 */
export async function demo(options: DemoOptions): Promise<number> {
  const startedAt = performance.now();
  const interrupted = interruption();
  let over = false;
  void interrupted.then(() => (over = true));
  const { kind, url } = options;
  print(
    kind !== undefined && url === undefined ? `Looking for ${kind.title}, or starting it …` : "Setting the stage …",
  );
  const setting = kind === undefined ? memoryStage() : processStage(kind, url);
  let stage: Stage;
  try {
    stage = await setting;
  } catch (error) {
    print(styleText("red", `demo: ${messageOf(error)}`));
    return 1;
  }
  try {
    if (over) return 130;
    print(`${styleText("bold", "Rollcall")}: ${stage.description}.\n`);
    const lines = await Promise.race([play(stage, () => over), interrupted]);
    if (lines === "interrupted") return 130;
    const held = lines.every(({ ok }) => ok);
    print(`\n${table(lines)}\n`);
    print(held ? `Every line held, in ${seconds(startedAt)}.` : styleText("red", "Not every line held."));
    if (options.keep) {
      print(`\n${whatToTry(stage)}`);
      await interrupted;
    }
    return held ? 0 : 1;
  } finally {
    await stage.close();
  }
}

/**
 * Tells the story. A step that throws is a line that did not hold, and ends it: what follows builds on it. Once it is
 * `over` not a word more: what then fails does so because the stage is being taken down.
 */
async function play(stage: Stage, over: () => boolean): Promise<readonly Line[]> {
  const lines: Line[] = [];
  let told = "";
  const tell = (text: string): void => {
    told = text;
    print(styleText("dim", `· ${text}`));
  };
  try {
    for await (const line of story(stage, tell)) {
      if (over()) break;
      lines.push(line);
      const calls = line.tally === undefined ? "" : `${line.tally.calls} calls, ${line.tally.failures.length} failed: `;
      print(`  ${line.ok ? styleText("green", "ok") : styleText("red", "NOT OK")}  ${calls}${line.seen}`);
    }
  } catch (error) {
    lines.push({ title: told, seen: messageOf(error), ok: false });
  }
  return lines;
}

/** Resolves at the first Ctrl-C, which ends everything in good order; the second ends this process at once. */
function interruption(): Promise<"interrupted"> {
  return new Promise((resolve) => {
    let interrupted = false;
    const onSignal = (): void => {
      if (interrupted) process.exit(130);
      interrupted = true;
      print("\nEnding …");
      resolve("interrupted");
    };
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
  });
}

function whatToTry({ clientUrl }: Stage): string {
  return [
    "It is left running. Try this, more than once, and look at the x-instance header:",
    `  curl -i -X POST ${clientUrl}/sd-lorem -H 'content-type: application/json' -d '{"requestType":"word","min":3,"max":10}'`,
    `  curl -i -X POST ${clientUrl}/api/lorem/sentence/3/10     # the same through the gateway`,
    `  curl ${clientUrl}/sd-lorem/instances                     # what the client knows`,
    "Ctrl-C ends it.",
  ].join("\n");
}

function seconds(startedAt: number): string {
  return `${((performance.now() - startedAt) / 1_000).toFixed(1)} s`;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
