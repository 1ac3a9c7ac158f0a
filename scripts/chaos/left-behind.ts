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

/** Takes the present state of this process as its beginning. */
export function leftBehind(): LeftBehind {
  const { env, timers } = countedEnv();
  const before = process.getActiveResourcesInfo();
  const present = (): readonly string[] => {
    const more = process.getActiveResourcesInfo();
    for (const kind of before) {
      const place = more.indexOf(kind);
      if (place >= 0) more.splice(place, 1);
    }
    return [...more, ...Array.from({ length: timers() }, () => "timer of ours")];
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
