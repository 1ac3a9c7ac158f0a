import type { Endpoint } from "../endpoint.ts";
import { LeastCost, type Rated, leastView } from "../least-cost.ts";
import { memory } from "../memory.ts";
import type { Outcome } from "../pick.ts";
import type { NonEmpty, Policy } from "../policy.ts";
import { xorshift } from "../xorshift.ts";

/** All of a small set, six of a large one: with two, slow ones that meet each other get through; more gains little. */
const LOOK = { choices: 6, scanUpTo: 32 };
/** The least time constant of the averages: Finagle's 10 s is too slow for a server whose neighbours change. */
const DECAY_MS = 1_500;
/** Where answers are rare, an average spans at least so many of them, but no more than so long. */
const SAMPLES = 20;
const RARE_DECAY_MS = 5_000;
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
const FAILURES = 3;
const EJECT_MS = 200;
const EJECT_MOST_MS = 4_000;
/** So long without a failure, and an endpoint's past is forgotten. */
const CLEAN_MS = 10_000;
/** Who is not asked is taken, in the end, to be a trifle better than the others: or nobody would ever find out. */
const CURIOSITY = 0.97;
/** Keeps fleets that answer in no time comparable. */
const FLOOR_MS = 0.01;

/**
 * The endpoint whose expected wait is the lowest, by what was seen of it: how long it takes (a running average), how many
 * calls it has in hand, for how long it has not answered, whether it fails. There is nothing to tune.
 *
 * - A failure counts as a very slow answer, so failing fast attracts nothing; three in a row eject, for 200 ms at first
 *   and up to 4 s, never more than half of the set and never the last; one probe decides about the return.
 * - Silence counts: an endpoint that has stopped is left alone before its first late answer.
 * - What was slow and is not asked any more is slowly taken to be as good as the others, and asked again; if that was
 *   wrong, the next time is twice as far off.
 * - Up to 32 endpoints are compared as a whole; of more, six by chance.
 *
 * Sources: the cost is Finagle's PeakEwma (2015) without the peaks, with failures as linkerd2-proxy counts them (#4537) and
 * the age of unanswered calls after Kratos' `predict`; ejection as in Envoy's outlier detection, but short, see
 * docs/policies.md for the measurements.
 */
export function adaptive(): Policy {
  return ADAPTIVE;
}

const ADAPTIVE: Policy = Object.freeze<Policy>({
  name: "adaptive",
  create(env) {
    const draw = xorshift(env);
    const fleet: Fleet = { ms: 0, at: -Infinity, size: 0, ejected: 0 };
    const recordOf = memory((endpoint) => new Observed(endpoint, fleet));
    const cost = (observed: Observed, nowMs: number): number => observed.cost(nowMs);
    return {
      picker<E extends Endpoint>(endpoints: NonEmpty<E>) {
        const all = endpoints.map(recordOf) as unknown as NonEmpty<Observed>;
        fleet.size = all.length;
        fleet.ejected = all.filter(({ isEjected }) => isEjected).length;
        const field = new LeastCost(all, draw, LOOK);
        return ({ avoid }, nowMs = env.now()) => field.find(cost, nowMs, avoid).endpoint as E;
      },
      started: (endpoint, nowMs) => recordOf(endpoint).started(nowMs),
      observe(endpoint, outcome, latencyMs, nowMs = env.now()) {
        recordOf(endpoint).ended(outcome, latencyMs, nowMs, draw);
      },
      explain: (endpoints, request, nowMs) =>
        leastView(
          endpoints.map(recordOf),
          LOOK,
          request,
          (observed) => observed.cost(nowMs),
          (observed) => (observed.isEjected ? { ejectedForMs: Math.max(0, observed.ejectedUntil - nowMs) } : {}),
        ),
    };
  },
});

/** What the endpoints of one balancer have in common. */
interface Fleet {
  /** The running average of all good answers. */
  ms: number;
  at: number;
  size: number;
  ejected: number;
}

/** What one balancer has seen of one endpoint. */
class Observed implements Rated {
  readonly endpoint: Endpoint;
  readonly #fleet: Fleet;
  /** The running average of its answers, and when that was true. */
  #ms = 0;
  #at = -Infinity;
  /** The usual time between two answers. */
  #gapMs = 0;
  /** How much longer than usual it is remembered: grows when a second chance was in vain. */
  #patience = 1;
  /** Since when nothing has come back, if anything is awaited: the first call after the last answer; or -1. */
  #askedAt = -1;
  /** In a row; while there are any, it costs at least as much as its last failure. */
  #failures = 0;
  #penaltyMs = 0;
  /** The share of failures among its last answers. */
  #risk = 0;
  #failedAt = -Infinity;
  /** Ejections in a row. */
  #level = 0;
  /** 0: not ejected. After this time, one probe decides. */
  ejectedUntil = 0;
  /** When the probe went out, or -1. */
  #probedAt = -1;

  constructor(endpoint: Endpoint, fleet: Fleet) {
    this.endpoint = endpoint;
    this.#fleet = fleet;
  }

  get isEjected(): boolean {
    return this.ejectedUntil > 0;
  }

