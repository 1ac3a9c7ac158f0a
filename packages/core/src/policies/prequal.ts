import type { Endpoint } from "../endpoint.ts";
import type { Judgement } from "../explanation.ts";
import { LeastCost, chanceOf, type Rated, leastView } from "../least-cost.ts";
import { memory } from "../memory.ts";
import { Observed, type ObservedFleet, countFleet, observedFleet } from "../observed.ts";
import type { NonEmpty, Policy } from "../policy.ts";
import { Reported, ReportedFleet } from "../reported.ts";

/** As `adaptive` looks. */
const LOOK = { choices: 6, scanUpTo: 32, ratio: 1.2, margin: 1 };

/**
 * As {@link adaptive}, and besides by what the endpoints say of themselves: how many calls they have in flight, whoever
 * made them, and how busy they are. That is for services with other clients than this one, whose calls it cannot see. There
 * is nothing to tune.
 *
 * - Reports come with answers (see `loadReporter` of `@rollcall/http/server`), so none is asked for, and they cost no call.
 * - Calls of others count a third of own ones, as far as they are known: a report is worth less from answer time to
 *   answer time, and nothing after four seconds at most.
 * - One that is much busier than the fleet gets less at once, whatever it has in flight: what waits for a blocked event
 *   loop is not counted by anybody.
 * - Whoever reports nothing is taken to be as loaded as the others. Where nobody does, it is `adaptive`, pick by pick.
 * - Failures, silence and ejection are as there: a report from one that fails fast attracts nothing.
 *
 * Source: Prequal (NSDI'24), which balances by the servers' requests in flight, not by load averages. Its rule (hot or cold
 * by a quantile, then the lowest latency) needs three fresh probes for each call; without probes it is worse than a cost
 * that takes reports for what they still are worth, see docs/policies.md.
 */
export function prequal(): Policy {
  return PREQUAL;
}

const PREQUAL: Policy = Object.freeze<Policy>({
  name: "prequal",
  create(env) {
    const chance = chanceOf(env);
    const fleet = observedFleet();
    const reportedFleet = new ReportedFleet();
    const recordOf = memory((endpoint) => new Known(endpoint, fleet, reportedFleet));
    const cost = ({ observed, reported }: Known, nowMs: number): number => {
      const its = observed.cost(nowMs);
      // To be probed, or out.
      return its > 0 && its < Infinity ? its * reported.factor(nowMs, fleet.ms) : its;
    };
    return {
      picker<E extends Endpoint>(endpoints: NonEmpty<E>) {
        const all = endpoints.map(recordOf) as unknown as NonEmpty<Known>;
        countFleet(
          fleet,
          all.map(({ observed }) => observed.refresh()),
        );
        const field = new LeastCost(all, chance, LOOK);
        return ({ avoid }, nowMs = env.now()) => field.find(cost, nowMs, avoid).endpoint as E;
      },
      started: (endpoint, nowMs) => recordOf(endpoint).observed.started(nowMs),
      observe(endpoint, outcome, latencyMs, nowMs = env.now()) {
        recordOf(endpoint).observed.ended(outcome, latencyMs, nowMs, chance.draw);
      },
      report: (endpoint, report, nowMs) => recordOf(endpoint).reported.learn(report, nowMs),
      explain: (endpoints, request, nowMs) =>
        leastView(
          endpoints.map(recordOf),
          LOOK,
          request,
          (known) => cost(known, nowMs),
          (known) => known.judge(nowMs),
        ),
    };
  },
});

/** What is known of one endpoint: by us, and by itself. */
class Known implements Rated {
  readonly endpoint: Endpoint;
  readonly observed: Observed;
  readonly reported: Reported;

  constructor(endpoint: Endpoint, fleet: ObservedFleet, reportedFleet: ReportedFleet) {
    this.endpoint = endpoint;
    this.observed = new Observed(endpoint, fleet).refresh();
    this.reported = new Reported(endpoint, reportedFleet);
  }

  judge(nowMs: number): Judgement {
    const { observed, reported } = this;
    const { inFlight, utilization } = reported.report;
    const said = [
      inFlight === undefined ? [] : `${inFlight} in flight`,
      utilization === undefined ? [] : `${Math.round(utilization * 100)} % busy`,
    ].flat();
    return {
      ...observed.judge(nowMs),
      ...(said.length === 0 ? {} : { note: `said ${said.join(", ")}, ${Math.round(nowMs - reported.at)} ms ago` }),
    };
  }
}
