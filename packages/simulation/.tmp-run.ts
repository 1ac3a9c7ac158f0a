import { adaptive, peakEwma, outlierDetection, type Policy } from "@rollcall/core";
import { oracle, scenarios, simulate } from "@rollcall/simulation";
const seeds = (process.env.SEEDS ?? "1").split(",").map(Number);
const filter = new RegExp(process.env.ONLY ?? ".");
const subject: Record<string, () => Policy> = { adaptive, peakEwma };
const policy = subject[process.env.POLICY ?? "adaptive"]!();
const all = [...scenarios.ten, ...(process.env.HUNDRED ? scenarios.hundred : []), ...Object.values(scenarios.queueing), scenarios.buoyant, scenarios.twoSlowOfFour, scenarios.churn].filter(s => filter.test(s.name));
const g99: number[] = [], g999: number[] = [], f: number[] = [];
const cache = new Map();
import fs from "node:fs";
const cfile = "/tmp/sim/oracle.json"; const oc = fs.existsSync(cfile) ? JSON.parse(fs.readFileSync(cfile, "utf8")) : {};
for (const s of all) { const row: string[] = [];
 for (const seed of seeds) {
  const k = s.name + seed; oc[k] ??= (await simulate(s, { policy: oracle, seed })).latencyMs;
  const r = await simulate(s, { policy, seed });
  const a = r.latencyMs.p99 / oc[k].p99, b = r.latencyMs.p999 / oc[k].p999;
  const slow = r.servers.filter(x => x.id.startsWith("slow")).reduce((t, x) => t + x.share, 0);
  if (scenarios.ten.includes(s) || s.name.includes("servers,")) { g99.push(a); if (r.failureShare < .001) g999.push(b); f.push(r.failureShare); }
  row.push(`${a.toFixed(2)}/${b.toFixed(2)} ${(r.failureShare * 100).toFixed(3)}%${s.name.includes("slow") ? ` slow ${(slow * 100).toFixed(2)}%` : ""}`);
 }
 console.log(s.name.padEnd(28), row.join(" | "));
}
const gm = (v: number[]) => Math.exp(v.reduce((t, x) => t + Math.log(x), 0) / v.length);
console.log("geo p99", gm(g99).toFixed(3), "worst", Math.max(...g99).toFixed(2), "geo p999", gm(g999).toFixed(3), "fail mean", (f.reduce((t, x) => t + x, 0) / f.length * 100).toFixed(4), "worst", (Math.max(...f) * 100).toFixed(3));
fs.writeFileSync(cfile, JSON.stringify(oc));
