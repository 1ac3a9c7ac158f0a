// What the tests of backends against real servers have in common.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Instancer, Snapshot } from "@rollcall/core";
import { afterAll, expect } from "vitest";

/** Waits for something to become true; fails with what it was waiting for. Resolves with how long it took. */
export async function until(what: string | (() => string), isTrue: () => unknown, withinMs = 5_000): Promise<number> {
  const startMs = performance.now();
  while (!(await isTrue())) {
    if (performance.now() - startMs > withinMs) {
      expect.unreachable(`waited ${withinMs} ms in vain until ${typeof what === "string" ? what : what()}`);
    }
    await pause(5);
  }
  return performance.now() - startMs;
}

export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** How long something takes, whether it succeeds or not. */
export async function timed(work: Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work.catch(() => undefined);
  return performance.now() - startMs;
}

/** Listens to an instancer, and keeps everything that it ever said. */
export function follow(instancer: Instancer) {
  const history: Snapshot[] = [];
  instancer.subscribe(() => history.push(instancer.snapshot));
  return {
    history,
    get snapshot() {
      return instancer.snapshot;
    },
    get ids() {
      return instancer.snapshot.instances.map(({ id }) => id);
    },
    get neverEmpty() {
      return history.every(({ instances }) => instances.length > 0);
    },
    becomes: (state: Snapshot["state"], withinMs?: number) =>
      until(`it is ${state}`, () => instancer.snapshot.state === state, withinMs),
    shows: (ids: readonly string[], withinMs?: number) =>
      until(
        () => `it shows ${ids.join(", ") || "nothing"}, but it is ${describe(instancer.snapshot)}`,
        () =>
          instancer.snapshot.state === "live" &&
          String(instancer.snapshot.instances.map(({ id }) => id)) === String(ids),
        withinMs,
      ),
  };
}

const describe = ({ state, instances }: Snapshot) =>
  `${state} with ${instances.map(({ id }) => id).join(", ") || "none"}`;

let services = 0;
/** A name that no other test uses. */
export const newService = (): string => `lorem-${process.pid}-${++services}`;

/** Ends what a test file has started, whatever happened in it. */
export function closeAfterwards(close: () => Promise<unknown> | undefined): void {
  afterAll(async () => void (await close()));
}

/** How a process ended. */
export interface Ending {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Between the last that it said and its end. */
  readonly lingeredMs: number;
}

/**
 * Runs a module in a process of its own, with `pause` in scope, and `say`, which prints a line. One that hangs is killed.
 * `onLine` hears each line; the process waits for nothing that it does.
 */
export function run(body: string, onLine: (line: string) => unknown = () => undefined): Promise<Ending> {
  const program = `
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const say = (line) => process.stdout.write(line + "\\n");
    process.on("unhandledRejection", (error) => say("unhandled " + error));
    process.on("warning", ({ name, message }) => say("warning " + name + " " + message));
    ${body}`;
  return new Promise((resolve) => {
    let lastMs = performance.now();
    const child = execFile(
      process.execPath,
      [
        "--conditions=@rollcall/source",
        "--disable-warning=ExperimentalWarning",
        "--input-type=module",
        "--eval",
        program,
      ],
      { cwd: fileURLToPath(new URL("..", import.meta.url)), timeout: 30_000, killSignal: "SIGKILL" },
      (_error, stdout, stderr) =>
        resolve({ code: child.exitCode, stdout, stderr, lingeredMs: performance.now() - lastMs }),
    );
    let rest = "";
    child.stdout?.on("data", (chunk: string) => {
      lastMs = performance.now();
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) onLine(line);
    });
  });
}
