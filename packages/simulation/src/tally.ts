import type { Result, SimulatedCall } from "./attempt.ts";
import type { Fleet } from "./fleet.ts";
import type { LatencyReport, Report, ServerReport } from "./report.ts";
import type { Scenario } from "./scenario.ts";
import type { Server } from "./server.ts";

/** Counts what becomes of the calls of one run. */
export class Tally {
  readonly #scenario: Scenario;
  readonly #warmupMs: number;
  readonly #timeoutMs: number;
  readonly #targetMs: number;
  #inTarget = 0;
  readonly #results: Record<Result, number> = { ok: 0, failed: 0, full: 0, refused: 0, timeout: 0, none: 0 };
  readonly #attempts: Float64Array;
  readonly #failures: Float64Array;
  #latencies = new Float64Array(1_024);
  #calls = 0;
  #looks = 0;
  #ejected = 0;
  #mostEjected = 0;

  constructor(scenario: Scenario, fleet: Fleet) {
    this.#scenario = scenario;
    this.#warmupMs = scenario.warmupMs ?? 0;
    this.#timeoutMs = scenario.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#targetMs = scenario.targetMs ?? this.#timeoutMs;
    this.#attempts = new Float64Array(fleet.servers.length);
    this.#failures = new Float64Array(fleet.servers.length);
  }

  sent({ startedAt }: SimulatedCall, { parts }: Server): void {
    if (startedAt >= this.#warmupMs) this.#attempts[parts.place] = (this.#attempts[parts.place] ?? 0) + 1;
  }

  failed({ startedAt }: SimulatedCall, { parts }: Server): void {
    if (startedAt >= this.#warmupMs) this.#failures[parts.place] = (this.#failures[parts.place] ?? 0) + 1;
  }

  ended({ startedAt }: SimulatedCall, result: Result, nowMs: number): void {
    if (startedAt < this.#warmupMs) return;
    this.#results[result]++;
    if (this.#calls === this.#latencies.length) {
      const longer = new Float64Array(2 * this.#calls);
      longer.set(this.#latencies);
      this.#latencies = longer;
    }
    const latencyMs = nowMs - startedAt;
    if (result === "ok" && latencyMs <= this.#targetMs) this.#inTarget++;
    this.#latencies[this.#calls++] = result === "ok" ? latencyMs : Math.max(latencyMs, this.#timeoutMs);
  }

  /** How many servers one client holds for ejected at this moment. */
  looked(ejected: number): void {
    this.#looks++;
    this.#ejected += ejected;
    this.#mostEjected = Math.max(this.#mostEjected, ejected);
  }

  report(policy: string, seed: number, servers: readonly Server[]): Report {
    const calls = this.#calls;
    const latencies = this.#latencies.subarray(0, calls).toSorted();
    const at = (share: number): number => latencies[Math.min(calls - 1, Math.ceil(share * calls) - 1)] ?? 0;
    const failures = calls - this.#results.ok;
    const attempts = this.#attempts.reduce((sum, count) => sum + count, 0);
    const perCall = (count: number): number => (calls === 0 ? 0 : count / calls);
    const latencyMs: LatencyReport = {
      mean: perCall(latencies.reduce((sum, ms) => sum + ms, 0)),
      p50: at(0.5),
      p90: at(0.9),
      p95: at(0.95),
      p99: at(0.99),
      p999: at(0.999),
      max: latencies.at(-1) ?? 0,
    };
    return {
      scenario: this.#scenario.name,
      policy,
      seed,
      calls,
      failures,
      failureShare: perCall(failures),
      inTarget: perCall(this.#inTarget),
      results: { ...this.#results },
      latencyMs,
      curve: CURVE.filter((share) => (1 - share) * calls >= 1).map((share) => [share, at(share)] as const),
      attempts,
      amplification: perCall(attempts),
      servers: servers.map((server) => this.#serverReport(server, attempts)),
      imbalance: this.#imbalance(servers),
      ejected: { mean: this.#looks === 0 ? 0 : this.#ejected / this.#looks, most: this.#mostEjected },
    };
  }

  #serverReport({ parts, workDone }: Server, all: number): ServerReport {
    const attempts = this.#attempts[parts.place] ?? 0;
    const couldMs = parts.workers * parts.speed * this.#scenario.durationMs;
    return {
      id: parts.instance.id,
      attempts,
      share: all === 0 ? 0 : attempts / all,
      failures: this.#failures[parts.place] ?? 0,
      utilisation: workDone / couldMs,
    };
  }

  #imbalance(servers: readonly Server[]): number {
    const { durationMs } = this.#scenario;
    let most = 0;
    let attempts = 0;
    let capacity = 0;
    for (const { parts } of servers) {
      const workers = parts.workers === Infinity ? 1 : parts.workers;
      const presentMs = Math.min(durationMs, parts.leavesAtMs) - Math.max(this.#warmupMs, parts.joinsAtMs);
      if (presentMs <= 0) continue;
      const could = workers * parts.speed * presentMs;
      const its = this.#attempts[parts.place] ?? 0;
      most = Math.max(most, its / could);
      attempts += its;
      capacity += could;
    }
    return attempts === 0 ? 1 : (most * capacity) / attempts;
  }
}

/** As that of core's `retry`. */
export const DEFAULT_TIMEOUT_MS = 10_000;

/** From 0 to all but one of 100,000, evenly by the logarithm of what is left. */
const CURVE = Array.from({ length: 61 }, (_, step) => 1 - 10 ** (-step / 12));
