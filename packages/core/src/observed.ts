import { mayEject } from "./ejection.ts";
import type { Endpoint, EndpointStats } from "./endpoint.ts";
import type { Judgement } from "./explanation.ts";
import { fade } from "./fade.ts";
import type { Rated } from "./least-cost.ts";
import type { Outcome } from "./pick.ts";

/** The least time constant of the averages: Finagle's 10 s is too slow for a server whose neighbours change. */
const DECAY_MS = 1_500;
/** Where answers are rare, an average spans at least so many of them, but no more than so long. */
const SAMPLES = 20;
const RARE_DECAY_MS = 5_000;
/** The first answer of a new connection, or of a server that has just begun, says little. A newcomer is asked so often at once. */
const FIRST_ANSWERS = 2;
/** By how much longer the past counts after a second chance that was in vain, and at most. */
const PATIENCE_STEP = 8;
const PATIENCE_MOST = 16;
/** Who is slow is asked again after three times as long, at the latest. */
const DECAY_MOST_MS = 20_000;
/** A failure counts as an answer so many times slower than the fleet's; or so slow, if the fleet has never answered. */
const FAILURE_FACTOR = 50;
const FAILURE_MS = 1_000;
/** A single failure is forgotten with the next answer; what remains is the share of failures among about so many. */
const RISK_SAMPLES = 32;
/** More of it would only be longer in going away: at a tenth, it is six times as dear as the others already. */
const RISK_MOST = 0.1;
/** Less of it does not matter. */
const RISK_LEAST = 0.005;
/** So many failures in a row eject; for so long at first, doubling to the most. A long first one can collapse a fleet. */
const EJECT_AFTER = 3;
/** Where all fail now and then, some failures in a row are chance: less likely than this, they are not; and eject. */
const FAILURES_BY_CHANCE = 0.03;
const EJECTED_BY_CHANCE = 0.0001;
/** The failures of the fleet are counted among so many calls. */
const FLEET_SAMPLES = 100;
const EJECT_MS = 200;
const EJECT_MOST_MS = 4_000;
/** The share of the fleet that may be out at once. */
const MAX_EJECTED = { maxEjected: 0.5 };
/** So long without a failure, and an endpoint's past is forgotten. */
const CLEAN_MS = 10_000;
/** Who is not asked is taken, in the end, to be a trifle better than the others: or nobody would ever find out. */
const CURIOSITY = 0.97;
/** What fades is looked at anew after so long: it fades in seconds, and there is an answer in between, or there is none. */
const STEP_MS = 20;
/** Keeps fleets that answer in no time comparable. */
const FLOOR_MS = 0.01;

/** What the endpoints of one balancer have in common. */
export interface ObservedFleet {
  /** The running average of all good answers, but for the first of each; and how many there were, up to SAMPLES. */
  ms: number;
  answers: number;
  at: number;
  /** The share of failures among about the last hundred calls. */
  risk: number;
  /** The average and the share before this step of time, and the step. */
  stepMs: number;
  stepRisk: number;
  stepAt: number;
  size: number;
  ejected: number;
}

/** Makes the {@link ObservedFleet} of a balancer that has not seen anything yet. */
export function observedFleet(): ObservedFleet {
  return { ms: 0, answers: 0, at: -Infinity, risk: 0, stepMs: 0, stepRisk: 0, stepAt: -Infinity, size: 0, ejected: 0 };
}

/** Counts the fleet anew: its set has changed. */
export function countFleet(fleet: ObservedFleet, all: readonly Observed[]): void {
  fleet.size = all.length;
  fleet.ejected = all.filter(({ isEjected }) => isEjected).length;
}

// The numbers of an endpoint lie together in one typed array: as fields, each would be a place of its own in memory, and
// with thousands of endpoints that is what a pick costs.
/** The running average of its answers; 0 before the first one. */
const MS = 0;
/** When the last answer came. */
const AT = 1;
/** Since when nothing has come back, if anything is awaited: the first call after the last answer; or Infinity. */
const ASKED_AT = 2;
/** In a row; while there are any, it costs at least as much as its last failure. */
const FAILURES = 3;
/** The share of failures among its last answers. */
const RISK = 4;
/** 0: not ejected. After this time, one probe decides. */
const EJECTED_UNTIL = 5;
/** The time constant of its average now. */
const DECAY = 6;
/** 1 / weight: to multiply is quicker. */
const LIGHTNESS = 7;
/** The usual time between two answers. */
const GAP = 8;
/** How much longer than usual it is remembered: grows when a second chance was in vain. */
const PATIENCE = 9;
const PENALTY = 10;
const FAILED_AT = 11;
/** Ejections in a row. */
const LEVEL = 12;
/** When the probe went out, or -1. */
const PROBED_AT = 13;
/** When the first failure of the row came. */
const FAILING_SINCE = 16;
/** When it was asked last. */
const TRIED_AT = 17;
/** How often it has answered, up to SAMPLES. */
const ANSWERS = 18;
/** What it is expected to take, as far as that changes slowly; and until when that holds. */
const EXPECTED = 14;
const EXPECTED_UNTIL = 15;

