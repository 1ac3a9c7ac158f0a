import { setTimeout as sleep } from "node:timers/promises";
import type { Line } from "./line.ts";
import { type Load, startLoad } from "./load.ts";

/** How busy the servers are kept while something happens to them. */
export const CALLS_PER_SECOND = 200;

/** How long the load runs before something happens, and on after it. */
const LEAD_MS = 400;
export const TAIL_MS = 800;

/** Runs something while calls stream in, a while before it and a while after. Not one of them may fail. */
export async function underLoad(
  clientUrl: string,
  title: string,
  act: (load: Load) => Promise<{ readonly ok: boolean; readonly seen: string }>,
): Promise<Line> {
  const load = startLoad(clientUrl, CALLS_PER_SECOND);
  await sleep(LEAD_MS);
  // Whatever happens, the load ends with the step.
  const [acted] = await Promise.allSettled([act(load)]);
  await sleep(TAIL_MS);
  const tally = await load.stop();
  if (acted.status === "rejected") throw acted.reason;
  const { ok, seen } = acted.value;
  const [failure] = tally.failures;
  if (failure !== undefined) return { title, tally, ok: false, seen: `the first failure: ${failure}` };
  return { title, tally, ok: ok && tally.calls > CALLS_PER_SECOND * 0.8, seen };
}
