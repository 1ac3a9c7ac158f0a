import { mkdirSync, writeFileSync } from "node:fs";
import { writeBetween } from "../document.ts";
import { curvesOf } from "./curves.ts";
import type { Options } from "./options.ts";
import { type Played, play } from "./played.ts";
import { ORACLE } from "./subjects.ts";
import { linesOf, tableOf } from "./table.ts";

const DOCUMENT = new URL("../../docs/policies.md", import.meta.url);
const PICTURES = new URL("../../docs/simulation/", import.meta.url);
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
    writeFileSync(new URL(`${slug(name)}.svg`, PICTURES), curvesOf(round));
  }
  await writeBetween(DOCUMENT, "simulation", table);
  process.stdout.write("written: docs/policies.md, docs/simulation\n");
}

function slug(name: string): string {
  return name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "");
}
