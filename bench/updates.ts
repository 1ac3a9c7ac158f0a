// `npm run updates -w bench`: what it costs that something has changed among 10,000 instances.
//
// The answers are Consul's own: one record is taken from a real one, and multiplied. The floor is JSON.parse of the same
// bytes, without anything made of it. Ours begins with the pieces that a socket would deliver and ends when the endpoints
// are up to date and the next poll is out.
//
// Paired: base, ours, base, in one process; what is printed are medians of processor time. The two bases are the control: where they differ
// by more than CONTROL, the machine does something else, the row is not printed, and the command fails.
//
//   npm run updates -w bench -- [--write]
import { EventEmitter } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Instance, type Instancer, createCache, createEndpointer, createInstance } from "@rollcall/core";
import { child } from "./measuring/child.ts";
import { median } from "./measuring/median.ts";
import { type Paired, paired } from "./measuring/paired.ts";
import { record } from "./measuring/record.ts";
import { bodyOf, checked, moved, multiply, realRecord } from "./updates/answers.ts";
import { etcdSides } from "./updates/etcd-sides.ts";
import { followedService, inChunks } from "./updates/followed-service.ts";

const INSTANCES = 10_000;
const CONTROL = 0.03;
const MAX_TRIES = 3;
const SUBSCRIBERS = 1_000;

const lines: string[] = [];

function write(line: string): void {
  lines.push(line);
  process.stderr.write(`${line}\n`);
}

/** Prints a row once the base agrees with itself. */
async function row(name: string, gate: string, measure: () => Promise<Paired>, more = ""): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const { ourMs, baseMs, ratio, control } = await measure();
    if (control <= CONTROL) {
      write(`| ${name} | ${ourMs.toPrecision(3)} | ${baseMs.toPrecision(3)} | ${ratio.toFixed(3)} | ${gate} |${more}`);
      return;
    }
    if (attempt < MAX_TRIES) continue;
    process.stderr.write(`${name}: the base differs from itself by ${(100 * control).toFixed(1)} %: nothing to tell\n`);
    process.exitCode = 1;
    return;
  }
}

/** One after another, and from the beginning again. */
function inTurns<T>(...all: readonly T[]): () => T {
  let next = 0;
  return () => all[next++ % all.length] as T;
}

const base = multiply(await realRecord(), INSTANCES);
const middle = INSTANCES / 2;
const plain = bodyOf(base);
const bodies = {
  one: bodyOf(moved(base, (index) => index === middle)),
  hundred: bodyOf(moved(base, (index) => index % 100 === 7)),
  output: bodyOf(checked(base, (index) => index === middle)),
  outputs: bodyOf(checked(base, () => true)),
};

write(`${INSTANCES} instances, an answer of ${(plain.length / 1e6).toFixed(1)} MB.\n`);
write("| an answer of Consul | ms | JSON.parse, ms | ratio | must / stretch | longest turn, ms |");
write("|---|--:|--:|--:|--:|--:|");

/** How long others had to wait at most while this was done. */
async function longestTurn(run: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  let lastMs = performance.now();
  let isOver = false;
  const look = (): void => {
    const nowMs = performance.now();
    longest = Math.max(longest, nowMs - lastMs);
    lastMs = nowMs;
    if (!isOver) setImmediate(look);
  };
  setImmediate(look);
  await run();
  isOver = true;
  await new Promise(setImmediate);
  return longest;
}

/** The middle of so many tries, as a cell of a table. */
async function turnCell(tries: number, run: () => Promise<unknown>): Promise<string> {
  const turns: number[] = [];
  for (let round = 0; round < tries; round++) turns.push(await longestTurn(run));
  return ` ${median(turns).toFixed(1)} |`;
}

async function answers(name: string, gate: string, other: Buffer, isNews: boolean): Promise<void> {
  const service = await followedService();
  const next = inTurns(plain, other);
  const nextPieces = inTurns(inChunks(plain), inChunks(other));
  await service.answer(nextPieces());
  const { changes } = service;
  const { endpoints } = service.endpointer;
  await service.answer(nextPieces());
  if ((service.endpointer.endpoints !== endpoints) !== isNews || service.changes > changes !== isNews) {
    throw new Error(`${name}: ${isNews ? "not" : "wrongly"} published`);
  }
  const more = await turnCell(9, () => service.answer(nextPieces()));
  const parse = (): unknown => JSON.parse(next().toString());
  await row(name, gate, () => paired(() => service.answer(nextPieces()), parse), more);
  await service.close();
}

await answers("one instance changed (S1)", "1.12 / 0.45", bodies.one, true);
await answers("a check's output changed (S2)", "1.08", bodies.output, false);
await answers("the same bytes (S2)", "0.03", plain, false);
await answers("100 instances changed", "", bodies.hundred, true);
await answers("the output of each check changed", "", bodies.outputs, false);

