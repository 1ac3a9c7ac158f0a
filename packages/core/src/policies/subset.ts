import { anyOther, pickAvoiding } from "../avoiding.ts";
import { checkChild, hooksOf, nameOf, viewOf } from "../decorator.ts";
import type { Endpoint } from "../endpoint.ts";
import { hash } from "../hash.ts";
import { hashKeyOf } from "../hash-field.ts";
import { checkOptions, is, required } from "../options.ts";
import { type NonEmpty, type Picker, type Policy, isNonEmpty } from "../policy.ts";
import { xorshift } from "../xorshift.ts";

/** What {@link subset} can be told. */
export interface SubsetOptions {
  /** How many endpoints this client uses: enough to carry its calls when some of them are ill; 20 is a good value. */
  readonly size: number;
}

/**
 * Lets this client use only some of a large fleet, so that thousands of clients do not each connect to thousands of
 * servers. Each client has its own subset, by chance; when a server comes or goes, at most one place of it changes.
 * The servers' numbers of clients are not exactly equal (they scatter like a binomial distribution).
 *
 * Source: D. Thaler, C. Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM ToN 6 (1), 1998
 * (rendezvous hashing); as a subset in gRPC proposal A68.
 *
 * @throws InvalidOptionError
 */
export function subset(child: Policy, options: SubsetOptions): Policy {
  checkChild(child, {
    subset: "a policy that takes no subset of its own",
    sticky:
      "a child that is not sticky: put sticky(…) around subset(…), as the instance may be in another client's subset",
  });
  checkOptions("", options, { size: required(is.number(1)) });
  const size = Math.floor(options.size);
  return Object.freeze<Policy>({
    name: nameOf("subset", child),
    child,
    create(env) {
      const state = child.create(env);
      const draw = xorshift(env);
      // Of this client, and for as long as it lives.
      const seed = Math.floor(env.random() * 2 ** 32);
      const chosen = <E extends Endpoint>(endpoints: NonEmpty<E>): NonEmpty<E> => {
        if (endpoints.length <= size) return endpoints;
        const ranked = endpoints.map((endpoint, place) => ({ place, rank: hash(hashKeyOf(endpoint), seed) }));
        const places = new Set(
          ranked
            .toSorted((a, b) => a.rank - b.rank || a.place - b.place)
            .slice(0, size)
            .map(({ place }) => place),
        );
        // In the set's own order, so that a child that cycles keeps its cycle.
        const kept = endpoints.filter((_, place) => places.has(place));
        return isNonEmpty(kept) ? kept : endpoints;
      };
      return {
        picker<E extends Endpoint>(endpoints: NonEmpty<E>, all: NonEmpty<E> = endpoints): Picker<E> {
          const own = chosen(endpoints);
          const picker = state.picker(own, chosen(all));
          return (request, nowMs) => {
            const { avoid } = request;
            const endpoint = pickAvoiding(state, picker, own, request, nowMs);
            return avoid?.has(endpoint) === true ? (anyOther(endpoints, avoid, draw) ?? endpoint) : endpoint;
          };
        },
        ...hooksOf(state),
        explain(endpoints, request, nowMs, all = endpoints) {
          const view = viewOf(child, state, chosen(endpoints), request, nowMs, chosen(all));
          return { ...view, why: `${view.why}, in a subset of ${Math.min(size, endpoints.length)}` };
        },
      };
    },
  });
}
