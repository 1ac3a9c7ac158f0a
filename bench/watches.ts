// `npm run watches -w bench`: what a thousand watched services cost a process.
//
// A real Consul and a real etcd with so many services; each scheme watches all of them from a process of its own, one after
// the other. Measured are: what it takes of a processor to make the watches, memory per watch (after a full collection,
// less what the process had before, when it had watched something already), what an idle process takes, and what one
// change takes, seen by the one watch that it is for: the median over turns of a few changes. The base is measured first
// and last, as a control: a measure in which the two differ by more than CONTROL is not printed, and the command fails.
//
// Consul allows 200 connections from one address unless it is told otherwise; here it is, as the floor needs one for each
// watch. Ours is measured so, and once more with its own default, in which all watches take turns on 100 connections.
//
//   npm run watches -w bench -- [--watches n] [--changes n] [--write] [consul | etcd …]
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
const IDLE_MS = 5_000;
/** In turns of so many changes. */
const TURN = 25;

if (existsSync("/dev/shm")) process.env["TMPDIR"] = "/dev/shm";

const { values, positionals } = parseArgs({
  options: {
    watches: { type: "string", default: "1000" },
    changes: { type: "string", default: "250" },
    write: { type: "boolean" },
  },
  allowPositionals: true,
});
const watches = Number(values.watches);
const turns = Math.ceil(Number(values.changes) / TURN);

/** What one scheme did. */
interface Row {
  readonly name: string;
  readonly armedCpuMs: number;
  readonly rssKiB: number;
  readonly heapKiB: number;
  readonly idlePercent: number;
  /** Of each turn. */
  readonly cpuMs: number[];
  readonly seenMs: number[];
}

const PREFIX = "crowd";
let port = 1_000;

async function quiet(name: string, watching: Subscription): Promise<Row> {
  await sleep(2_000);
  const { before, now } = await watching.memory();
  await watching.cpuMs();
  const cpuMs = await watching.cpuMs();
  await sleep(IDLE_MS);
  const idleMs = (await watching.cpuMs()) - cpuMs;
  return {
    name,
    armedCpuMs: watching.armedCpuMs,
    rssKiB: (now.rss - before.rss) / 1_024 / watches,
    heapKiB: (now.heapUsed - before.heapUsed) / 1_024 / watches,
    idlePercent: (idleMs / IDLE_MS) * 100,
    cpuMs: [],
    seenMs: [],
  };
}

async function turn(writer: Writer, watching: Subscription, row: Row): Promise<void> {
  const before = await watching.cpuMs();
  const seenMs: number[] = [];
  for (let number = 0; number < TURN; number++) {
    const place = (port * 37) % watches;
    const to = (port = (port % 60_000) + 1);
    const sentAt = process.hrtime.bigint();
    await writer.write(`${PREFIX}-${place}`, MOVING, to);
    seenMs.push(Number((await watching.seen(place, to)) - sentAt) / 1e6);
  }
  row.seenMs.push(...seenMs);
  row.cpuMs.push(((await watching.cpuMs()) - before) / TURN);
}

/** One scheme after another: each hears every change of its services, and would take time from the others. */
async function play(
  registry: "consul" | "etcd",
  url: string,
  writer: Writer,
  names: readonly string[],
): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const name of names) {
    const watching = await subscription(registry, name, url, PREFIX, watches);
    const row = await quiet(name, watching);
    await turn(writer, watching, { ...row, cpuMs: [], seenMs: [] });
    for (let number = 0; number < turns; number++) await turn(writer, watching, row);
    await watching.close();
    rows.push(row);
  }
  return rows;
}

const MEASURES = [
  { title: "CPU ms to make them", of: ({ armedCpuMs }: Row) => armedCpuMs, digits: 0 },
  { title: "RSS KiB/watch", of: ({ rssKiB }: Row) => rssKiB, digits: 1 },
  { title: "heap KiB/watch", of: ({ heapKiB }: Row) => heapKiB, digits: 2 },
  { title: "CPU ms/change", of: ({ cpuMs }: Row) => median(cpuMs), digits: 2 },
];

function table(registry: string, rows: readonly Row[]): string {
  const [base, itself] = [rows[0], rows.at(-1)];
  if (base === undefined || itself === undefined) return "";
  const controlled = MEASURES.map(({ title, of, digits }) => ({ title, of, digits, off: of(itself) / of(base) - 1 }));
  const valid = controlled.filter(({ off }) => Math.abs(off) <= CONTROL);
  const lines = controlled
    .filter((measure) => !valid.includes(measure))
    .map(({ title, off }) => `no ${title}: the base differs from itself by ${(100 * off).toFixed(0)} %\n`);
  if (lines.length > 0) process.exitCode = 1;
  const columns = valid.map(({ title }) => `${title} | of the base`);
  lines.push(
    `\n| ${registry}, ${watches} watches | ${[...columns, "idle CPU %", "seen p50 ms", "p99"].join(" | ")} |\n`,
  );
  lines.push(`|---|${"--:|--:|".repeat(valid.length)}--:|--:|--:|\n`);
  for (const row of rows) {
    const cells = valid.map(({ of, digits }) => `${of(row).toFixed(digits)} | ${(of(row) / of(base)).toFixed(2)}`);
    cells.push(row.idlePercent.toFixed(2), median(row.seenMs).toFixed(2), quantile(row.seenMs, 0.99).toFixed(1));
    lines.push(`| ${row === itself ? `${row.name}, again` : row.name} | ${cells.join(" | ")} |\n`);
  }
  return `${lines.join("")}\n`;
}

async function fill(writer: Writer): Promise<void> {
  for (let place = 0; place < watches; place++) await populate(writer, `${PREFIX}-${place}`, 1);
}

const tables: string[] = [];
const wanted = (registry: string): boolean => positionals.length === 0 || positionals.includes(registry);
if (wanted("consul")) {
  await using consul = await startConsul({
    keepData: false,
    args: ["-hcl=limits { http_max_conns_per_client = 4000 }"],
  });
  const writer = consulWriter(consul.url, "catalog");
  await fill(writer);
  const [base = "", ...others] = Object.keys(CONSUL_SCHEMES).filter((name) => !name.includes("fetch"));
  tables.push(table("consul", await play("consul", consul.url, writer, [base, ...others, base])));
  writer.close();
}
if (wanted("etcd")) {
  await using etcd = await startEtcd();
  const writer = etcdWriter(etcd.url);
  await fill(writer);
  const [base = "", ...others] = Object.keys(ETCD_SCHEMES).filter((name) => !name.includes("again"));
  tables.push(table("etcd", await play("etcd", etcd.url, writer, [base, ...others, base])));
  writer.close();
}
await record("watches", tables.join("\n"), ["consul", "etcd3", "@grpc/grpc-js"]);
