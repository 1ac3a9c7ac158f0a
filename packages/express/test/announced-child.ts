import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { onTestFinished, vi } from "vitest";
import type { ProcessOptions } from "./announced-process.ts";

/** A process that is announced, as the one who runs it sees it. */
export interface AnnouncedChild {
  /** All that it printed. */
  readonly out: () => string;
  readonly complaints: () => string;
  /** Sends a signal. */
  signal(name: "SIGTERM" | "SIGINT"): void;
  /** Waits for such a line; fails with all that was printed. */
  printed(pattern: RegExp): Promise<RegExpExecArray>;
  /** Resolves with code and signal when it has ended. */
  readonly ended: Promise<readonly unknown[]>;
}

const SCRIPT = fileURLToPath(new URL("announced-process.ts", import.meta.url));

/** Starts one; it ends with the test. */
export function announcedChild(options: ProcessOptions): AnnouncedChild {
  const child = spawn(process.execPath, ["--conditions", "@rollcall/source", SCRIPT, JSON.stringify(options)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  let [out, complaints] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (complaints += text));
  return {
    out: () => out,
    complaints: () => complaints,
    signal: (name) => void child.kill(name),
    printed: (pattern) =>
      vi.waitFor(
        () => {
          const found = pattern.exec(out);
          if (found === null) throw new Error(`it never printed ${pattern}: ${out}${complaints}`);
          return found;
        },
        { timeout: 20_000, interval: 10 },
      ),
    ended: once(child, "close"),
  };
}

/** Starts one and waits until it serves. */
export async function servingChild(options: ProcessOptions): Promise<AnnouncedChild & { readonly port: number }> {
  const child = announcedChild(options);
  const [, port] = await child.printed(/^serving (\d+)$/m);
  return { ...child, port: Number(port) };
}
