/**
 * What a pick costs: pick + done through a balancer and its lease, 64 calls in flight, for each policy and several sizes of
 * the set, beside a bare cycle over an array (the floor) and two looks at the clock (which a policy that learns cannot
 * avoid). Each row in a process of its own, as policies in one process spoil each other's machine code.
 *
 *   npm run pick -w bench -- [--write] [name …]
 *
 * ns of processor time per pick + done, the median of 7 rounds; allocated bytes in brackets.
 */
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import * as core from "@rollcall/core";
import { median } from "./measuring/median.ts";
import { record } from "./measuring/record.ts";
import { PEERS } from "./pick/peers.ts";

const SIZES = [3, 10, 100, 1_000, 10_000];
const IN_FLIGHT = 64;
const ROUNDS = 7;
const ROUND_MS = 60;
const BYTES_OF = 4_000;

const policies: Record<string, () => core.Policy> = {
  roundRobin: core.roundRobin,
  random: core.random,
  weightedRandom: core.weightedRandom,
  "weightedRoundRobin, 5 weights": core.weightedRoundRobin,
  "weightedRoundRobin, all differ": core.weightedRoundRobin,
  leastRequest: () => core.leastRequest(),
  "leastRequest, 2 choices": () => core.leastRequest({ scanUpTo: 0 }),
  peakEwma: () => core.peakEwma(),
  adaptive: core.adaptive,
  "ringHash, with key": () => core.ringHash(),
  "maglev, with key": () => core.maglev(),
  "maglev, bounded, with key": () => core.maglev({ boundedLoad: 1.25 }),
  "sticky(roundRobin), with key": () => core.sticky(core.roundRobin()),
  "subset(roundRobin)": () => core.subset(core.roundRobin(), { size: 20 }),
  "zoneAware(leastRequest)": () => core.zoneAware(core.leastRequest(), { zone: "z0" }),
  "priority(roundRobin)": () => core.priority(core.roundRobin()),
  "slowStart(roundRobin)": () => core.slowStart(core.roundRobin()),
  "outlierDetection(roundRobin)": () => core.outlierDetection(core.roundRobin()),
  "outlierDetection(leastRequest)": () => core.outlierDetection(core.leastRequest()),
};

function weightOf(name: string, index: number): number {
  if (name.includes("5 weights") || name === "weightedRandom") return 1 + (index % 5);
  return name.includes("all differ") ? 1 + index : 1;
}

/** One round of pick + done, and how often it was done. */
function roundOf(name: string, size: number): () => void {
  const instances = Array.from({ length: size }, (_, index) => ({
    service: "bench",
    host: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`,
    port: 80,
    weight: weightOf(name, index),
    zone: `z${index % 3}`,
  }));
  if (name === "floor: an array in a circle") {
    let next = 0;
    let sum = 0;
    return () => {
      sum += instances[next]?.port ?? 0;
      next = next + 1 === size ? 0 : next + 1;
      if (sum < 0) throw new Error("never");
    };
  }
  if (name === "floor: two looks at the clock") {
    let sum = 0;
    return () => {
      sum += performance.now() + performance.now();
      if (sum < 0) throw new Error("never");
    };
  }
  const peer = PEERS[name];
  if (peer !== undefined) {
    const pick = peer(size);
    const picked: unknown[] = Array.from({ length: IN_FLIGHT }, pick);
    let turn = 0;
    return () => {
      turn = (turn + 1) & 1_023;
      picked[turn & (IN_FLIGHT - 1)] = pick();
    };
  }
  const policy = policies[name];
  if (policy === undefined) throw new Error(`no policy ${name}`);
  const instancer = core.fixedInstancer("bench", instances);
  const endpointer = core.createEndpointer(instancer, ({ port }) => port);
  const balancer = core.createBalancer(endpointer, policy());
  const requests = Array.from({ length: 1_024 }, (_, n) =>
    name.includes("with key") ? { key: name.startsWith("sticky") ? `bench-10.0.0.${n % 3}-80` : `user-${n}` } : {},
  );
  const leases: core.PickResult<number>[] = Array.from({ length: IN_FLIGHT }, () => balancer.pick(requests[0]));
  let turn = 0;
  return () => {
    turn = (turn + 1) & 1_023;
    leases[turn & (IN_FLIGHT - 1)]?.done(core.SUCCESS);
    leases[turn & (IN_FLIGHT - 1)] = balancer.pick(requests[turn]);
  };
}

function measure(name: string, size: number): string {
  const round = roundOf(name, size);
  const times: number[] = [];
  for (let count = 0; count < ROUNDS + 3; count++) {
    let picks = 0;
    const startedAt = performance.now();
    const before = process.cpuUsage();
    do {
      for (let n = 0; n < 5_000; n++) round();
      picks += 5_000;
    } while (performance.now() - startedAt < ROUND_MS);
    const { user, system } = process.cpuUsage(before);
    if (count >= 3) times.push(((user + system) * 1e3) / picks);
  }
  // So few that nothing is collected meanwhile.
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  for (let n = 0; n < BYTES_OF; n++) round();
  const bytes = (process.memoryUsage().heapUsed - before) / BYTES_OF;
  return `${median(times).toFixed(1)} (${Math.round(bytes)})`;
}

const { values, positionals } = parseArgs({
  options: { one: { type: "string" }, write: { type: "boolean" } },
  allowPositionals: true,
});
if (values.one !== undefined) {
  process.stdout.write(measure(values.one, Number(positionals[0])));
} else {
  const names = [
    "floor: an array in a circle",
    "floor: two looks at the clock",
    ...Object.keys(PEERS),
    ...Object.keys(policies),
  ].filter((name) => positionals.length === 0 || positionals.some((part) => name.includes(part)));
  const head = `| ns (bytes) per pick + done | ${SIZES.map((size) => `N=${size}`).join(" | ")} |`;
  const lines = [head, `|---|${SIZES.map(() => "--:|").join("")}`];
  for (const name of names) {
    const cells = SIZES.map((size) => {
      const flags = ["-C", "@rollcall/source", "--expose-gc", "--max-semi-space-size=256"];
      const args = [...flags, import.meta.filename, "--one", name, String(size)];
      const { stdout, stderr, status } = spawnSync(process.execPath, args, { encoding: "utf8" });
      if (status !== 0) throw new Error(stderr);
      return stdout;
    });
    lines.push(`| ${name} | ${cells.join(" | ")} |`);
    process.stderr.write(`${lines.at(-1)}\n`);
  }
  await record("pick", lines.join("\n"), ["@grpc/grpc-js", "moleculer", "undici"]);
}
