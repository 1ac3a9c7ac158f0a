import { type PolicyHarness, describePolicy } from "@rollcall/testing";
import { describe, it } from "vitest";
import {
  adaptive,
  leastRequest,
  maglev,
  outlierDetection,
  panic,
  peakEwma,
  prequal,
  priority,
  random,
  ringHash,
  roundRobin,
  slowStart,
  sticky,
  subset,
  weightedRandom,
  weightedRoundRobin,
  zoneAware,
} from "../index.ts";

const all: Record<string, PolicyHarness["policy"]> = {
  "roundRobin()": roundRobin,
  "random()": random,
  "weightedRoundRobin()": weightedRoundRobin,
  "weightedRandom()": weightedRandom,
  "leastRequest()": () => leastRequest(),
  "leastRequest({ choices: 3, scanUpTo: 0 })": () => leastRequest({ choices: 3, scanUpTo: 0 }),
  "peakEwma()": () => peakEwma(),
  "peakEwma({ scanUpTo: 0 })": () => peakEwma({ scanUpTo: 0 }),
  "adaptive()": adaptive,
  "prequal()": prequal,
  "ringHash()": () => ringHash(),
  "ringHash({ boundedLoad: 1.25 })": () => ringHash({ boundedLoad: 1.25 }),
  "maglev()": () => maglev({ tableSize: 1_009 }),
  "maglev({ boundedLoad: 1.25 })": () => maglev({ tableSize: 1_009, boundedLoad: 1.25 }),
  "sticky(roundRobin())": () => sticky(roundRobin()),
  "zoneAware(leastRequest())": () => zoneAware(leastRequest(), { zone: "a" }),
  "priority(roundRobin())": () => priority(roundRobin()),
  "outlierDetection(roundRobin())": () => outlierDetection(roundRobin()),
  "outlierDetection(random())": () => outlierDetection(random()),
  "outlierDetection(weightedRoundRobin())": () => outlierDetection(weightedRoundRobin()),
  "outlierDetection(peakEwma())": () => outlierDetection(peakEwma()),
  "outlierDetection(adaptive())": () => outlierDetection(adaptive()),
  "outlierDetection(prequal())": () => outlierDetection(prequal()),
  "outlierDetection(maglev())": () => outlierDetection(maglev({ tableSize: 1_009 })),
  "outlierDetection(sticky(ringHash()))": () => outlierDetection(sticky(ringHash())),
  "outlierDetection(zoneAware(priority(panic(peakEwma()))))": () =>
    outlierDetection(zoneAware(priority(panic(peakEwma())), { zone: "a" }), { maxEjected: 1 }),
  "slowStart(leastRequest())": () => slowStart(leastRequest()),
  "slowStart(outlierDetection(weightedRoundRobin()))": () => slowStart(outlierDetection(weightedRoundRobin())),
  "panic(random())": () => panic(random()),
};

for (const [name, policy] of Object.entries(all)) describePolicy({ name, policy }, { describe, it });

const subsets: Record<string, PolicyHarness["policy"]> = {
  "subset(roundRobin())": () => subset(roundRobin(), { size: 3 }),
  "outlierDetection(subset(adaptive()))": () => outlierDetection(subset(adaptive(), { size: 4 })),
};

for (const [name, policy] of Object.entries(subsets)) {
  describePolicy({ name, policy, usesAll: false }, { describe, it });
}
