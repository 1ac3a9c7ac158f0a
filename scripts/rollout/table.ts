import { backends } from "../chaos/backends.ts";
import { tableOf } from "../chaos/table.ts";
import { TITLES } from "./framework.ts";
import { plays } from "./plays.ts";
import type { Result } from "./result.ts";
import { WAY_TITLES } from "./way.ts";

const HEAD = ["What happens", "Servers", "Client", "Registry", "Calls", "POSTs", "Failed", "Twice", "Lost", "Took", ""];
const isNumber = (column: number): boolean => column >= 4 && column <= 9;

/** The results as one table, in the order of the suite, for a terminal and for Markdown alike. */
export function table(results: readonly Result[]): string {
  return tableOf(HEAD, results.map(cells), isNumber);
}

function cells({ play: name, framework, backend, measures, breaches, tookMs }: Result): readonly string[] {
  const play = plays.find((each) => each.name === name);
  const registry = backends.find((each) => each.name === backend)?.title ?? backend;
  const took = `${(tookMs / 1_000).toFixed(0)} s`;
  const what = [play?.title ?? name, TITLES[framework], play === undefined ? "" : WAY_TITLES[play.way], registry];
  const verdict = breaches.length === 0 ? ["ok", ...(measures?.notes ?? [])].join(": ") : "**BROKEN**";
  if (measures === undefined) return [...what, "–", "–", "–", "–", "–", took, verdict];
  const { calls, posts, failures, twice, lost } = measures;
  const numbers = [calls, posts, failures.length, twice, lost].map((number) => number.toLocaleString("en"));
  return [...what, ...numbers, took, verdict];
}
