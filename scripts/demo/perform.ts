import { styleText } from "node:util";
import { messageOf } from "@rollcall/core";
import type { Line } from "./line.ts";
import { table } from "./table.ts";

/** What every stage has. */
interface Closable {
  /** In words, for the first line. */
  readonly description: string;
  /** Ends everything that was started. */
  close(): Promise<void>;
}

/** Something to be told on a stage, in the order of its parts. */
export interface Piece<S extends Closable> {
  /** The name of the command, for errors. */
  readonly name: string;
  /** Said while the stage is being set. */
  readonly opening: string;
  set(): Promise<S>;
  story(stage: S, tell: (text: string) => void): AsyncIterable<Line>;
  /** What is said when everything is left running until Ctrl-C. Undefined: nothing is. */
  readonly encore?: ((stage: S) => string) | undefined;
}

/**
 * Plays a whole piece and prints what happens. Resolves with the exit code: 0 if every line held, 1 if one did not, 130
 * when it was interrupted. Whatever it started has ended by then.
 */
export async function perform<S extends Closable>(piece: Piece<S>): Promise<number> {
  const startedAt = performance.now();
  const interrupted = interruption();
  let over = false;
  void interrupted.then(() => (over = true));
  print(piece.opening);
  let stage: S;
  try {
    stage = await piece.set();
  } catch (error) {
    print(styleText("red", `${piece.name}: ${messageOf(error)}`));
    return 1;
  }
  try {
    if (over) return 130;
    print(`${styleText("bold", "Rollcall")}: ${stage.description}.\n`);
    const lines = await Promise.race([play(piece, stage, () => over), interrupted]);
    if (lines === "interrupted") return 130;
    const held = lines.every(({ ok }) => ok);
    print(`\n${table(lines)}\n`);
    print(held ? `Every line held, in ${seconds(startedAt)}.` : styleText("red", "Not every line held."));
    if (piece.encore !== undefined) {
      print(`\n${piece.encore(stage)}`);
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
async function play<S extends Closable>(piece: Piece<S>, stage: S, over: () => boolean): Promise<readonly Line[]> {
  const lines: Line[] = [];
  let told = "";
  const tell = (text: string): void => {
    told = text;
    print(styleText("dim", `· ${text}`));
  };
  try {
    for await (const line of piece.story(stage, tell)) {
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

function seconds(startedAt: number): string {
  return `${((performance.now() - startedAt) / 1_000).toFixed(1)} s`;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