/** The typed array, as a type that knows which places there are. */
type Numbers = Record<
  | typeof MS
  | typeof AT
  | typeof ASKED_AT
  | typeof FAILURES
  | typeof RISK
  | typeof EJECTED_UNTIL
  | typeof DECAY
  | typeof LIGHTNESS
  | typeof GAP
  | typeof PATIENCE
  | typeof PENALTY
  | typeof FAILED_AT
  | typeof LEVEL
  | typeof PROBED_AT
  | typeof FAILING_SINCE
  | typeof TRIED_AT
  | typeof ANSWERS
  | typeof EXPECTED
  | typeof EXPECTED_UNTIL,
  number
>;

/**
 * What the policy {@link adaptive} has seen of one endpoint in one balancer: how dear a call to it is, and whether it is
 * ejected. The rules are told there.
 */
export class Observed implements Rated {
  readonly endpoint: Endpoint;
  readonly #stats: EndpointStats;
  readonly #fleet: ObservedFleet;
  readonly #numbers: Numbers;

  constructor(endpoint: Endpoint, fleet: ObservedFleet) {
    this.endpoint = endpoint;
    this.#stats = endpoint.stats;
    this.#fleet = fleet;
    const numbers = new Float64Array(19) as unknown as Numbers;
    numbers[AT] = -Infinity;
    numbers[ASKED_AT] = Infinity;
    numbers[DECAY] = DECAY_MS;
    numbers[PATIENCE] = 1;
    numbers[FAILED_AT] = -Infinity;
    numbers[PROBED_AT] = -1;
    numbers[TRIED_AT] = -Infinity;
    numbers[EXPECTED_UNTIL] = -Infinity;
    this.#numbers = numbers;
  }

  /** Takes over what may have changed about its instance. */
  refresh(): this {
    this.#numbers[LIGHTNESS] = 1 / this.endpoint.instance.weight;
    return this;
  }

  get isEjected(): boolean {
    return this.#numbers[EJECTED_UNTIL] > 0;
  }

