import type { Endpoint } from "../endpoint.ts";
import { LeastCost, chanceOf, leastView } from "../least-cost.ts";
import { memory } from "../memory.ts";
import { Observed, countFleet, observedFleet } from "../observed.ts";
import type { NonEmpty, Policy } from "../policy.ts";

/** All of a small set, six of a large one: with two, slow ones that meet each other get through; more gains little. */
const LOOK = { choices: 6, scanUpTo: 32, ratio: 1.2, margin: 1 };

/**
 * The endpoint whose expected wait is the lowest, by what was seen of it: how long it takes (a running average), how many
 * calls it has in hand, for how long it has not answered, whether it fails. There is nothing to tune.
 *
 * - A failure counts as a very slow answer, so failing fast attracts nothing; three in a row eject, for 200 ms or as long
 *   as it has failed already, doubling, up to 4 s, never more than half of the set and never the last; one probe decides about the return.
 * - Silence counts: an endpoint that has stopped is left alone before its first late answer.
 * - What was slow and is not asked any more is slowly taken to be as good as the others, and asked again; if that was
 *   wrong, the next time is much farther off, up to a minute.
 * - Up to 32 endpoints are compared as a whole; of more, six by chance.
 *
 * Sources: the cost is Finagle's PeakEwma (2015) without the peaks, with failures as linkerd2-proxy counts them (#4537) and
 * the age of unanswered calls after Kratos' `predict`; ejection as in Envoy's outlier detection, but short, see
 * docs/policies.md for the reasons.
 */
export function adaptive(): Policy {
  return ADAPTIVE;
}

const ADAPTIVE: Policy = Object.freeze<Policy>({
  name: "adaptive",
  create(env) {
    const chance = chanceOf(env);
    const fleet = observedFleet();
    const recordOf = memory((endpoint) => new Observed(endpoint, fleet).refresh());
    let last: Observed | undefined;
    const cost = (observed: Observed, nowMs: number): number => observed.cost(nowMs);
    return {
      picker<E extends Endpoint>(endpoints: NonEmpty<E>) {
        const all = endpoints.map((endpoint) => recordOf(endpoint).refresh()) as unknown as NonEmpty<Observed>;
        countFleet(fleet, all);
        const field = new LeastCost(all, chance, LOOK);
        return ({ avoid }, nowMs = env.now()) => {
          last = field.find(cost, nowMs, avoid);
          return last.endpoint as E;
        };
      },
      started(endpoint, nowMs) {
        // It is nearly always the one that was picked last, and need not be looked up.
        (last?.endpoint === endpoint ? last : recordOf(endpoint)).started(nowMs);
      },
      observe(endpoint, outcome, latencyMs, nowMs = env.now()) {
        recordOf(endpoint).ended(outcome, latencyMs, nowMs, chance.draw);
      },
      explain: (endpoints, request, nowMs) =>
        leastView(
          endpoints.map(recordOf),
          LOOK,
          request,
          (observed) => observed.cost(nowMs),
          (observed) => observed.judge(nowMs),
        ),
    };
  },
});
