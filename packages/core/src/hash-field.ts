import type { Endpoint } from "./endpoint.ts";
import { hash } from "./hash.ts";
import { address } from "./instance.ts";
import { is } from "./options.ts";
import type { PickRequest } from "./pick.ts";
import type { NonEmpty, Policy, PolicyState } from "./policy.ts";
import { xorshift } from "./xorshift.ts";

/** Where hashes belong, over one set. */
export interface HashField {
  /** The place in the set of the owner of a 32-bit hash; after so many refusals, of the next one to ask. */
  owner(hash: number, refusals: number): number;
}

/** What hashing policies have in common. */
export interface HashOptions {
  /**
   * Bounds the load: nobody gets more than so many times its fair share of the calls in flight, what is beyond goes
   * elsewhere. From 1.05; 1.25 is a good value. Default: no bound.
   */
  readonly boundedLoad?: number | undefined;
}

export const HASH_CHECKS = { boundedLoad: is.number(1.05) };

/** Under which name an endpoint is hashed: `hash_key` of its metadata (as in gRPC proposal A76), or its address. */
export function hashKeyOf({ instance }: Endpoint): string {
  return instance.metadata["hash_key"] ?? address(instance);
}

/** So many refusals, and everybody is asked. */
const REFUSALS = 16;

/**
 * Makes the policy for a kind of field: the key of the request is hashed to its owner; without a key, chance decides, by
 * the shares of the field. Who is to be avoided, or bounded, refuses, and the next one is asked; always the same for a key.
 *
 * Source of the bound: V. Mirrokni, M. Thorup, M. Zadimoghaddam, "Consistent hashing with bounded loads", arXiv 1608.01350,
 * 2016: a cap of ceil(c (m + 1) w) for the m + 1st call; with jumps instead of a walk, J. Chen, B. Coleman, A. Shrivastava,
 * "Revisiting consistent hashing with bounded loads", arXiv 1908.08762, 2019.
 */
export function hashPolicy(
  name: string,
  makeField: (endpoints: NonEmpty<Endpoint>) => HashField,
  { boundedLoad }: HashOptions,
): Policy {
  return Object.freeze<Policy>({
    name: boundedLoad === undefined ? name : `${name}+bounded`,
    create(env): PolicyState {
      const draw = xorshift(env);
      /** The calls in flight of the set; kept only where there is a bound. */
      let active = 0;
      /**
       * After so many picks they are counted anew: once for each endpoint, so it costs O(1) per pick. Others may use the
       * endpoints, too, and calls may end at endpoints that have left.
       */
      let picksToCount = 0;
      let current: { readonly endpoints: readonly Endpoint[]; readonly field: HashField } | undefined;

      const refuses = (endpoint: Endpoint, { avoid }: PickRequest, sum: number, calls: number): boolean =>
        (avoid !== undefined && avoid.has(endpoint)) ||
        (boundedLoad !== undefined && endpoint.stats.inFlight >= cap(endpoint, boundedLoad, calls, sum));

      const find = <E extends Endpoint>(
        endpoints: NonEmpty<E>,
        field: HashField,
        sum: number,
        request: PickRequest,
        hashed: number,
        calls: number,
      ): E => {
        for (let refusals = 0; refusals < REFUSALS; refusals++) {
          const endpoint = endpoints[field.owner(hashed, refusals)] ?? endpoints[0];
          if (!refuses(endpoint, request, sum, calls)) return endpoint;
        }
        return elsewhere(endpoints, hashed, request, (endpoint) => refuses(endpoint, request, sum, calls));
      };
      const sumOf = (endpoints: NonEmpty<Endpoint>): number =>
        endpoints.reduce((total, { instance }) => total + instance.weight, 0);

      const state: PolicyState = {
        picker<E extends Endpoint>(endpoints: NonEmpty<E>) {
          const field = makeField(endpoints);
          const sum = sumOf(endpoints);
          current = { endpoints, field };
          picksToCount = 0;
          return (request) => {
            const hashed = request.key === undefined ? draw(2 ** 31) * 2 : hash(request.key);
            if (boundedLoad !== undefined && picksToCount-- <= 0) {
              active = callsOf(endpoints);
              picksToCount = endpoints.length;
            }
            return find(endpoints, field, sum, request, hashed, active);
          };
        },
        explain(endpoints, request) {
          const { key } = request;
          if (key === undefined) return { why: "no key: chance, by the shares of the table" };
          const isCurrent = current !== undefined && isSame(current.endpoints, endpoints);
          const field = current !== undefined && isCurrent ? current.field : makeField(endpoints);
          const calls = isCurrent && picksToCount > 0 ? active : callsOf(endpoints);
          const next = find(endpoints, field, sumOf(endpoints), request, hash(key), calls);
          return { next, why: `where the key ${JSON.stringify(key)} belongs` };
        },
      };
      if (boundedLoad !== undefined) {
        state.started = () => void active++;
        state.observe = () => void (active = Math.max(0, active - 1));
      }
      return state;
    },
  });
}

const callsOf = (endpoints: readonly Endpoint[]): number =>
  endpoints.reduce((total, { stats }) => total + stats.inFlight, 0);

const isSame = (one: readonly Endpoint[], other: readonly Endpoint[]): boolean =>
  one.length === other.length && one.every((endpoint, place) => endpoint === other[place]);

/** How many calls an endpoint may have before another one is sent to it. */
function cap({ instance }: Endpoint, factor: number, active: number, sum: number): number {
  return Math.max(1, Math.ceil((factor * (active + 1) * instance.weight) / sum));
}

/** After too many refusals: the first one, from the hash's own place on, that does not refuse; or the least loaded. */
function elsewhere<E extends Endpoint>(
  endpoints: NonEmpty<E>,
  hashed: number,
  { avoid }: PickRequest,
  refuses: (endpoint: E) => boolean,
): E {
  let best: E | undefined;
  for (let step = 0; step < endpoints.length; step++) {
    const endpoint = endpoints[(hashed + step) % endpoints.length] ?? endpoints[0];
    if (!refuses(endpoint)) return endpoint;
    if (avoid?.has(endpoint) === true) continue;
    const load = endpoint.stats.inFlight / endpoint.instance.weight;
    if (best === undefined || load < best.stats.inFlight / best.instance.weight) best = endpoint;
  }
  return best ?? endpoints[hashed % endpoints.length] ?? endpoints[0];
}
