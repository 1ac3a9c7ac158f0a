import type { Endpoint } from "../endpoint.ts";
import type { Policy } from "../policy.ts";

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
    let order: readonly Endpoint[] = [];
    /** Where in `order` the next pick is; beyond its end before the first one. */
    let next = 0;

    return {
      picker(endpoints) {
        next = order.length === 0 ? Math.floor(env.random() * endpoints.length) : resume(order, next, endpoints);
        order = endpoints;
        const size = endpoints.length;
        return () => {
          const index = next;
          next = index + 1 === size ? 0 : index + 1;
          return endpoints[index] ?? endpoints[0];
        };
      },
    };
  },
});

/** Where the cycle goes on in a new set: at the first endpoint, from the next one on, that is still there. */
function resume(order: readonly Endpoint[], next: number, endpoints: readonly Endpoint[]): number {
  const places = new Map(endpoints.map((endpoint, index) => [endpoint, index]));
  for (let step = 0; step < order.length; step++) {
    const endpoint = order[(next + step) % order.length];
    const place = endpoint === undefined ? undefined : places.get(endpoint);
    if (place !== undefined) return place;
  }
  return next % endpoints.length;
}
