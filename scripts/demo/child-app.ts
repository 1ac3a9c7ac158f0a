import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { until } from "./until.ts";

/** How a process ended. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One of the applications in a process of its own. */
export interface ChildApp {
  readonly pid: number;
  /** Everything it printed so far, on both of its outputs, with the time in ms at which it came. */
  readonly lines: readonly { readonly at: number; readonly text: string }[];
  /** Waits for a line that matches, and returns the match. Fails with all that was printed if it ends before. */
  printed(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>;
  /** Sends a signal; resolves when the process is gone. */
  end(signal: NodeJS.Signals): Promise<Ending>;
  readonly ended: Promise<Ending>;
}

const children = new Set<ChildProcess>();
// Nobody is left behind, however this process ends (except by SIGKILL).
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

/** Starts the built `main.js` of one of the applications. */
export function startChild(main: URL, args: readonly string[]): ChildApp {
  const child = spawn(process.execPath, [fileURLToPath(main), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    // In a group of its own: Ctrl-C at the terminal is for this process, which then ends its children in order.
    detached: true,
  });
  children.add(child);
  const lines: { at: number; text: string }[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (text) => lines.push({ at: performance.now(), text }));
  }
  const ended = new Promise<Ending>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      children.delete(child);
      resolve({ code, signal });
    });
  });
  let ending: Ending | undefined;
  ended.then(
    (how) => (ending = how),
    () => undefined,
  );
  return {
    pid: child.pid ?? 0,
    lines,
    ended,
    printed: async (pattern, timeoutMs = 20_000) => {
      const found = await until(`"${pattern.source}" from ${fileURLToPath(main)}`, timeoutMs, async () => {
        const matches = lines.map(({ text }) => pattern.exec(text));
        return matches.find((match) => match !== null) ?? (ending === undefined ? undefined : "ended");
      });
      if (found !== "ended") return found;
      throw new Error(`${fileURLToPath(main)} ended: ${lines.map(({ text }) => text).join(" | ")}`);
    },
    end: (signal) => {
      child.kill(signal);
      return ended;
    },
  };
}
