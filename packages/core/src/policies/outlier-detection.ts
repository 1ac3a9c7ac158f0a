import { anyOther, hasOther, pickAvoiding } from "../avoiding.ts";
import { checkChild, nameOf, reportOf, viewOf } from "../decorator.ts";
import { Ejection, type EjectionRules, mayEject } from "../ejection.ts";
import type { Endpoint } from "../endpoint.ts";
import type { Judgement } from "../explanation.ts";
import { memory } from "../memory.ts";
import { checkOptions, is } from "../options.ts";
import type { PickRequest } from "../pick.ts";
import { type NonEmpty, type Picker, type Policy, type PolicyState, isNonEmpty } from "../policy.ts";
import { type Detectors, DETECTOR_CHECKS, Tally, detectorsOf, outliers } from "../outliers.ts";
import { xorshift } from "../xorshift.ts";

/** What {@link outlierDetection} can be told. */
export interface OutlierDetectionOptions extends Detectors {
  /** How long the first ejection lasts; each further one twice as long. Default 200 ms: a long one can collapse a fleet. */
  readonly ejectMs?: number | undefined;
  /** The longest ejection. Default 4 s. */
  readonly ejectMostMs?: number | undefined;
  /** The share of the set that may be out at once; one may always be, the last one never. Default 0.5. */
  readonly maxEjected?: number | undefined;
}

/**
 * Takes endpoints that fail out of the child's set for a time, by what this client sees of them: failures in a row, and
 * in each interval the success rate, the share of failures and the latency, beside those of the others. When the time is
 * over, one call is the probe: if it succeeds the endpoint is back, if not it is out for twice as long.
 *
 * Put it outside of `zoneAware`, `priority`, `panic` and `subset`: it tells them who is ill.
 *
 * Sources: gRPC proposal A50 and Envoy's outlier detection (detectors and their constants); the return by one probe is that
 * of Finagle's failure accrual; ejections are short, see docs/policies.md.
 *
 * @throws InvalidOptionError
 */
