import { type LeastCostOptions, LeastCost, chanceOf, type Rated, leastView } from "../least-cost.ts";
import { checkOptions, is } from "../options.ts";
import type { NonEmpty, Policy } from "../policy.ts";
import type { Endpoint } from "../endpoint.ts";

/** What {@link leastRequest} can be told. */
export interface LeastRequestOptions {
  /** How many endpoints to compare in a large set: 2 to 32. Default 2. */
  readonly choices?: number | undefined;
  /** The largest set that is compared as a whole. Default 8. */
  readonly scanUpTo?: number | undefined;
}

/** The options that policies with choices share. */
export const CHOICE_CHECKS = { choices: is.number(2, 32), scanUpTo: is.number(0) };

/**
 * The endpoint with the fewest calls in flight for its weight: of small sets among all, of large ones among two that
 * chance picks. It counts the calls of this process's endpointer, whoever made them. A server that fails fast looks idle:
 * wrap it in {@link outlierDetection}, or take {@link adaptive}.
 *
 * Sources: gRPC proposal A48 and Envoy's LeastRequest (with full scan), but with distinct choices, as Finagle and tower
 * draw them; see {@link LeastCost}.
 *
 * @throws InvalidOptionError
 */
export function leastRequest(options: LeastRequestOptions = {}): Policy {
  checkOptions("", options, CHOICE_CHECKS);
  const look: LeastCostOptions = {
    choices: Math.floor(options.choices ?? 2),
    scanUpTo: options.scanUpTo ?? 8,
  };
  return Object.freeze<Policy>({
    name: "least-request",
    create(env) {
      const chance = chanceOf(env);
      return {
        picker<E extends Endpoint>(endpoints: NonEmpty<E>) {
          const field = new LeastCost(endpoints.map(rated) as unknown as NonEmpty<Entry<E>>, chance, look);
          return ({ avoid }) => field.find(cost, 0, avoid).endpoint;
        },
        explain: (endpoints, request) => leastView(endpoints.map(rated), look, request, cost),
      };
    },
  });
}

interface Entry<E extends Endpoint> extends Rated {
  readonly endpoint: E;
  readonly weight: number;
}

const rated = <E extends Endpoint>(endpoint: E): Entry<E> => ({ endpoint, weight: endpoint.instance.weight });

const cost = ({ endpoint, weight }: Entry<Endpoint>): number => (endpoint.stats.inFlight + 1) / weight;
