// `npm run calls -w bench`: what a call costs who makes it, beside undici by hand and what else is in use.
//
// Paired: in one process, in turns of a few hundred milliseconds, floor and caller, caller and floor (A B B A), so that
// what drifts hits both alike. What is printed are medians over the pairs: calls per second, and the time of a processor
// that each call took, as ratios. The floor is played beside a second one of its own, too, as a control: where these two
// differ by more than CONTROL, the machine does something else, nothing is printed, and the command fails.
//
//   npm run calls -w bench -- [--pairs n] [name …]
import { parseArgs } from "node:util";
import { CALLERS, type Caller } from "./calls/callers.ts";
import { child } from "./measuring/child.ts";
import { median } from "./measuring/median.ts";

const CONTROL = 0.03;
const UNDER_WAY = 48;
const SLICE_MS = 150;
const WARM_UP_MS = 1_000;

const { values, positionals } = parseArgs({
  options: { pairs: { type: "string", default: "40" } },
  allowPositionals: true,
});
const pairs = Number(values.pairs);
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

/** A caller beside the floor: medians over the pairs. */
async function compare(caller: Caller, base: Caller): Promise<{ perSecond: number; cpu: number; base: Slice }> {
  await slice(caller, WARM_UP_MS);
  await slice(base, WARM_UP_MS);
  const ratios: { perSecond: number; cpu: number }[] = [];
  const bases: Slice[] = [];
  for (let pair = 0; pair < pairs; pair++) {
    const [first, second] = pair % 2 === 0 ? [base, caller] : [caller, base];
    const one = await slice(first, SLICE_MS);
    const other = await slice(second, SLICE_MS);
    const [its, floors] = first === base ? [other, one] : [one, other];
    ratios.push({ perSecond: its.perSecond / floors.perSecond, cpu: its.cpuMicros / floors.cpuMicros });
    bases.push(floors);
  }
  return {
    perSecond: median(ratios.map(({ perSecond }) => perSecond)),
    cpu: median(ratios.map(({ cpu }) => cpu)),
    base: {
      perSecond: median(bases.map(({ perSecond }) => perSecond)),
      cpuMicros: median(bases.map(({ cpuMicros }) => cpuMicros)),
    },
  };
}

const origins = await child(new URL("calls/origin.ts", import.meta.url), []);
const ports = origins.said as readonly number[];
const open = (name: string): Caller => (CALLERS[name] as (typeof CALLERS)[string])(ports);
const base = open(floor);
try {
  const itself = open(floor);
  const control = await compare(itself, base);
  await itself.close();
  const exact = Math.max(Math.abs(control.perSecond - 1), Math.abs(control.cpu - 1));
  if (exact > CONTROL) {
    process.stderr.write(
      `calls: the floor differs from itself by ${(100 * exact).toFixed(1)} %, more than ${100 * CONTROL}: nothing to tell\n`,
    );
    process.exitCode = 1;
  } else {
    process.stdout.write(
      `${floor}: ${control.base.perSecond.toFixed(0)} calls/s, ${control.base.cpuMicros.toFixed(1)} µs of CPU each; ` +
        `from itself it differs by ${(100 * exact).toFixed(1)} %\n\n| | calls/s | CPU a call |\n|---|--:|--:|\n`,
    );
    for (const name of wanted) {
      const caller = open(name);
      const { perSecond, cpu } = await compare(caller, base);
      process.stdout.write(`| ${name} | ${perSecond.toFixed(2)} | ${cpu.toFixed(2)} |\n`);
      await caller.close();
    }
  }
} finally {
  await base.close();
  await origins.close();
}
