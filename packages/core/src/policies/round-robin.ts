import type { Policy } from "../policy.ts";
import { Turn } from "../turn.ts";

/**
 * Each endpoint in turn, whatever its weight. A new balancer starts anywhere, at `floor(env.random() * n)`, so that a
 * fleet of clients does not start on the same instance. The cycle goes on across updates: the endpoints that stay are
 * never more than one pick apart.
 */
export function roundRobin(): Policy {
  return ROUND_ROBIN;
}

const ROUND_ROBIN: Policy = Object.freeze<Policy>({
  name: "round-robin",
  create(env) {
    const turn = new Turn(env);
    return {
      picker(endpoints) {
        turn.enter(endpoints);
        const size = endpoints.length;
        return () => {
          const index = turn.next;
          turn.next = index + 1 === size ? 0 : index + 1;
          return endpoints[index] ?? endpoints[0];
        };
      },
      explain(endpoints, { avoid }) {
        const first = turn.in(endpoints);
        if (first === undefined) return { why: "the first turn is by chance" };
        const { length } = endpoints;
        let next = endpoints[first];
        for (let step = 1; step < length && next !== undefined && avoid?.has(next) === true; step++) {
          next = endpoints[(first + step) % length];
        }
        return { next, why: "it is its turn" };
      },
    };
  },
});
