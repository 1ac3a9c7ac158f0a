import type { Endpoint } from "../endpoint.ts";
import { LeastCost, chanceOf, type Rated, leastView } from "../least-cost.ts";
import { memory } from "../memory.ts";
import { checkOptions, is } from "../options.ts";
import type { NonEmpty, Policy } from "../policy.ts";
import { CHOICE_CHECKS, type LeastRequestOptions } from "./least-request.ts";

/** What {@link peakEwma} can be told. */
export interface PeakEwmaOptions extends LeastRequestOptions {
  /** The time in which an old answer loses all but 1/e of its weight. Default 10 s. */
  readonly decayMs?: number | undefined;
  /** A failure counts as an answer that took at least so long. Default 5 s. */
  readonly penaltyMs?: number | undefined;
}

/** What a fleet of which nothing is known is taken to need. */
const SEED_MS = 30;
/** Who has not answered yet is taken to be a trifle better than the others: or nobody would ever find out. */
const CURIOSITY = 0.97;
/** After so long, who failed last is asked again, however dear: nobody may be lost for ever. */
const FORGIVEN_AFTER_MS = 4_000;

/**
 * The endpoint whose expected wait is the lowest: its latency, times the calls it has to serve first, by weight. The
 * latency is an average that leaps up with a slow answer and comes down slowly; a failure counts as a very slow answer, so
 * that failing fast does not pay; and a call that is not answered yet counts by its age, so that one who has stopped is
 * noticed before its first late answer.
 *
 * Sources: Finagle's P2C PeakEwma (2015); the penalty of linkerd2-proxy's load biaser (#4537); reads change nothing, as in
 * linkerd's version of it; the age of unanswered calls after Kratos' `predict`.
 *
 * @throws InvalidOptionError
 */
export function peakEwma(options: PeakEwmaOptions = {}): Policy {
  checkOptions("", options, { ...CHOICE_CHECKS, decayMs: is.number(1), penaltyMs: is.durationMs });
  const { decayMs = 10_000, penaltyMs = 5_000, scanUpTo = 16 } = options;
  const look = { choices: Math.floor(options.choices ?? 2), scanUpTo };
  return Object.freeze<Policy>({
    name: "peak-ewma",
    create(env) {
      const chance = chanceOf(env);
      const recordOf = memory((endpoint) => new Latency(endpoint));
      /** The mean of all good answers: what is expected of who has not answered yet. */
      let fleetMs = SEED_MS;

      const decayed = (latency: Latency, nowMs: number): number => {
        if (latency.isMeasured) return latency.ms * Math.exp((latency.at - nowMs) / decayMs);
        // A newcomer is asked at once; if that comes to nothing, it is left to the others for a while.
        return latency.triedAt === -Infinity
          ? 0
          : fleetMs * (CURIOSITY + Math.exp((latency.triedAt - nowMs) / decayMs));
      };

      const cost = (latency: Latency, nowMs: number): number => {
        const { stats, instance } = latency.endpoint;
        if (latency.failed && stats.inFlight === 0 && nowMs - latency.at >= FORGIVEN_AFTER_MS) return 0;
        const silentMs = latency.askedAt === undefined ? 0 : nowMs - latency.askedAt;
        const failedMs = latency.failed ? latency.penaltyMs * Math.exp((latency.at - nowMs) / decayMs) : 0;
        return (Math.max(decayed(latency, nowMs), failedMs, silentMs, 0.001) * (stats.inFlight + 1)) / instance.weight;
      };

      return {
        picker<E extends Endpoint>(endpoints: NonEmpty<E>) {
          const field = new LeastCost(endpoints.map(recordOf) as unknown as NonEmpty<Latency>, chance, look);
          return ({ avoid }, nowMs = env.now()) => field.find(cost, nowMs, avoid).endpoint as E;
        },
        started(endpoint, nowMs) {
          const latency = recordOf(endpoint);
          latency.triedAt = nowMs;
          latency.askedAt ??= nowMs;
        },
        observe(endpoint, outcome, latencyMs, nowMs = env.now()) {
          const { kind } = outcome;
          const latency = recordOf(endpoint);
          latency.askedAt = undefined;
          if (kind === "cancelled") {
            // Overtaken by another attempt: it takes at least so long.
            if (outcome.superseded !== true || latencyMs <= decayed(latency, nowMs)) return;
            latency.ms = latencyMs;
            latency.isMeasured = true;
            latency.at = nowMs;
            return;
          }
          latency.failed = kind === "failure";
          if (latency.failed) {
            latency.penaltyMs = Math.max(latencyMs, penaltyMs);
          } else {
            const before = decayed(latency, nowMs);
            // A slow answer counts as a whole.
            const keep = latencyMs >= before || !latency.isMeasured ? 0 : Math.exp((latency.at - nowMs) / decayMs);
            latency.ms = latency.ms * keep + latencyMs * (1 - keep);
            latency.isMeasured = true;
            fleetMs += (latencyMs - fleetMs) / 100;
          }
          latency.at = nowMs;
        },
        explain: (endpoints, request, nowMs) =>
          leastView(endpoints.map(recordOf), look, request, (latency) => cost(latency, nowMs)),
      };
    },
  });
}

class Latency implements Rated {
  readonly endpoint: Endpoint;
  ms = 0;
  isMeasured = false;
  /** When it was asked last. */
  triedAt = -Infinity;
  /** When the last answer came. */
  at = -Infinity;
  /** While it failed last, it costs at least this. */
  penaltyMs = 0;
  /** Since when nothing has come back, if anything is awaited: the first call after the last answer. */
  askedAt: number | undefined = undefined;
  failed = false;

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint;
  }
}