export function outlierDetection(child: Policy, options: OutlierDetectionOptions = {}): Policy {
  checkChild(child, { "outlier-detection": "a policy without outlier detection of its own" });
  checkOptions("", options, {
    ...DETECTOR_CHECKS,
    ejectMs: is.number(1),
    ejectMostMs: is.number(1),
    maxEjected: is.number(0, 1),
  });
  const { ejectMs = 200, ejectMostMs = 4_000, maxEjected = 0.5 } = options;
  const rules: EjectionRules = { ejectMs, ejectMostMs: Math.max(ejectMs, ejectMostMs), maxEjected };
  const detectors = detectorsOf(options);

  return Object.freeze<Policy>({
    name: nameOf("outlier-detection", child),
    child,
    create(env): PolicyState {
      const state = child.create(env);
      const draw = xorshift(env);
      const recordOf = memory(() => new Health());
      let current: readonly Endpoint[] = [];
      /** Grows with every ejection and return: pickers look whether theirs is the newest. */
      let version = 0;
      /** When the next ejection ends. */
      let nextReturnAt = Infinity;
      let sweptAt = -Infinity;

      let [out, countedFor] = [0, -1];
      /** Counted once per change: where all fail and no more may be out, every failure asks. */
      const ejectedCount = (): number => {
        if (countedFor !== version) {
          out = current.filter((endpoint) => recordOf(endpoint).ejection.isOut).length;
          countedFor = version;
        }
        return out;
      };

      const eject = (health: Health, nowMs: number): void => {
        health.failures = 0;
        health.ejection.eject(nowMs, rules, draw(1_000) / 1_000);
        nextReturnAt = Math.min(nextReturnAt, health.ejection.until ?? Infinity);
        version++;
      };

      const returnDue = (nowMs: number): void => {
        nextReturnAt = Infinity;
        for (const endpoint of current) {
          const { ejection } = recordOf(endpoint);
          if (ejection.until !== undefined && nowMs >= ejection.until) ejection.giveChance();
          nextReturnAt = Math.min(nextReturnAt, ejection.until ?? Infinity);
        }
        version++;
      };

      /** Once per interval: compares everybody with the others. */
      const sweep = (nowMs: number): void => {
        sweptAt = nowMs;
        const healths = current.map(recordOf);
        for (const place of outliers(
          healths.map(({ tally }) => tally),
          detectors,
        )) {
          const health = healths[place];
          if (health === undefined || health.ejection.isOut) continue;
          if (mayEject(current.length, ejectedCount(), rules)) eject(health, nowMs);
        }
        for (const { tally, ejection } of healths) {
          tally.clear();
          if (!ejection.isOut) ejection.forgive();
        }
      };

      /** A set that has shrunk may have more of them out than it can bear. */
      const pardoned = (endpoints: readonly Endpoint[]): ReadonlySet<Health> => {
        const ill = endpoints.map(recordOf).filter(({ ejection }) => ejection.isOut);
        ill.sort((a, b) => (a.ejection.until ?? 0) - (b.ejection.until ?? 0));
        let left = ill.length;
        while (left > 0 && !mayEject(endpoints.length, left - 1, rules)) left--;
        return new Set(ill.slice(0, ill.length - left));
      };

      const picker = <E extends Endpoint>(endpoints: NonEmpty<E>, all: NonEmpty<E> = endpoints): Picker<E> => {
        current = endpoints;
        for (const { ejection } of pardoned(endpoints)) ejection.clear();
        version++;
        // Who was away for a while, drained, comes back with what he left with.
        nextReturnAt = endpoints.reduce(
          (next, endpoint) => Math.min(next, recordOf(endpoint).ejection.until ?? Infinity),
          Infinity,
        );
        let builtFor = -1;
        let set: NonEmpty<E> = endpoints;
        let inner: Picker<E> = () => endpoints[0];
        let onProbation: readonly E[] = [];
        const build = (): void => {
          const well = endpoints.filter((endpoint) => recordOf(endpoint).ejection.until === undefined);
          set = isNonEmpty(well) ? (well.length === endpoints.length ? endpoints : well) : endpoints;
          inner = state.picker(set, all);
          onProbation = endpoints.filter((endpoint) => recordOf(endpoint).ejection.isOnProbation);
          builtFor = version;
        };
        build();

        const pickWell = (request: PickRequest, nowMs: number): E => {
          const { avoid, key } = request;
          if (onProbation.length === 0) return pickAvoiding(state, inner, set, request, nowMs);
          const isWaiting = (endpoint: E): boolean => !recordOf(endpoint).isProbed(nowMs, rules);
          // A key belongs where it belongs: its call is a probe only if the child says so.
          const probe =
            key === undefined ? onProbation.find((each) => isWaiting(each) && avoid?.has(each) !== true) : undefined;
          if (probe !== undefined) return probe;
          const spared = new Set<Endpoint>([...onProbation.filter((each) => !isWaiting(each)), ...(avoid ?? [])]);
          return pickAvoiding(state, inner, set, spared.size === 0 ? request : { ...request, avoid: spared }, nowMs);
        };

        return (request, nowMs = env.now()) => {
          if (nowMs >= nextReturnAt) returnDue(nowMs);
          if (version !== builtFor) build();
          const endpoint = pickWell(request, nowMs);
          const { avoid } = request;
          if (avoid === undefined || !avoid.has(endpoint)) return endpoint;
          // Rather one that is out than one that this call has tried already.
          return anyOther(set, avoid, draw) ?? anyOther(endpoints, avoid, draw) ?? endpoint;
        };
      };

      return {
        picker,
        started(endpoint, nowMs) {
          const health = recordOf(endpoint);
          if (health.ejection.isOnProbation && !health.isProbed(nowMs, rules)) health.ejection.probedAt = nowMs;
          state.started?.(endpoint, nowMs);
        },
        observe(endpoint, outcome, latencyMs, nowMs = env.now()) {
          state.observe?.(endpoint, outcome, latencyMs, nowMs);
          const health = recordOf(endpoint);
          const { ejection, tally } = health;
          const { probedAt } = ejection;
          const isProbe = ejection.isOnProbation && probedAt !== undefined && nowMs - latencyMs >= probedAt - 1e-6;
          if (outcome.kind === "cancelled") {
            // One that was overtaken by another attempt hangs: the next one has to wait for as long.
            if (isProbe && outcome.superseded !== true) ejection.probedAt = undefined;
            return;
          }
          const isGood = outcome.kind === "success";
          tally.add(isGood, latencyMs);
          health.failures = isGood ? 0 : health.failures + 1;
          if (isProbe) {
            if (isGood) {
              ejection.clear();
              version++;
            } else {
              eject(health, nowMs);
            }
          } else if (!ejection.isOut && health.failures >= detectors.failures) {
            if (mayEject(current.length, ejectedCount(), rules)) eject(health, nowMs);
          }
          if (sweptAt === -Infinity) sweptAt = nowMs;
          else if (nowMs - sweptAt >= detectors.intervalMs) sweep(nowMs);
        },
        ...reportOf(state),
        explain(endpoints, request, nowMs, all = endpoints) {
          // Of a set that no pick has seen yet.
          const free = pardoned(endpoints);
          const isIn = (endpoint: Endpoint): boolean => {
            const health = recordOf(endpoint);
            const { until } = health.ejection;
            return until === undefined || nowMs >= until || free.has(health);
          };
          const well = endpoints.filter(isIn);
          const view = viewOf(child, state, isNonEmpty(well) ? well : endpoints, request, nowMs, all);
          const judgements = new Map<Endpoint, Judgement>(view.judgements);
          let probe: Endpoint | undefined;
          for (const endpoint of endpoints) {
            const health = recordOf(endpoint);
            const { ejection } = health;
            if (!ejection.isOut || free.has(health)) continue;
            const isProbed = health.isProbed(nowMs, rules);
            const isFree = isIn(endpoint) && !isProbed && request.avoid?.has(endpoint) !== true;
            if (isFree && request.key === undefined) probe ??= endpoint;
            const note = isProbed ? "a probe is on its way" : isIn(endpoint) ? "waits for a probe" : "ejected";
            const ejectedForMs = Math.max(0, (ejection.until ?? nowMs) - nowMs);
            judgements.set(endpoint, { ...judgements.get(endpoint), ejectedForMs, note });
          }
          const why = probe === undefined ? view.why : "a probe decides about its return";
          // With a probe on its way, or with nobody left who is well, the child is asked in another way.
          const isPlain =
            hasOther(well, request) &&
            endpoints.every((endpoint) => {
              const health = recordOf(endpoint);
              return free.has(health) || !health.isProbed(nowMs, rules);
            });
          return { next: probe ?? (isPlain ? view.next : undefined), why, judgements };
        },
      };
    },
  });
}

/** What is known of one endpoint. */
class Health {
  /** In a row. */
  failures = 0;
  readonly tally = new Tally();
  readonly ejection = new Ejection();

  /** Whether its probe is on its way; one that hangs is not waited for longer than the longest ejection. */
  isProbed(nowMs: number, { ejectMostMs }: EjectionRules): boolean {
    const { probedAt } = this.ejection;
    return probedAt !== undefined && nowMs - probedAt <= ejectMostMs;
  }
}
