import { readdirSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { countedEnv } from "@rollcall/testing/conformance";
import type { Env } from "@rollcall/core";

/** Finds out whether something that was closed has really let go of everything. */
export interface LeftBehind {
  /** For what will be closed: its timers are counted, those that keep no process alive too. */
  readonly env: Env;
  /** What there is now and was not in the beginning. Sockets that are just closing get a moment. */
  look(): Promise<readonly string[]>;
}

const PATIENCE_MS = 2_000;

/** Also those that keep no process alive. 0 where the system does not tell. */
function openSockets(): number {
  try {
    return readdirSync("/proc/self/fd").filter((descriptor) => isSocket(`/proc/self/fd/${descriptor}`)).length;
  } catch {
    return 0;
  }
}

function isSocket(descriptor: string): boolean {
  try {
    return readlinkSync(descriptor).startsWith("socket:");
  } catch {
    return false; // the one that the folder was read with
  }
}

/** Takes the present state of this process as its beginning. */
export function leftBehind(): LeftBehind {
  const { env, timers } = countedEnv();
  // Node opens them when they are first looked at, which its own pipe() does.
  void [process.stdout, process.stderr];
  const before = process.getActiveResourcesInfo();
  const socketsBefore = openSockets();
  const present = (): readonly string[] => {
    const more = process.getActiveResourcesInfo();
    for (const kind of before) {
      const place = more.indexOf(kind);
      if (place >= 0) more.splice(place, 1);
    }
    const sockets = Math.max(0, openSockets() - socketsBefore);
    return [...more, ...Array<string>(timers()).fill("timer"), ...Array<string>(sockets).fill("open socket")];
  };
  return {
    env,
    async look() {
      let found = present();
      const deadline = performance.now() + PATIENCE_MS;
      while (found.length > 0 && performance.now() < deadline) {
        await sleep(20, undefined, { ref: false });
        found = present();
      }
      return found;
    },
  };
}
