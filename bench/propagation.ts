// `npm run propagation -w bench`: how long it takes from a registration until a subscriber in another process has it.
//
// A real Consul, and a real etcd; each scheme watches in a process of its own, a service of its own with 20 instances that
// stay as they are, and one that moves to another port again and again. The schemes take turns, in blocks of a few
// changes, each round in another order; only whose turn it is hears anything. Time runs from just before the write is
// sent, and so includes the registry's own part of it. In a burst, changes are written back to back, and time runs from
// just before the last is sent until the last is seen.
//
// Printed are, for all rounds together, quantiles in milliseconds, and the medians over the rounds of what they are of the
// floor's in the same round. The p99 of a scheme is that of all its changes. A second process of the floor runs along as
// a control: where it differs from the first by more than CONTROL, nothing is printed, and the command fails. The p99 of
// a few hundred changes is what a busy machine makes of it: from CONTROL_P99 on, that column is left out.
//
//   npm run propagation -w bench -- [--rounds n] [--write] [consul | etcd …]
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { startConsul, startEtcd } from "@rollcall/testing/servers";
import { median } from "./measuring/median.ts";
import { quantile } from "./measuring/quantile.ts";
import { record } from "./measuring/record.ts";
import { CONSUL_SCHEMES } from "./watching/consul-schemes.ts";
import { ETCD_SCHEMES } from "./watching/etcd-schemes.ts";
import { MOVING } from "./watching/scheme.ts";
import { type Subscription, subscription } from "./watching/subscription.ts";
import { type Writer, consulWriter, etcdWriter, populate } from "./watching/writer.ts";

const CONTROL = 0.1;
const CONTROL_P99 = 0.25;
const OTHERS = 20;
const BLOCK = 20;
const BURST = 50;
/** Between two changes, so that every scheme is waiting for the next one again. */
const REST_MS = 5;

// What a disk takes to write is no part of this: where there is a place in memory, the registries' data are there.
if (existsSync("/dev/shm")) process.env["TMPDIR"] = "/dev/shm";

const { values, positionals } = parseArgs({
  options: { rounds: { type: "string", default: "24" }, write: { type: "boolean" } },
  allowPositionals: true,
});
const rounds = Number(values.rounds);

interface Subject {
  readonly name: string;
  readonly service: string;
  readonly process: Subscription;
  /** Of each round: every change, and the burst; milliseconds. */
  readonly changes: number[][];
  readonly bursts: number[];
}

/** The port of the next change: none is ever used twice. */
let port = 1_000;

async function change(writer: Writer, { service, process: watching }: Subject): Promise<number> {
  const to = (port = (port % 60_000) + 1);
  const sentAt = process.hrtime.bigint();
  await writer.write(service, MOVING, to);
  return Number((await watching.seen(0, to)) - sentAt) / 1e6;
}

async function block(writer: Writer, subject: Subject): Promise<void> {
  const changes: number[] = [];
  for (let number = 0; number < BLOCK; number++) {
    await sleep(REST_MS);
    changes.push(await change(writer, subject));
  }
  subject.changes.push(changes);
  for (let number = 1; number < BURST; number++)
    await writer.write(subject.service, MOVING, (port = (port % 60_000) + 1));
  subject.bursts.push(await change(writer, subject));
}

async function play(registry: "consul" | "etcd", url: string, writer: Writer, names: readonly string[]): Promise<void> {
  const [floor = ""] = names;
  const subjects: Subject[] = [];
  for (const [number, name] of [...names, floor].entries()) {
    const prefix = `${registry}-${number}`;
    await populate(writer, `${prefix}-0`, OTHERS);
    const watching = await subscription(registry, name, url, prefix);
    subjects.push({ name, service: `${prefix}-0`, process: watching, changes: [], bursts: [] });
  }
  for (const subject of subjects) await block(writer, subject); // warms up
  for (const { changes, bursts } of subjects) changes.length = bursts.length = 0;
  for (let round = 0; round < rounds; round++) {
    const first = round % subjects.length;
    for (const subject of [...subjects.slice(first), ...subjects.slice(0, first)]) await block(writer, subject);
  }
  await Promise.all(subjects.map(({ process: watching }) => watching.close()));
  tables.push(table(registry, subjects));
}

/** A measure of a subject, and what it is of the base's. */
const MEASURES = [
  {
    title: "p50",
    of: ({ changes }: Subject) => median(changes.flat()),
    beside: (subject: Subject, base: Subject) =>
      perRound(subject, base, ({ changes }, round) => median(changes[round] ?? [])),
    control: CONTROL,
  },
  {
    title: "p99",
    of: ({ changes }: Subject) => quantile(changes.flat(), 0.99),
    beside: (subject: Subject, base: Subject) =>
      quantile(subject.changes.flat(), 0.99) / quantile(base.changes.flat(), 0.99),
    control: CONTROL_P99,
  },
  {
    title: "burst",
    of: ({ bursts }: Subject) => median(bursts),
    beside: (subject: Subject, base: Subject) => median(subject.bursts) / median(base.bursts),
    control: CONTROL_P99,
  },
];

function perRound(subject: Subject, base: Subject, of: (subject: Subject, round: number) => number): number {
  return median(subject.changes.map((_, round) => of(subject, round) / of(base, round)));
}

function table(registry: string, subjects: readonly Subject[]): string {
  const [base, itself] = [subjects[0], subjects.at(-1)];
  if (base === undefined || itself === undefined) return "";
  const controlled = MEASURES.map(({ title, of, beside, control }) => {
    return { title, of, beside, control, off: beside(itself, base) - 1 };
  });
  const valid = controlled.filter(({ off, control }) => Math.abs(off) <= control);
  const lines = controlled
    .filter((measure) => !valid.includes(measure))
    .map(({ title, off }) => `no ${title}: the floor differs from itself by ${(100 * off).toFixed(0)} %\n`);
  if (lines.length > 0) process.exitCode = 1;
  lines.push(`\n| ${registry}, ms | ${valid.map(({ title }) => `${title} | of the floor`).join(" | ")} |\n`);
  lines.push(`|---|${"--:|--:|".repeat(valid.length)}\n`);
  for (const subject of subjects) {
    const name = subject === itself ? `${subject.name}, again` : subject.name;
    const columns = valid.map(({ of, beside }) => `${of(subject).toFixed(2)} | ${beside(subject, base).toFixed(2)}`);
    lines.push(`| ${name} | ${columns.join(" | ")} |\n`);
  }
  return lines.join("");
}

const tables: string[] = [];
const wanted = (registry: string): boolean => positionals.length === 0 || positionals.includes(registry);
if (wanted("consul")) {
  await using consul = await startConsul({ keepData: false });
  const writer = consulWriter(consul.url, "agent");
  await play(
    "consul",
    consul.url,
    writer,
    Object.keys(CONSUL_SCHEMES).filter((name) => !name.includes("sockets")),
  );
  writer.close();
}
if (wanted("etcd")) {
  await using etcd = await startEtcd();
  const writer = etcdWriter(etcd.url);
  await play(
    "etcd",
    etcd.url,
    writer,
    Object.keys(ETCD_SCHEMES).filter((name) => !name.includes("of all")),
  );
  writer.close();
}
await record("propagation", tables.join("\n"), ["consul", "etcd3", "@grpc/grpc-js"]);
