import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { format, resolveConfig } from "prettier";
import { curvesOf } from "./curves.ts";
import type { Options } from "./options.ts";
import { type Played, play } from "./played.ts";
import { ORACLE } from "./subjects.ts";
import { linesOf, tableOf } from "./table.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const DOCUMENT = join(ROOT, "docs", "policies.md");
const PICTURES = join(ROOT, "docs", "simulation");
const BEGIN = "<!-- simulation: written by `npm run simulate` -->";
const END = "<!-- /simulation -->";
/** Those that have a picture, by the beginning of their names. */
const PICTURED = [
  "even 85",
  "two slow 85",
  "pausing 85",
  "failing fast 85",
  "all 85",
  "speeds 2:1",
  "antagonists 90",
  "buoyant",
];

/** Plays all policies in all scenarios, prints what came of it, and writes the documents if all of it was played. */
export async function simulateAll({ scenarios, subjects, seeds, writes }: Options): Promise<void> {
  const rounds: (readonly Played[])[] = [];
  for (const scenario of scenarios) {
    const round: Played[] = [];
    for (const subject of [...subjects, ORACLE]) round.push(await play(scenario, subject, seeds));
    process.stdout.write(`${linesOf(round)}\n`);
    rounds.push(round);
  }
  const table = tableOf(rounds);
  process.stdout.write(`${table}\n`);
  if (!writes) return;
  mkdirSync(PICTURES, { recursive: true });
  for (const round of rounds) {
    const name = round[0]?.scenario.name ?? "";
    if (!PICTURED.some((beginning) => name.startsWith(beginning))) continue;
    writeFileSync(join(PICTURES, `${slug(name)}.svg`), curvesOf(round));
  }
  const text = readFileSync(DOCUMENT, "utf8");
  const from = text.indexOf(BEGIN);
  const to = text.indexOf(END);
  if (from < 0 || to < from) throw new Error(`${DOCUMENT} has no place for the table: ${BEGIN} … ${END}`);
  const next = `${text.slice(0, from)}${BEGIN}\n\n${table}\n\n${text.slice(to)}`;
  writeFileSync(DOCUMENT, await format(next, { ...(await resolveConfig(DOCUMENT)), filepath: DOCUMENT }));
  process.stdout.write("written: docs/policies.md, docs/simulation\n");
}

function slug(name: string): string {
  return name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "");
}