{
  const pieces = inChunks(plain);
  const first = async (): Promise<void> => {
    const service = await followedService();
    await service.answer(pieces);
    await service.close();
  };
  const more = await turnCell(5, first);
  const parse = (): unknown => JSON.parse(plain.toString());
  await row("the first answer, and 10,000 new endpoints", "", () => paired(first, parse, 10), more);
}

const instances = base.map(({ Service }, n) =>
  createInstance({ service: "lorem", id: Service.ID, host: Service.Address, port: Service.Port, weight: 1 + (n % 3) }),
);
/** As from a registry, in another order than that of addresses. */
const given = instances.toSorted((a, b) => (a.id < b.id ? -1 : 1));
const changed = given.with(middle, createInstance({ ...(given[middle] as Instance), port: 9_090 }));

/** The plain way: all by id, in order, in a new array. */
function rebuild(set: readonly Instance[]): readonly Instance[] {
  const byId = new Map(set.map((instance) => [instance.id, instance]));
  return [...byId.values()].toSorted((a, b) => (a.host < b.host ? -1 : 1));
}

const times = (count: number, run: () => unknown) => (): void => {
  for (let turn = 0; turn < count; turn++) run();
};

write("\n| a set that is given, one of 10,000 changed | ms | rebuilt, ms | ratio | must / stretch |");
write("|---|--:|--:|--:|--:|");
{
  const cache = createCache();
  const next = inTurns(given, changed);
  const nextPlain = inTurns(given, changed);
  cache.update(next());
  await row("cache (S3)", "0.5 ms / 0.15 ms", () =>
    paired(
      () => cache.update(next()),
      () => rebuild(nextPlain()),
    ),
  );
}
{
  const cache = createCache();
  cache.update(given);
  const [one, other] = [cache.snapshot, (cache.update(changed), cache.snapshot)];
  let snapshot = one;
  const listeners = new Set<() => void>();
  const close = async (): Promise<void> => undefined;
  const instancer: Instancer = {
    service: "lorem",
    get snapshot() {
      return snapshot;
    },
    subscribe: (onChange) => {
      listeners.add(onChange);
      return () => listeners.delete(onChange);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
  const endpointer = createEndpointer(instancer, ({ id }) => id);
  const next = inTurns(other, one);
  const nextPlain = inTurns(given, changed);
  const update = (): void => {
    snapshot = next();
    for (const listener of listeners) listener();
  };
  const tenTimes = times(10, update);
  await row("endpointer, 10 times", "5 ms", () =>
    paired(
      tenTimes,
      times(10, () => rebuild(nextPlain())),
    ),
  );
  await endpointer.close();
}

write("\n| 1,000 subscribers are told | ms | EventEmitter, the same array to all, ms | ratio | must / stretch |");
write("|---|--:|--:|--:|--:|");
{
  const [one, other] = [[given[0] as Instance], [given[1] as Instance]];
  const seen: { set: readonly Instance[] }[] = Array.from({ length: SUBSCRIBERS }, () => ({ set: [] }));
  const cache = createCache();
  for (const subscriber of seen) cache.subscribe(() => void (subscriber.set = cache.snapshot.instances));
  const next = inTurns(one, other);
  const nextPlain = inTurns(one, other);
  const emitter = new EventEmitter().setMaxListeners(SUBSCRIBERS);
  for (const subscriber of seen) emitter.on("set", (set: readonly Instance[]) => void (subscriber.set = set));
  const emit = (): void => void emitter.emit("set", nextPlain());
  const told = times(50, () => cache.update(next()));
  await row("by a cache, of a small change, 50 times (S5)", "2 / 1.2", () => paired(told, times(50, emit)));
  if (new Set(seen.map(({ set }) => set)).size > 1) throw new Error("not all have the same array");
}

write("\n| etcd, one of 10,000 keys written | ms | ms | ratio |  |");
write("|---|--:|--:|--:|--:|");
{
  await using sides = await etcdSides(instances);
  await row("beside a bare watch, whose changes go into a Map", "", () => paired(sides.ours, sides.watched));
  await row("beside reading the prefix again", "", () => paired(sides.ours, sides.readAgain, 10));
}

const folder = mkdtempSync(join(tmpdir(), "rollcall-updates-"));
try {
  writeFileSync(join(folder, "first"), plain);
  writeFileSync(join(folder, "second"), bodies.one);
  write("\n| left on the heap by one update (S4: 20 MB / 4 MB) | heap, MB | buffers, MB |");
  write("|---|--:|--:|");
  for (const what of ["ours", "parsed"]) {
    const flags = ["--expose-gc", "--max-semi-space-size=256"];
    const args = [join(folder, "first"), join(folder, "second"), what];
    const process = await child(new URL("updates/heap.ts", import.meta.url), args, flags);
    const { heap, buffers } = process.said as { readonly heap: number; readonly buffers: number };
    await process.close();
    write(
      `| ${what === "ours" ? "ours" : "JSON.parse"} | ${(heap / 1e6).toFixed(1)} | ${(buffers / 1e6).toFixed(1)} |`,
    );
  }
} finally {
  rmSync(folder, { recursive: true });
}
await record("updates", lines.join("\n"));
