import type { Endpoint } from "@rollcall/core";
import { fleet, ids, seededRandom } from "@rollcall/testing";
import { expect, it } from "vitest";
import type { Policy } from "../policy.ts";
import { leastRequest } from "./least-request.ts";
import { maglev } from "./maglev.ts";
import { outlierDetection } from "./outlier-detection.ts";
import { peakEwma } from "./peak-ewma.ts";
import { priority } from "./priority.ts";
import { ringHash } from "./ring-hash.ts";
import { roundRobin } from "./round-robin.ts";
import { slowStart } from "./slow-start.ts";
import { sticky } from "./sticky.ts";
import { weightedRoundRobin } from "./weighted-round-robin.ts";
import { zoneAware } from "./zone-aware.ts";

const zone = { zone: "z0" };
const policies: [string, Policy][] = [
  ["roundRobin", roundRobin()],
  ["weightedRoundRobin", weightedRoundRobin()],
  ["leastRequest", leastRequest()],
  ["peakEwma", peakEwma()],
  ["ringHash, bounded", ringHash({ boundedLoad: 1.25 })],
  ["maglev, bounded", maglev({ tableSize: 1_009, boundedLoad: 1.25 })],
  ["outlierDetection(weightedRoundRobin)", outlierDetection(weightedRoundRobin(), { failures: 2 })],
  ["outlierDetection(leastRequest)", outlierDetection(leastRequest(), { failures: 1, maxEjected: 1 })],
  ["slowStart(outlierDetection)", slowStart(outlierDetection(weightedRoundRobin(), { failures: 1 }))],
  ["outlierDetection(slowStart(zoneAware))", outlierDetection(slowStart(zoneAware(weightedRoundRobin(), zone)))],
  ["sticky(zoneAware)", sticky(zoneAware(weightedRoundRobin(), zone))],
  ["zoneAware(priority)", zoneAware(priority(weightedRoundRobin()), zone)],
];

/** Plays random calls with random sets, keys, endpoints to avoid and failures; tells who was picked. */
function play(policy: Policy, seed: number, explains: boolean): string {
  const made = fleet(policy, 1, seed);
  const chance = seededRandom(seed * 7 + 1);
  const some = (share: number): boolean => chance() < share;
  let ill = new Set<string>();
  let picked = "";
  for (let n = 0; n < 400; n++) {
    if (n % 70 === 0) {
      made.set(
        ids(2 + Math.floor(chance() * 10)).map((id, place) => ({
          id,
          weight: place > 0 && some(0.15) ? 0 : 1 + (place % 3),
          zone: `z${place % 2}`,
          metadata: { priority: String(place % 2) },
        })),
      );
    }
    if (n % 50 === 0) ill = new Set(ids(12).filter(() => some(0.3)));
    const avoid = new Set<Endpoint>(some(0.3) ? made.endpoints.filter(() => some(0.4)) : []);
    const key = some(0.5) ? `i${Math.floor(chance() * 20)}` : undefined;
    const next = explains ? made.balancer.explain({ key, avoid }).next : undefined;
    const id = made.call(() => ({ afterMs: 1 + Math.floor(chance() * 30), isGood: true }), { key, avoid });
    if (next !== undefined) expect(id, `pick ${n} of seed ${seed}`).toBe(next.client);
    if (ill.has(id)) made.call(() => ({ afterMs: 1, isGood: false }), { key, avoid });
    picked += id;
    made.clock.advanceSync(n % 60 === 59 ? 900 : Math.floor(chance() * 5));
  }
  return picked;
}

it.each(policies)("%s: explain says what the next pick takes, if it says so, and changes no pick", (_, policy) => {
  for (let seed = 1; seed <= 6; seed++) expect(play(policy, seed, true)).toBe(play(policy, seed, false));
});
