// `npm run calls -w bench`: what a call costs who makes it, beside undici by hand and what else is in use.
//
// Paired: in one process, in turns of a few hundred milliseconds, floor and caller, caller and floor (A B B A), so that
// what drifts hits both alike. In each round, all are opened anew, the floor first or last by turns. What is printed are
// medians over the rounds of medians over the pairs: calls per second, and the time of a processor that each call took,
// as ratios. The floor is played beside a second one of its own, too, as a control: where these two differ by more than
// CONTROL, the machine does something else, nothing is printed, and the command fails.
//
//   npm run calls -w bench -- [--rounds n] [--write] [name …]
import { parseArgs } from "node:util";
import { CALLERS, type Caller } from "./calls/callers.ts";
import { child } from "./measuring/child.ts";
import { median } from "./measuring/median.ts";
import { record } from "./measuring/record.ts";

const CONTROL = 0.03;
const UNDER_WAY = 48;
const SLICE_MS = 150;
const WARM_UP_MS = 500;
/** In a round. */
const PAIRS = 8;

const { values, positionals } = parseArgs({
  options: { rounds: { type: "string", default: "8" }, write: { type: "boolean" } },
  allowPositionals: true,
});
const rounds = Number(values.rounds);
const [floor = "", ...others] = Object.keys(CALLERS);
const wanted = others.filter((name) => positionals.length === 0 || positionals.some((part) => name.includes(part)));

/** What one caller has done in one slice. */
interface Slice {
  readonly perSecond: number;
  readonly cpuMicros: number;
}

/** Keeps so many calls under way for a while. */
async function slice({ call }: Caller, forMs: number): Promise<Slice> {
  const startedMs = performance.now();
  const before = process.cpuUsage();
  const untilMs = startedMs + forMs;
  let calls = 0;
  const lane = async (): Promise<void> => {
    do {
      await call();
      calls++;
    } while (performance.now() < untilMs);
  };
  await Promise.all(Array.from({ length: UNDER_WAY }, lane));
  const { user, system } = process.cpuUsage(before);
  return { perSecond: (calls / (performance.now() - startedMs)) * 1_000, cpuMicros: (user + system) / calls };
}

/** One caller beside another. */
interface Ratio {
  readonly perSecond: number;
  readonly cpu: number;
}

/** Both anew, in turns: what the opening of connections makes of one of them stays for as long as they are open. */
async function round(name: string, turn: number): Promise<Ratio> {
  const names = turn % 2 === 0 ? [floor, name] : [name, floor];
  const opened = names.map(open);
  const [base, caller] = (turn % 2 === 0 ? opened : opened.toReversed()) as [Caller, Caller];
  for (const each of opened) await slice(each, WARM_UP_MS);
  const ratios: Ratio[] = [];
  for (let pair = 0; pair < PAIRS; pair++) {
    const [first, second] = pair % 2 === 0 ? [base, caller] : [caller, base];
    const one = await slice(first, SLICE_MS);
    const other = await slice(second, SLICE_MS);
    const [its, floors] = first === base ? [other, one] : [one, other];
    ratios.push({ perSecond: its.perSecond / floors.perSecond, cpu: its.cpuMicros / floors.cpuMicros });
    bases.push(floors);
  }
  for (const each of opened) await each.close();
  return middle(ratios);
}

function middle(ratios: readonly Ratio[]): Ratio {
  return {
    perSecond: median(ratios.map(({ perSecond }) => perSecond)),
    cpu: median(ratios.map(({ cpu }) => cpu)),
  };
}

const origins = await child(new URL("calls/origin.ts", import.meta.url), []);
const ports = origins.said as readonly number[];
const open = (name: string): Caller => (CALLERS[name] as (typeof CALLERS)[string])(ports);
const bases: Slice[] = [];
try {
  // Round by round through all of them, so that no row has a time of its own.
  const rows = new Map<string, Ratio[]>([floor, ...wanted].map((name) => [name, []]));
  for (let turn = 0; turn < rounds; turn++) {
    for (const [name, ratios] of rows) ratios.push(await round(name, turn));
  }
  const control = middle(rows.get(floor) ?? []);
  const exact = Math.max(Math.abs(control.perSecond - 1), Math.abs(control.cpu - 1));
  if (exact > CONTROL) {
    process.stderr.write(
      `calls: the floor differs from itself by ${(100 * exact).toFixed(1)} %, more than ${100 * CONTROL}: nothing to tell\n`,
    );
    process.exitCode = 1;
  } else {
    const perSecond = median(bases.map((each) => each.perSecond));
    const cpuMicros = median(bases.map((each) => each.cpuMicros));
    const lines = wanted.map((name) => {
      const ratio = middle(rows.get(name) ?? []);
      return `| ${name} | ${ratio.perSecond.toFixed(2)} | ${ratio.cpu.toFixed(2)} |`;
    });
    const text =
      `${floor}: ${perSecond.toFixed(0)} calls/s, ${cpuMicros.toFixed(1)} µs of CPU each; ` +
      `from itself it differs by ${(100 * exact).toFixed(1)} %\n\n| | calls/s | CPU a call |\n|---|--:|--:|\n`;
    await record("calls", text + lines.join("\n"), ["undici", "axios"]);
  }
} finally {
  await origins.close();
}