  /** Lower is better; negative: at once, for a probe; `Infinity`: not now. */
  cost(nowMs: number): number {
    if (this.ejectedUntil > 0) return this.#wantsProbe(nowMs) ? -1 : Infinity;
    const { stats, instance } = this.endpoint;
    let ms = this.#ms;
    const fleetMs = this.#fleet.ms;
    const idleMs = nowMs - this.#at;
    if (this.#failures > 0) {
      // Who failed last is asked again after a while, however dear: nobody may be lost for ever.
      if (stats.inFlight === 0 && idleMs > EJECT_MOST_MS) return -1;
      ms = Math.max(ms, this.#penaltyMs);
    }
    const restMs = fleetMs * CURIOSITY;
    if (ms > restMs && idleMs > 10) ms = restMs + (ms - restMs) * fade(idleMs / this.#decayMs());
    if (this.#risk > 0) {
      const risk = this.#risk * fade(idleMs / DECAY_MS);
      if (risk > RISK_LEAST) ms += risk * FAILURE_FACTOR * fleetMs;
    }
    if (this.#askedAt >= 0 && nowMs - this.#askedAt > ms) ms = nowMs - this.#askedAt;
    return ((ms + FLOOR_MS) * (stats.inFlight + 1)) / instance.weight;
  }

  started(nowMs: number): void {
    if (this.#askedAt < 0) this.#askedAt = nowMs;
    if (this.ejectedUntil > 0 && this.#wantsProbe(nowMs)) this.#probedAt = nowMs;
  }

  ended(outcome: Outcome, latencyMs: number, nowMs: number, draw: (bound: number) => number): void {
    this.#askedAt = -1;
    const startedAt = nowMs - latencyMs;
    // Who was asked before the ejection ended says nothing about the return.
    const isProbe = this.ejectedUntil > 0 && this.#probedAt >= 0 && startedAt >= this.#probedAt - 1e-6;
    if (outcome.kind === "cancelled") {
      if (isProbe) this.#probedAt = -1;
    } else if (outcome.kind === "success") {
      const risk = this.#risk * fade((nowMs - this.#at) / DECAY_MS) * (1 - 1 / RISK_SAMPLES);
      this.#risk = risk > RISK_LEAST ? risk : 0;
      this.#learn(latencyMs, nowMs);
      this.#learnFleet(latencyMs, nowMs);
      this.#failures = 0;
      if (isProbe) this.#return();
      else if (this.#level > 0 && nowMs - this.#failedAt > CLEAN_MS) this.#level = 0;
    } else {
      const fleetMs = this.#fleet.ms;
      this.#penaltyMs = Math.max(latencyMs, fleetMs > 0 ? fleetMs * FAILURE_FACTOR : FAILURE_MS);
      const risk = this.#risk * fade((nowMs - this.#at) / DECAY_MS);
      this.#risk = Math.min(RISK_MOST, risk + (1 - risk) / RISK_SAMPLES);
      this.#at = nowMs;
      this.#failures++;
      this.#failedAt = nowMs;
      if (isProbe || (this.ejectedUntil === 0 && this.#failures >= FAILURES && this.#mayEject())) {
        this.#eject(nowMs, draw);
      }
    }
  }

  #learn(sampleMs: number, nowMs: number): void {
    const idleMs = nowMs - this.#at;
    if (this.#ms === 0) {
      this.#ms = sampleMs;
      this.#at = nowMs;
      return;
    }
    const keep = fade(idleMs / this.#decayMs());
    if (sampleMs < this.#ms / 2) this.#patience = 1;
    else if (idleMs > DECAY_MS && this.#ms > 2 * this.#fleet.ms) this.#patience = Math.min(8, 2 * this.#patience);
    this.#gapMs += (Math.min(idleMs, 1_000) - this.#gapMs) / SAMPLES;
    this.#ms = this.#ms * keep + sampleMs * (1 - keep);
    this.#at = nowMs;
  }

  #learnFleet(sampleMs: number, nowMs: number): void {
    const fleet = this.#fleet;
    const keep = fleet.at === -Infinity ? 0 : fade((nowMs - fleet.at) / DECAY_MS);
    fleet.ms = fleet.ms * keep + sampleMs * (1 - keep);
    fleet.at = nowMs;
  }

  #decayMs(): number {
    return Math.min(RARE_DECAY_MS, Math.max(DECAY_MS, SAMPLES * this.#gapMs)) * this.#patience;
  }

  #wantsProbe(nowMs: number): boolean {
    // A probe that hangs is not waited for longer than an ejection.
    return nowMs >= this.ejectedUntil && (this.#probedAt < 0 || nowMs - this.#probedAt > EJECT_MOST_MS);
  }

  #mayEject(): boolean {
    const { size, ejected } = this.#fleet;
    return ejected < Math.max(1, Math.floor(size / 2)) && ejected < size - 1;
  }

  #eject(nowMs: number, draw: (bound: number) => number): void {
    if (this.ejectedUntil === 0) this.#fleet.ejected++;
    // A tenth more or less, so that a fleet of clients does not come back as one.
    const jitter = 0.9 + draw(1_000) / 5_000;
    this.ejectedUntil = nowMs + Math.min(EJECT_MOST_MS, EJECT_MS * 2 ** this.#level) * jitter;
    this.#probedAt = -1;
    this.#level++;
  }

  /** The probe has come back well. */
  #return(): void {
    this.#fleet.ejected--;
    this.ejectedUntil = 0;
    this.#probedAt = -1;
    this.#risk = 0;
  }
}

/** e^-x, near enough, nothing from 4 on, and without its price: it is needed for every candidate of every pick. */
function fade(x: number): number {
  const rest = 1 - x * 0.25;
  return rest <= 0 ? 0 : rest * rest * rest * rest;
}
