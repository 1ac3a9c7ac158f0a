import { anyOther, hasOther } from "../avoiding.ts";
import { Branches, checkChild, groupsOf, nameOf, standing } from "../decorator.ts";
import type { Endpoint } from "../endpoint.ts";
import type { Judgement } from "../explanation.ts";
import { checkOptions, is, required } from "../options.ts";
import type { NonEmpty, Picker, Policy } from "../policy.ts";
import { xorshift } from "../xorshift.ts";

/** What {@link zoneAware} can be told. */
export interface ZoneAwareOptions {
  /** The zone that this client runs in. */
  readonly zone: string;
  /** The share of all clients' calls that comes from this zone, 0 to 1. Default: every zone calls as much as the others. */
  readonly callShare?: number | undefined;
  /** With fewer endpoints than this, zones are not looked at. Default 6. */
  readonly minSize?: number | undefined;
}

/**
 * Stays in its own zone as far as that zone can carry its own clients; the rest goes to the zones that can carry more than
 * theirs. Capacity is measured by weight. With {@link outlierDetection} around it, a zone whose members are ill gives up
 * calls in proportion. The child chooses within a zone; an instance without zone belongs to none, and is as far as any.
 * Of calls with a key, those with the same key stay in the same zone while the shares do.
 *
 * Source: Envoy's zone aware routing: all calls stay while the zone's share of the clients is no more than its share of
 * the hosts, otherwise hosts / clients of them, and the others have what their hosts can take beyond their clients.
 *
 * @throws InvalidOptionError
 */
export function zoneAware(child: Policy, options: ZoneAwareOptions): Policy {
  checkChild(child, {
    "zone-aware": "a policy that is not aware of zones already",
    "outlier-detection": "a child without outlier detection: put it around zoneAware(…), which must see who is ill",
    sticky: "a child that is not sticky: put sticky(…) around zoneAware(…), as the instance may be in another zone",
  });
  checkOptions("", options, {
    zone: required(is.nonEmptyString),
    callShare: is.number(0, 1),
    minSize: is.number(1),
  });
  const { zone, minSize = 6 } = options;
  return Object.freeze<Policy>({
    name: nameOf("zone-aware", child),
    child,
    create(env) {
      const draw = xorshift(env);
      const branches = new Branches(child, env);

      const ticketOf = (key: string | undefined): number => (key === undefined ? draw(BOUND) : standing(key, BOUND));

      /** The groups that calls may go to, with their shares of the calls. */
      const routesOf = <E extends Endpoint>(endpoints: NonEmpty<E>, all: NonEmpty<E>): readonly Route<E>[] => {
        const zones = groupsOf(endpoints, ({ instance }) => instance.zone);
        const wholes = groupsOf(all, ({ instance }) => instance.zone);
        if (all.length < minSize || !zones.has(zone)) return [{ zone: EVERYWHERE, share: 1, endpoints, all }];
        const callShare = options.callShare ?? 1 / wholes.size;
        const shares = zoneShares(
          Array.from(zones, ([name, group]) => ({ isLocal: name === zone, capacity: weightOf(group) })),
          callShare,
          wholes.size,
        );
        return Array.from(zones, ([name, group], index): Route<E> => {
          return { zone: name, share: shares[index] ?? 0, endpoints: group, all: wholes.get(name) ?? group };
        }).filter(({ share }) => share > 0);
      };

      return {
        picker<E extends Endpoint>(endpoints: NonEmpty<E>, all: NonEmpty<E> = endpoints): Picker<E> {
          const routes = routesOf(endpoints, all);
          // Also those that nothing is sent to now.
          branches.keep(new Set([EVERYWHERE, ...all.map(({ instance }) => instance.zone)]));
          const pickers = routes.map((route) => branches.picker(route.zone, route.endpoints, route.all));
          const [only] = pickers;
          return (request, nowMs) => {
            const { avoid, key } = request;
            const picker = (pickers.length === 1 ? only : pickers[placeOf(routes, ticketOf(key))]) ?? only;
            const endpoint = picker?.(request, nowMs) ?? endpoints[0];
            if (avoid === undefined || !avoid.has(endpoint)) return endpoint;
            // The zone has no other one: any zone will do.
            return anyOther(endpoints, avoid, draw) ?? endpoint;
          };
        },
        ...branches.hooks,
        explain(endpoints, request, nowMs, all = endpoints) {
          const routes = routesOf(endpoints, all);
          const { key } = request;
          const sure = key === undefined && routes.length > 1 ? -1 : placeOf(routes, standing(key ?? "", BOUND));
          const judgements = new Map<Endpoint, Judgement>();
          let next: Endpoint | undefined;
          const parts: string[] = [];
          for (const [index, { zone: name, share, endpoints: group, all: whole }] of routes.entries()) {
            const view = branches.peek(name)?.explain?.(group, request, nowMs, whole);
            if (index === sure && hasOther(group, request)) next = view?.next;
            const note = `${typeof name === "symbol" ? "any zone" : (name ?? "no zone")}: ${Math.round(share * 100)} %`;
            parts.push(note);
            for (const endpoint of group) {
              judgements.set(endpoint, Object.assign({ note }, view?.judgements?.get(endpoint)));
            }
          }
          return { next, why: parts.join(", "), judgements };
        },
      };
    },
  });
}

/** Tickets are drawn from so many. */
const BOUND = 2 ** 31;

/** In whose share a ticket falls. There are few zones: to look at them in turn is as quick as a table. */
function placeOf(routes: readonly { readonly share: number }[], ticket: number): number {
  let left = ticket / BOUND;
  let index = 0;
  while (index < routes.length - 1 && left >= (routes[index]?.share ?? 0)) left -= routes[index++]?.share ?? 0;
  return index;
}

/** The name of the group of all, when zones are not looked at. */
const EVERYWHERE = Symbol("everywhere");

interface Route<E extends Endpoint> {
  readonly zone: string | undefined | typeof EVERYWHERE;
  readonly share: number;
  readonly endpoints: NonEmpty<E>;
  readonly all: NonEmpty<E>;
}

const weightOf = (endpoints: readonly Endpoint[]): number =>
  endpoints.reduce((total, { instance }) => total + instance.weight, 0);

/** Which share of this zone's calls each zone gets; one of them is local. `zones` is how many zones clients call from. */
export function zoneShares(
  groups: readonly { readonly isLocal: boolean; readonly capacity: number }[],
  callShare: number,
  zones: number,
): number[] {
  const sum = groups.reduce((total, { capacity }) => total + capacity, 0);
  const local = groups.find(({ isLocal }) => isLocal)?.capacity ?? 0;
  const stay = callShare === 0 ? 1 : Math.min(1, local / sum / callShare);
  // What another zone can take beyond its own clients' calls, who are taken to share the rest evenly.
  const theirs = zones > 1 ? (1 - callShare) / (zones - 1) : 0;
  const spare = groups.map(({ isLocal, capacity }) => (isLocal ? 0 : Math.max(0, capacity / sum - theirs)));
  const allSpare = spare.reduce((total, each) => total + each, 0);
  return groups.map(({ isLocal, capacity }, index) => {
    if (isLocal) return stay;
    return (1 - stay) * (allSpare > 0 ? (spare[index] ?? 0) / allSpare : capacity / (sum - local));
  });
}
