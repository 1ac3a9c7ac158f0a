import type { Endpoint } from "./endpoint.ts";
import { fade } from "./fade.ts";
import type { LoadReport } from "./load-report.ts";

/** A call of somebody else counts so much of an own one: part of it is in the measured latency already. */
const OTHERS_SHARE = 0.3;
/** What is known of the others' calls is worth 1/e of it after so many of the fleet's answer times, and at most so long. */
const ANSWERS = 5;
const MOST_MS = 1_000;
/** The same for utilization, which is a mean over some time itself. */
const BUSY_MS = 300;
/** An endpoint is busy if it is so much busier than the fleet; each further tenth makes it dearer by once its cost. */
const BUSY_MARGIN = 0.35;
const BUSY_FACTOR = 10;
/** The means of the fleet run over about so many reports. */
const SAMPLES = 64;
/** More is taken for so much: whoever says what cannot be must not decide the fleet's means for all others. */
const MOST_OTHERS = 10_000;
const MOST_UTILIZATION = 2;

/** The means of what the endpoints of one balancer report. */
export class ReportedFleet {
  /** Calls of others, for a weight of 1. */
  readonly others = new RunningMean();
  readonly utilization = new RunningMean();
}

class RunningMean {
  value = 0;
  #count = 0;

  add(sample: number): void {
    this.#count = Math.min(SAMPLES, this.#count + 1);
    this.value += (sample - this.value) / this.#count;
  }
}

/**
 * What one endpoint has said of its load, and what that is worth by now. An old report is taken back bit by bit: in the
 * end, the endpoint is taken to be as loaded as those are who report.
 */
export class Reported {
  /** The last report, and when it came. */
  report: LoadReport = {};
  at = -Infinity;
  readonly #endpoint: Endpoint;
  readonly #fleet: ReportedFleet;
  /** For a weight of 1. */
  #others = 0;
  #utilization = 0;

  constructor(endpoint: Endpoint, fleet: ReportedFleet) {
    this.#endpoint = endpoint;
    this.#fleet = fleet;
  }

  learn(report: LoadReport, nowMs: number): void {
    const { instance, stats } = this.#endpoint;
    // It is not picked from any more, and calls for a weight of 1 are nothing that it has.
    if (instance.weight === 0) return;
    const fleet = this.#fleet;
    this.report = report;
    this.at = nowMs;
    if (report.inFlight !== undefined) {
      // The call that carries the report is in flight still for us, and not counted by it.
      const others = Math.max(0, report.inFlight - Math.max(0, stats.inFlight - 1));
      this.#others = Math.min(MOST_OTHERS, others / instance.weight);
      fleet.others.add(this.#others);
    }
    if (report.utilization !== undefined) {
      this.#utilization = Math.min(MOST_UTILIZATION, report.utilization);
      fleet.utilization.add(this.#utilization);
    }
  }

  /** By how much a call costs more than own measurements say. Exactly 1 where nobody reports. */
  factor(nowMs: number, fleetMs: number): number {
    const { instance, stats } = this.#endpoint;
    const { report } = this;
    const fleet = this.#fleet;
    const ageMs = nowMs - this.at;
    let others = fleet.others.value;
    if (report.inFlight !== undefined) {
      others += (this.#others - others) * fade(ageMs / Math.min(MOST_MS, ANSWERS * fleetMs));
    }
    const own = stats.inFlight + 1;
    const factor = (own + OTHERS_SHARE * others * instance.weight) / own;
    const excess = (report.utilization === undefined ? 0 : this.#utilization) - fleet.utilization.value - BUSY_MARGIN;
    return excess > 0 ? factor * (1 + BUSY_FACTOR * excess * fade(ageMs / BUSY_MS)) : factor;
  }
}
