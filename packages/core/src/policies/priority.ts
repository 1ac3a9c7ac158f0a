import { anyOther, hasOther } from "../avoiding.ts";
import { Branches, checkChild, groupsOf, nameOf, standing } from "../decorator.ts";
import type { Endpoint } from "../endpoint.ts";
import type { Judgement, PolicyView } from "../explanation.ts";
import type { Instance } from "../instance.ts";
import { checkOptions, is } from "../options.ts";
import type { NonEmpty, Picker, Policy } from "../policy.ts";
import { xorshift } from "../xorshift.ts";

/** What {@link priority} can be told. */
export interface PriorityOptions {
  /** The tier of an instance; the lowest is used first. Default: the number in its metadata's `priority`, or 0. */
  readonly of?: ((instance: Instance) => number) | undefined;
  /** A tier gives up calls when fewer than 1/so much of it is left: 1.4 bears the loss of 28 %. Default 1.4. */
  readonly overprovisioning?: number | undefined;
}

/**
 * Tiers: the first one takes all calls while enough of it is well, and hands over in proportion to what is missing:
 * of 100 in a tier, 72 carry everything, 50 carry 70 %, 25 carry 35 %. Who is ill is told by {@link outlierDetection}
 * around it; without it a tier counts as well while there is anyone in it. The child chooses within the tier. Of calls with
 * a key, those with the same key stay in the same tier while the shares do.
 *
 * Source: priority levels of Envoy, with its overprovisioning factor and its arithmetic in whole per cent.
 *
 * @throws InvalidOptionError
 */
export function priority(child: Policy, options: PriorityOptions = {}): Policy {
  checkChild(child, {
    priority: "a policy without priorities of its own",
    "outlier-detection": "a child without outlier detection: put it around priority(…), which must see who is ill",
    sticky: "a child that is not sticky: put sticky(…) around priority(…), as the instance may be in another tier",
  });
  checkOptions("", options, { of: is.function, overprovisioning: is.number(1) });
  const { of = priorityOf, overprovisioning = 1.4 } = options;
  return Object.freeze<Policy>({
    name: nameOf("priority", child),
    child,
    create(env) {
      const draw = xorshift(env);
      const branches = new Branches(child, env);

      const tierOf = ({ instance }: Endpoint): number => of(instance);

      /** The tiers that have anyone who is well, each with its share in per cent. */
      const tiersOf = <E extends Endpoint>(endpoints: NonEmpty<E>, all: NonEmpty<E>): readonly Tier<E>[] => {
        const whole = groupsOf(all, tierOf);
        const well = groupsOf(endpoints, tierOf);
        const numbers = [...whole.keys()].toSorted((a, b) => a - b);
        const counts = numbers.map((number) => ({
          well: well.get(number)?.length ?? 0,
          all: whole.get(number)?.length ?? 0,
        }));
        const shares = priorityShares(counts, overprovisioning);
        return numbers.flatMap((number, index) => {
          const group = well.get(number);
          const share = shares[index] ?? 0;
          return group === undefined ? [] : [{ number, share, endpoints: group, all: whole.get(number) ?? group }];
        });
      };

      return {
        picker<E extends Endpoint>(endpoints: NonEmpty<E>, all: NonEmpty<E> = endpoints): Picker<E> {
          const tiers = tiersOf(endpoints, all);
          // Also those where nobody is well: they will be.
          branches.keep(new Set(groupsOf(all, tierOf).keys()));
          const pickers = tiers.map((tier) => branches.picker(tier.number, tier.endpoints, tier.all));
          const shares = tiers.map(({ share }) => share);
          const [first] = pickers;
          const choose = (key: string | undefined): Picker<E> | undefined => {
            if (shares[0] === 100) return first;
            return pickers[placeOf(shares, key === undefined ? draw(100) : standing(key, 100))];
          };
          return (request, nowMs) => {
            const { avoid, key } = request;
            const endpoint = (choose(key) ?? first)?.(request, nowMs) ?? endpoints[0];
            if (avoid === undefined || !avoid.has(endpoint)) return endpoint;
            // The tier has no other one: the next tier has.
            for (const picker of pickers) {
              const other = picker(request, nowMs);
              if (!avoid.has(other)) return other;
            }
            return anyOther(endpoints, avoid, draw) ?? endpoint;
          };
        },
        ...branches.hooks,
        explain(endpoints, request, nowMs, all = endpoints): PolicyView {
          const judgements = new Map<Endpoint, Judgement>();
          const tiers = tiersOf(endpoints, all);
          const shares = tiers.map(({ share }) => share);
          const { key } = request;
          const sure = key === undefined ? shares.indexOf(100) : placeOf(shares, standing(key, 100));
          let next: Endpoint | undefined;
          for (const [index, tier] of tiers.entries()) {
            const { number, endpoints: group } = tier;
            const note = noteOf(tier);
            const view = branches.peek(number)?.explain?.(group, request, nowMs, tier.all);
            if (index === sure && hasOther(group, request)) next = view?.next;
            for (const endpoint of group) {
              judgements.set(endpoint, Object.assign({ note }, view?.judgements?.get(endpoint)));
            }
          }
          return {
            next,
            why: tiers.map(noteOf).join(", "),
            judgements,
          };
        },
      };
    },
  });
}

interface Tier<E extends Endpoint> {
  readonly number: number;
  readonly share: number;
  readonly endpoints: NonEmpty<E>;
  readonly all: NonEmpty<E>;
}

const noteOf = ({ number, share }: Pick<Tier<Endpoint>, "number" | "share">): string => `tier ${number}: ${share} %`;

/** In whose share, of those that sum up to 100, a ticket from 0 to 99 falls. */
function placeOf(shares: readonly number[], ticket: number): number {
  let left = ticket;
  let index = 0;
  while (index < shares.length - 1 && left >= (shares[index] ?? 0)) left -= shares[index++] ?? 0;
  return index;
}

/** Which share of the calls each tier gets, in whole per cent that sum up to 100, the first tier first. */
export function priorityShares(
  tiers: readonly { readonly well: number; readonly all: number }[],
  overprovisioning: number,
): number[] {
  const health = tiers.map(({ well, all }) =>
    all === 0 ? 0 : Math.min(100, Math.floor((overprovisioning * 100 * well) / all)),
  );
  const sum = Math.min(
    100,
    health.reduce((total, each) => total + each, 0),
  );
  let left = 100;
  const shares = health.map((each) => {
    const share = sum === 0 ? 0 : Math.min(left, Math.floor((each * 100) / sum));
    left -= share;
    return share;
  });
  // What rounding left over belongs to the first one that is well at all.
  const index = shares.findIndex((share) => share > 0);
  if (index >= 0) shares[index] = (shares[index] ?? 0) + left;
  return shares;
}

function priorityOf({ metadata }: Instance): number {
  const number = Number(metadata["priority"] ?? 0);
  return Number.isFinite(number) ? number : 0;
}
