import type { Endpoint } from "../endpoint.ts";
import { type NonEmpty, type Policy, isNonEmpty } from "../policy.ts";
import { pickAlias, aliasTable } from "../alias-table.ts";
import { xorshift } from "../xorshift.ts";

/**
 * Any endpoint, with a chance in proportion to its weight: O(1) per pick however many there are, O(n) per change of the
 * set. For many clients with little traffic each; one busy client is served more evenly by {@link weightedRoundRobin}.
 *
 * Source: the alias method of A. J. Walker (1977), with the tables of M. D. Vose, "A linear algorithm for generating random
 * numbers with a given distribution", IEEE Transactions on Software Engineering 17 (9), 1991.
 */
export function weightedRandom(): Policy {
  return WEIGHTED_RANDOM;
}

const WEIGHTED_RANDOM: Policy = Object.freeze<Policy>({
  name: "weighted-random",
  create(env) {
    const draw = xorshift(env);
    return {
      picker<E extends Endpoint>(endpoints: NonEmpty<E>) {
        const table = aliasTable(endpoints.map(({ instance }) => instance.weight));
        return ({ avoid }) => {
          const endpoint = endpoints[pickAlias(table, draw)] ?? endpoints[0];
          if (avoid === undefined || !avoid.has(endpoint)) return endpoint;
          // Rare: a retry. The others keep the proportions among themselves.
          const others = endpoints.filter((other) => !avoid.has(other));
          if (!isNonEmpty(others)) return endpoint;
          return others[pickAlias(aliasTable(others.map(({ instance }) => instance.weight)), draw)] ?? others[0];
        };
      },
      explain: (endpoints) => ({
        why: "chance, in proportion to weight",
        judgements: new Map(endpoints.map((endpoint) => [endpoint, { weight: endpoint.instance.weight }])),
      }),
    };
  },
});