  /** What an explanation says of it. */
  judge(nowMs: number): Judgement {
    return this.isEjected ? { ejectedForMs: Math.max(0, this.#numbers[EJECTED_UNTIL] - nowMs) } : {};
  }

  /** Lower is better; negative: at once, for a probe; `Infinity`: not now. */
  cost(nowMs: number): number {
    const numbers = this.#numbers;
    return nowMs < numbers[EXPECTED_UNTIL] ? this.#known(nowMs) : this.#reckon(nowMs);
  }

  #known(nowMs: number): number {
    const numbers = this.#numbers;
    // -Infinity if nothing is awaited. No `if`: the processor would guess wrong half of the time.
    const ms = Math.max(numbers[EXPECTED], nowMs - numbers[ASKED_AT]);
    return ms * (this.#stats.inFlight + 1) * numbers[LIGHTNESS];
  }

  #reckon(nowMs: number): number {
    const numbers = this.#numbers;
    if (numbers[EJECTED_UNTIL] > 0) return this.#wantsProbe(nowMs) ? -1 : Infinity;
    // Who failed last is asked again after a while, however dear: nobody may be lost for ever.
    if (this.#stats.inFlight === 0 && nowMs - numbers[AT] > EJECT_MOST_MS && this.#isIll()) return -1;
    this.#expect(nowMs);
    return this.#known(nowMs);
  }

  /**
   * Notes what it is expected to take in this step of time. It depends on nothing but what was seen and the step, so it
   * makes no difference when, how often and by whom it is asked for.
   */
  #expect(nowMs: number): void {
    const numbers = this.#numbers;
    const stepAt = stepOf(nowMs);
    const fleet = this.#fleet;
    const isSameStep = fleet.stepAt === stepAt;
    const fleetMs = isSameStep ? fleet.stepMs : fleet.ms;
    let idleMs = Math.max(0, stepAt - numbers[AT]);
    const restMs = fleetMs * CURIOSITY;
    let ms = numbers[MS];
    if (numbers[ANSWERS] < FIRST_ANSWERS) {
      const isAsked = numbers[ASKED_AT] !== Infinity;
      if (numbers[ANSWERS] > 0) {
        ms = isAsked ? Math.min(ms, fleetMs) : 0;
      } else if (numbers[TRIED_AT] !== -Infinity) {
        // Nothing has come of it yet, or nothing at all: the others come first for a while.
        ms = 2 * fleetMs;
        idleMs = Math.max(0, stepAt - numbers[TRIED_AT]);
      }
    }
    if (ms > restMs) ms = restMs + (ms - restMs) * fade(idleMs / numbers[DECAY]);
    // That does not fade: who fails is asked again when its time has come.
    if (this.#isIll()) ms = Math.max(ms, numbers[PENALTY]);
    if (numbers[RISK] > 0) {
      // What all have costs nobody anything.
      const risk = numbers[RISK] * fade(idleMs / DECAY_MS) - (isSameStep ? fleet.stepRisk : fleet.risk);
      if (risk > RISK_LEAST) ms += risk * FAILURE_FACTOR * fleetMs;
    }
    numbers[EXPECTED] = ms + FLOOR_MS;
    // Who fails is looked at closely each time.
    numbers[EXPECTED_UNTIL] = numbers[FAILURES] > 0 ? -Infinity : stepAt + STEP_MS;
  }

  started(nowMs: number): void {
    const numbers = this.#numbers;
    numbers[TRIED_AT] = nowMs;
    if (numbers[ANSWERS] < FIRST_ANSWERS) numbers[EXPECTED_UNTIL] = -Infinity;
    if (numbers[ASKED_AT] === Infinity) numbers[ASKED_AT] = nowMs;
    if (numbers[EJECTED_UNTIL] > 0 && this.#wantsProbe(nowMs)) numbers[PROBED_AT] = nowMs;
  }

  ended(outcome: Outcome, latencyMs: number, nowMs: number, draw: (bound: number) => number): void {
    const numbers = this.#numbers;
    numbers[ASKED_AT] = Infinity;
    numbers[EXPECTED_UNTIL] = -Infinity;
    const startedAt = nowMs - latencyMs;
    // Who was asked before the ejection ended says nothing about the return.
    const isProbe = numbers[EJECTED_UNTIL] > 0 && numbers[PROBED_AT] >= 0 && startedAt >= numbers[PROBED_AT] - 1e-6;
    if (outcome.kind === "cancelled") {
      // Slower than others, it is known to take at least so long; a probe then counts as one that hangs.
      const isNews = latencyMs > numbers[MS] || numbers[ANSWERS] < FIRST_ANSWERS;
      if (outcome.superseded === true && isNews && latencyMs > this.#fleet.ms) this.#learn(latencyMs, nowMs);
      else if (isProbe) numbers[PROBED_AT] = -1;
    } else if (outcome.kind === "success") {
      const risk = numbers[RISK] * fade((nowMs - numbers[AT]) / DECAY_MS) * (1 - 1 / RISK_SAMPLES);
      numbers[RISK] = risk > RISK_LEAST ? risk : 0;
      this.#learn(latencyMs, nowMs);
      this.#beginStep(nowMs);
      this.#learnFleet(latencyMs, nowMs);
      numbers[FAILURES] = 0;
      if (isProbe) this.#return();
      else if (numbers[LEVEL] > 0 && nowMs - numbers[FAILED_AT] > CLEAN_MS) numbers[LEVEL] = 0;
    } else {
      const fleetMs = this.#fleet.ms;
      numbers[PENALTY] = Math.max(latencyMs, fleetMs > 0 ? fleetMs * FAILURE_FACTOR : FAILURE_MS);
      const risk = numbers[RISK] * fade((nowMs - numbers[AT]) / DECAY_MS);
      numbers[RISK] = Math.min(RISK_MOST, risk + (1 - risk) / RISK_SAMPLES);
      numbers[AT] = nowMs;
      if (numbers[FAILURES] === 0) numbers[FAILING_SINCE] = nowMs;
      numbers[FAILURES]++;
      numbers[FAILED_AT] = nowMs;
      if (isProbe || (numbers[EJECTED_UNTIL] === 0 && this.#mayEject())) this.#eject(nowMs, draw);
      this.#beginStep(nowMs);
      this.#fleet.risk += (1 - this.#fleet.risk) / FLEET_SAMPLES;
    }
  }

  #learn(sampleMs: number, nowMs: number): void {
    const numbers = this.#numbers;
    const idleMs = numbers[ANSWERS] === 0 ? 0 : nowMs - numbers[AT];
    if (numbers[ANSWERS] < SAMPLES) numbers[ANSWERS]++;
    // Of the first answers each counts alike, but for the very first one.
    const keep = Math.min(fade(idleMs / numbers[DECAY]), 1 - 1 / Math.max(1, numbers[ANSWERS] - 1));
    const isSlow = sampleMs > 2 * this.#fleet.ms;
    if (!isSlow) numbers[PATIENCE] = 1;
    else if (idleMs > DECAY_MS) numbers[PATIENCE] = Math.min(PATIENCE_MOST, PATIENCE_STEP * numbers[PATIENCE]);
    numbers[GAP] += (Math.min(idleMs, 1_000) - numbers[GAP]) / SAMPLES;
    numbers[MS] = numbers[MS] * keep + sampleMs * (1 - keep);
    numbers[AT] = nowMs;
    const decayMs = Math.min(RARE_DECAY_MS, Math.max(DECAY_MS, SAMPLES * numbers[GAP]));
    numbers[DECAY] = Math.min(DECAY_MOST_MS, decayMs * numbers[PATIENCE]);
  }

  /** Keeps what is known of the fleet as it was before the first answer of this step. */
  #beginStep(nowMs: number): void {
    const fleet = this.#fleet;
    const stepAt = stepOf(nowMs);
    if (fleet.stepAt === stepAt) return;
    fleet.stepAt = stepAt;
    fleet.stepMs = fleet.ms;
    fleet.stepRisk = fleet.risk;
  }

  #learnFleet(sampleMs: number, nowMs: number): void {
    const fleet = this.#fleet;
    fleet.risk -= fleet.risk / FLEET_SAMPLES;
    const isFirst = this.#numbers[ANSWERS] === 1;
    if (isFirst && fleet.answers > 0) return;
    if (!isFirst && fleet.answers < SAMPLES) fleet.answers++;
    const keep = Math.min(fade((nowMs - fleet.at) / DECAY_MS), 1 - 1 / Math.max(1, fleet.answers));
    fleet.ms = fleet.ms * keep + sampleMs * (1 - keep);
    fleet.at = nowMs;
  }

  #wantsProbe(nowMs: number): boolean {
    const numbers = this.#numbers;
    // A probe that hangs is not waited for longer than an ejection.
    return nowMs >= numbers[EJECTED_UNTIL] && (numbers[PROBED_AT] < 0 || nowMs - numbers[PROBED_AT] > EJECT_MOST_MS);
  }

  /** Whether it fails, and not just as all the others do. */
  #isIll(): boolean {
    const failures = this.#numbers[FAILURES];
    return failures > 0 && this.#fleet.risk ** failures < FAILURES_BY_CHANCE;
  }

  #mayEject(): boolean {
    const failures = this.#numbers[FAILURES];
    const { size, ejected, risk } = this.#fleet;
    if (failures < EJECT_AFTER || risk ** failures > EJECTED_BY_CHANCE) return false;
    return mayEject(size, ejected, MAX_EJECTED);
  }

  #eject(nowMs: number, draw: (bound: number) => number): void {
    const numbers = this.#numbers;
    if (numbers[EJECTED_UNTIL] === 0) this.#fleet.ejected++;
    // A tenth more or less, so that a fleet of clients does not come back as one.
    const jitter = 0.9 + draw(1_000) / 5_000;
    const forMs = Math.max(EJECT_MS * 2 ** numbers[LEVEL], nowMs - numbers[FAILING_SINCE]);
    numbers[EJECTED_UNTIL] = nowMs + Math.min(EJECT_MOST_MS, forMs) * jitter;
    numbers[PROBED_AT] = -1;
    numbers[LEVEL]++;
  }

  /** The probe has come back well. */
  #return(): void {
    const numbers = this.#numbers;
    // It may have left the set meanwhile, where the others are counted.
    this.#fleet.ejected = Math.max(0, this.#fleet.ejected - 1);
    numbers[EJECTED_UNTIL] = 0;
    numbers[PROBED_AT] = -1;
    numbers[RISK] = 0;
  }
}

/** When the step of time began. */
function stepOf(nowMs: number): number {
  return Math.floor(nowMs / STEP_MS) * STEP_MS;
}
