// `npm run gateway -w bench`: the gateway of @rollcall/express beside a proxy that is written by hand, and http-proxy-3.
//
// Paired and interleaved: every proxy is a process of its own, all stand beside each other, and in each round each gets two
// short slices of load, there and back (A B C C B A), so that what drifts in a round hits all alike. Slices are compared
// within their round only; what is printed are medians over the rounds: requests per second, and the time of a processor
// that each one took, which is what is left of throughput where others use the machine as well. A second process of the
// hand-written proxy runs along as a control: by how much it differs from the first (two processes of one program easily do
// by a tenth) is how exact the other ratios are. Beyond CONTROL nothing is printed, and the command fails.
//
// `npm run gateway -w bench -- 60` plays 60 rounds instead of 15.
import { type Child, child } from "./measuring/child.ts";
import { Load, type Shape } from "./gateway/load.ts";
import { median } from "./measuring/median.ts";

const CONTROL = 0.2;
const CONNECTIONS = 32;
const SLICE_MS = 120;
const WARM_UP_MS = 1_500;
/** The first is what the others are compared with, the last is the control. */
const SUBJECTS = ["base", "rollcall", "http-proxy-3", "http-proxy-3, kept", "base"] as const;
const rounds = Number(process.argv[2] ?? 15);

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

/** What one subject has done in one round. */
interface Round {
  answers: number;
  tookMs: number;
  cpuMs: number;
}

async function slice({ process, load }: Subject, shape: Shape, round: Round): Promise<void> {
  const before = await process.cpuMs();
  const { answers, tookMs } = await load.run(shape, SLICE_MS);
  round.answers += answers;
  round.tookMs += tookMs;
  round.cpuMs += (await process.cpuMs()) - before;
}

/** The rounds of each subject. */
async function measure(subjects: readonly Subject[], shape: Shape): Promise<Round[][]> {
  for (const { load } of subjects) await load.run(shape, WARM_UP_MS);
  const measured: Round[][] = subjects.map(() => []);
  for (let number = 0; number < rounds; number++) {
    const slots = subjects.map((subject) => ({ subject, round: { answers: 0, tookMs: 0, cpuMs: 0 } }));
    // Each begins as often as every other.
    const order = [...slots.slice(number % slots.length), ...slots.slice(0, number % slots.length)];
    for (const { subject, round } of [...order, ...order.toReversed()]) await slice(subject, shape, round);
    for (const [index, { round }] of slots.entries()) measured[index]?.push(round);
  }
  return measured;
}

const perSecond = ({ answers, tookMs }: Round): number => (answers / tookMs) * 1_000;
const cpuMicros = ({ answers, cpuMs }: Round): number => (cpuMs / answers) * 1_000;

/** What is compared: of each round a number. */
const MEASURES = [
  { title: "req/s", of: perSecond },
  { title: "µs of CPU each", of: cpuMicros },
];

/** How a subject did beside the base: the median over the rounds. */
function ratio(of: readonly Round[], base: readonly Round[], value: (round: Round) => number): number {
  return median(of.map((round, number) => value(round) / value(base[number] ?? round)));
}

/** The measures, and by how much the base differs from itself in each. */
function controlled(measured: readonly Round[][]) {
  const [base = [], itself = []] = [measured[0], measured.at(-1)];
  return MEASURES.map(({ title, of }) => ({ title, of, off: ratio(itself, base, of) - 1 }));
}

/** The table of one kind of request: only what the control bears out. */
function table(shape: Shape, measured: readonly Round[][], measures: ReturnType<typeof controlled>): string {
  const valid = measures.filter(({ off }) => Math.abs(off) <= CONTROL);
  const lines = [
    shape.title.padEnd(20) + valid.map(({ title }) => title.padStart(16) + "of base".padStart(10)).join(""),
  ];
  for (const [index, rounds] of valid.length === 0 ? [] : measured.entries()) {
    const name = index === measured.length - 1 ? "base, itself" : (SUBJECTS[index] ?? "");
    const columns = valid.map(({ of }) => {
      const beside = ratio(rounds, measured[0] ?? [], of).toFixed(2);
      return median(rounds.map(of)).toFixed(0).padStart(16) + beside.padStart(10);
    });
    lines.push(name.padEnd(20) + columns.join(""));
  }
  for (const { title, off } of measures.filter((measure) => !valid.includes(measure))) {
    lines.push(`  no ${title}: the base differs from itself by ${(off * 100).toFixed(1)} %, so nothing can be told`);
  }
  return `${lines.join("\n")}\n\n`;
}

const instances = await child(new URL("gateway/instance.ts", import.meta.url), []);
const ports = (instances.said as readonly number[]).map(String);
const subjects: Subject[] = [];
for (const name of SUBJECTS) {
  const process = await child(new URL("gateway/subject.ts", import.meta.url), [name, ...ports]);
  subjects.push({ name, process, load: new Load(name, process.said as number, CONNECTIONS) });
}
for (const shape of SHAPES) {
  const measured = await measure(subjects, shape);
  const measures = controlled(measured);
  process.stdout.write(table(shape, measured, measures));
  if (!measures.every(({ off }) => Math.abs(off) <= CONTROL)) process.exitCode = 1;
}
await Promise.all(subjects.map(({ load }) => load.close()));
await Promise.all([...subjects.map((subject) => subject.process.close()), instances.close()]);
