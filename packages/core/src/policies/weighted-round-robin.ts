import type { Endpoint } from "../endpoint.ts";
import type { Judgement } from "../explanation.ts";
import type { Policy } from "../policy.ts";
import { SmoothRotation } from "../smooth-rotation.ts";

/**
 * Each endpoint in turn, as often as its weight says, and evenly spread: weights 5, 1, 1 give a a b a c a a. Which turn is
 * next survives updates of the set and of weights. A new balancer begins with the heaviest; among equals, with any. Many
 * clients with few calls each are better off with `weightedRandom()`.
 *
 * Source: the smooth weighted round robin of nginx (Maxim Dounin, commit 52327e0, 2012), with exactly its sequence, in
 * O(log n) instead of O(n): endpoints of the same weight take turns, and only the heads of these queues compete.
 */
export function weightedRoundRobin(): Policy {
  return WEIGHTED_ROUND_ROBIN;
}

const WEIGHTED_ROUND_ROBIN: Policy = Object.freeze<Policy>({
  name: "weighted-round-robin",
  create(env) {
    let rotation: SmoothRotation<Endpoint> | undefined;
    return {
      picker(endpoints) {
        const next = new SmoothRotation(endpoints, rotation);
        const { weight } = endpoints[0].instance;
        const areEqual = endpoints.every(({ instance }) => instance.weight === weight);
        if (rotation === undefined && areEqual) next.skip(Math.floor(env.random() * endpoints.length));
        rotation = next;
        return ({ avoid }) => next.next(avoid);
      },
      explain(endpoints, { avoid }) {
        // A copy: nobody's turn moves.
        const copy = new SmoothRotation<Endpoint>(endpoints, rotation);
        const judgements = new Map<Endpoint, Judgement>();
        for (const endpoint of endpoints) judgements.set(endpoint, { cost: -copy.creditOf(endpoint) });
        return { next: rotation && copy.next(avoid), why: "the largest credit: turns owed by weight", judgements };
      },
    };
  },
});
