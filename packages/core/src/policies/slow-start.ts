import { pickAvoiding } from "../avoiding.ts";
import { checkChild, hooksOf, nameOf, viewOf } from "../decorator.ts";
import type { Endpoint } from "../endpoint.ts";
import type { Judgement } from "../explanation.ts";
import { memory } from "../memory.ts";
import { checkOptions, is } from "../options.ts";
import type { NonEmpty, Picker, Policy } from "../policy.ts";
import { xorshift } from "../xorshift.ts";

/** What {@link slowStart} can be told. */
export interface SlowStartOptions {
  /** For how long an endpoint is new. Default 30 s. */
  readonly windowMs?: number | undefined;
  /** How the share grows with age: 1 evenly, above 1 faster at first. Default 1. */
  readonly aggression?: number | undefined;
  /** The share that it begins with. Default 0.1. */
  readonly least?: number | undefined;
}

/**
 * Spares endpoints that have just joined: of the calls that the child would give them they get a share that grows with
 * their age, the rest goes to the others. For servers that need calls to warm up: caches, JIT, connection pools. Who was
 * there when the client started is not new; and if most of the set is new, nobody is spared.
 *
 * The child is asked as ever and its choice is thinned out, so it works for every policy, also for those that go by load,
 * where a lower weight alone would starve the new one (Envoy #19437).
 *
 * Source: slow start of Envoy: max(least, (age / window) ^ (1 / aggression)), the age at least a second.
 *
 * @throws InvalidOptionError
 */
export function slowStart(child: Policy, options: SlowStartOptions = {}): Policy {
  const affinity = "a child that does not tie keys to endpoints: a key would move to and fro while one is new";
  checkChild(child, {
    "slow-start": "a policy that starts slowly only once",
    "ring-hash": affinity,
    maglev: affinity,
    sticky: affinity,
  });
  checkOptions("", options, { windowMs: is.number(1), aggression: is.number(0.01), least: is.number(0, 1) });
  const { windowMs = 30_000, aggression = 1, least = 0.1 } = options;
  return Object.freeze<Policy>({
    name: nameOf("slow-start", child),
    child,
    create(env) {
      const state = child.create(env);
      const draw = xorshift(env);
      const recordOf = memory(() => ({ joinedAt: undefined as number | undefined }));
      let isFirst = true;

      const share = (endpoint: Endpoint, nowMs: number): number => {
        // Of a set that no pick has seen yet, only an explanation asks.
        const ageMs = nowMs - (recordOf(endpoint).joinedAt ?? (isFirst ? -Infinity : nowMs));
        if (ageMs >= windowMs) return 1;
        return Math.min(1, Math.max(least, (Math.max(ageMs, 1_000) / windowMs) ** (1 / aggression)));
      };
      const newOnes = (endpoints: NonEmpty<Endpoint>, nowMs: number): Set<Endpoint> => {
        const found = endpoints.filter((endpoint) => share(endpoint, nowMs) < 1);
        return new Set(found.length * 2 > endpoints.length ? [] : found);
      };

      return {
        picker<E extends Endpoint>(endpoints: NonEmpty<E>, all: NonEmpty<E> = endpoints): Picker<E> {
          const builtAt = env.now();
          for (const endpoint of all) recordOf(endpoint).joinedAt ??= isFirst ? -Infinity : builtAt;
          isFirst = false;
          const picker = state.picker(endpoints, all);
          let warming = newOnes(endpoints, builtAt);
          return (request, nowMs) => {
            const endpoint = picker(request, nowMs);
            // The clock is read while somebody is new, and never again.
            if (warming.size === 0 || !warming.has(endpoint)) return endpoint;
            const now = nowMs ?? env.now();
            const its = share(endpoint, now);
            if (its === 1) {
              warming = newOnes(endpoints, now);
              return endpoint;
            }
            if (draw(2 ** 31) < its * 2 ** 31) return endpoint;
            const avoid = new Set([...warming, ...(request.avoid ?? [])]);
            const other = pickAvoiding(state, picker, endpoints, { ...request, avoid }, nowMs);
            // If all others are to be avoided, the new one is better than one that has failed already.
            return request.avoid?.has(other) === true ? endpoint : other;
          };
        },
        ...hooksOf(state),
        explain(endpoints, request, nowMs, all = endpoints) {
          const view = viewOf(child, state, endpoints, request, nowMs, all);
          const warming = newOnes(endpoints, nowMs);
          const judgements = new Map<Endpoint, Judgement>(view.judgements);
          for (const endpoint of warming) {
            const note = `new: ${Math.round(share(endpoint, nowMs) * 100)} % of its calls`;
            judgements.set(endpoint, { ...judgements.get(endpoint), note });
          }
          const next = view.next !== undefined && warming.has(view.next) ? undefined : view.next;
          return { ...view, next, judgements };
        },
      };
    },
  });
}
