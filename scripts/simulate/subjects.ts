import {
  type Policy,
  adaptive,
  leastRequest,
  outlierDetection,
  peakEwma,
  prequal,
  random,
  roundRobin,
} from "@rollcall/core";
import { type Oracle, type SimulateOptions, oracle } from "@rollcall/simulation";

/** Who is compared: a policy, maybe with retries. */
export interface Subject {
  /** As it stands in tables and pictures. */
  readonly name: string;
  readonly policy: Policy | Oracle;
  readonly retry?: SimulateOptions["retry"];
}

/** The one by which the others are measured. */
export const ORACLE: Subject = { name: "oracle", policy: oracle };

export const subjects: readonly Subject[] = [
  { name: "random", policy: random() },
  { name: "roundRobin", policy: roundRobin() },
  { name: "leastRequest", policy: leastRequest() },
  { name: "outlierDetection(leastRequest)", policy: outlierDetection(leastRequest()) },
  { name: "peakEwma", policy: peakEwma() },
  { name: "adaptive", policy: adaptive() },
  { name: "prequal", policy: prequal() },
  // A bound for attempts is what makes retries worth something when a server does not answer at all.
  { name: "adaptive, retried", policy: adaptive(), retry: { attemptTimeoutMs: 300 } },
];

/** Only when asked for: what hedging is worth depends on why a call takes long, see `workAgain` of a scenario. */
export const HEDGED: Subject = { name: "adaptive, hedged", policy: adaptive(), retry: { hedge: true } };
