// `npm run gateway -w bench`: the gateway of @rollcall/express beside a proxy that is written by hand and http-proxy-3.
//
// Paired and interleaved: every proxy is a process of its own, all stand beside each other, and each gets a short slice
// of load in turns; the slices of one round are compared with each other only. What is printed are medians over the
// rounds. A second process of the hand-written proxy runs along as a control: where it differs from the first by more
// than CONTROL, the machine was too busy to tell anything, and nothing is printed.
import { type Child, child } from "./gateway/child.ts";
import { Load, type Shape } from "./gateway/load.ts";

const CONTROL = 0.03;
const CONNECTIONS = 32;
const SLICE_MS = 300;
const WARM_UP_MS = 1_500;
const SUBJECTS = ["base", "rollcall", "http-proxy-3", "base"] as const;
const rounds = Number(process.argv[2] ?? 20);

const SHAPES: readonly Shape[] = [
  { title: "small JSON answer", method: "GET", path: "/json", body: null },
  { title: "64 KiB answer", method: "GET", path: "/block", body: null },
  { title: "64 KiB upload", method: "POST", path: "/upload", body: Buffer.alloc(65_536, "x") },
];

interface Subject {
  readonly name: string;
  readonly process: Child;
  readonly load: Load;
}

/** Of one subject under one shape, by round. */
interface Series {
  readonly perSecond: number[];
  readonly cpuMicros: number[];
}

const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return (
    ((sorted[Math.floor((sorted.length - 1) / 2)] ?? NaN) + (sorted[Math.ceil((sorted.length - 1) / 2)] ?? NaN)) / 2
  );
};

async function measure(subjects: readonly Subject[], shape: Shape): Promise<Series[]> {
  const series = subjects.map((): Series => ({ perSecond: [], cpuMicros: [] }));
  for (const { load } of subjects) await load.run(shape, WARM_UP_MS);
  for (let round = 0; round < rounds; round++) {
    // Each begins as often as every other.
    for (let turn = 0; turn < subjects.length; turn++) {
      const index = (turn + round) % subjects.length;
      const subject = subjects[index];
      const of = series[index];
      if (subject === undefined || of === undefined) continue;
      const before = await subject.process.cpuMs();
      const { answers, tookMs } = await subject.load.run(shape, SLICE_MS);
      of.perSecond.push((answers / tookMs) * 1_000);
      of.cpuMicros.push((((await subject.process.cpuMs()) - before) / answers) * 1_000);
    }
  }
  return series;
}

const instances = await child("instance.ts", []);
const ports = (instances.said as number[]).map(String);
const subjects: Subject[] = [];
for (const name of SUBJECTS) {
  const process = await child("subject.ts", [name, ...ports]);
  subjects.push({ name, process, load: new Load(process.said as number, CONNECTIONS) });
}

let refused = false;
for (const shape of SHAPES) {
  const series = await measure(subjects, shape);
  const [base] = series;
  const control = series.at(-1);
  if (base === undefined || control === undefined) break;
  const ratio = (of: Series): number =>
    median(of.perSecond.map((value, round) => value / (base.perSecond[round] ?? NaN)));
  const off = ratio(control) - 1;
  process.stdout.write(`${shape.title}\n`);
  if (Math.abs(off) > CONTROL) {
    refused = true;
    process.stdout.write(`  refused: the base differs from itself by ${(off * 100).toFixed(1)} %\n`);
    if (process.env.ANYWAY === undefined) continue;
  }
  for (const [index, of] of series.entries()) {
    const name = index === series.length - 1 ? "base, itself" : (subjects[index]?.name ?? "");
    const columns = [
      `${ratio(of).toFixed(2)} of base`,
      `${median(of.perSecond).toFixed(0)} req/s`,
      `${median(of.cpuMicros).toFixed(0)} µs of CPU per request`,
    ];
    process.stdout.write(`  ${name.padEnd(14)} ${columns.map((column) => column.padStart(16)).join("  ")}\n`);
  }
}
await Promise.all(subjects.map(({ load }) => load.close()));
await Promise.all([...subjects.map((subject) => subject.process.close()), instances.close()]);
process.exitCode = refused ? 1 : 0;
