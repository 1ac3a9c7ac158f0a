import { type Report, type Scenario, simulate } from "@rollcall/simulation";
import type { Subject } from "./subjects.ts";

/** What came of one subject in one scenario: means over the seeds. */
export interface Played {
  readonly scenario: Scenario;
  readonly subject: Subject;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  /** 0 to 1. */
  readonly failures: number;
  readonly inTarget: number;
  readonly amplification: number;
  readonly curve: readonly (readonly [share: number, ms: number])[];
}

/** Plays it once per seed. */
export async function play(scenario: Scenario, subject: Subject, seeds: readonly number[]): Promise<Played> {
  const { policy, retry } = subject;
  const reports: Report[] = [];
  for (const seed of seeds) reports.push(await simulate(scenario, { policy, seed, retry }));
  const mean = (of: (report: Report) => number): number =>
    reports.reduce((sum, report) => sum + of(report), 0) / reports.length;
  const points = Math.min(...reports.map(({ curve }) => curve.length));
  return {
    scenario,
    subject,
    p50: mean(({ latencyMs }) => latencyMs.p50),
    p99: mean(({ latencyMs }) => latencyMs.p99),
    p999: mean(({ latencyMs }) => latencyMs.p999),
    failures: mean(({ failureShare }) => failureShare),
    inTarget: mean(({ inTarget }) => inTarget),
    amplification: mean(({ amplification }) => amplification),
    curve: (reports[0]?.curve ?? [])
      .slice(0, points)
      .map(([share], place) => [share, mean(({ curve }) => curve[place]?.[1] ?? 0)] as const),
  };
}

/** The mean of ratios. */
export function geometricMean(ratios: readonly number[]): number {
  return Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);
}
