import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "@rollcall/core";

/**
 * Waits until `look` finds something (anything but `undefined` and `false`), and returns it. Gives up after
 * `timeoutMs`, with an error that says what was waited for and what was seen last.
 */
export async function until<T>(
  what: string,
  timeoutMs: number,
  look: () => Promise<T | undefined | false>,
  everyMs = 20,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let last = "";
  for (;;) {
    try {
      const found = await look();
      if (found !== undefined && found !== false) return found;
    } catch (error) {
      last = ` (${messageOf(error)})`;
    }
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs / 1_000} s${last}`);
    await sleep(everyMs);
  }
}
