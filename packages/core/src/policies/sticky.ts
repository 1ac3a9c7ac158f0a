import { checkChild, hooksOf, nameOf, viewOf } from "../decorator.ts";
import type { Endpoint } from "../endpoint.ts";
import type { NonEmpty, Policy } from "../policy.ts";

/**
 * Stays with the instance that the request names: the `key` of the request is the id of the instance that served the
 * session before (`attempt.endpoint.instance.id`), carried in a cookie or a header. Without one, or if that instance has
 * gone, is ill or is to be avoided, the child chooses, and the session moves there. Nothing is remembered here, so any
 * number of gateways may share the sessions.
 *
 * For sessions that are not to carry a name, use {@link ringHash} or {@link maglev} with the session's own id.
 *
 * Source: stateful session affinity as in gRPC proposals A55 and A60, and Envoy's.
 *
 * @throws InvalidOptionError
 */
export function sticky(child: Policy): Policy {
  checkChild(child, {
    sticky: "a policy that is not sticky already",
    "outlier-detection": "a child without outlier detection: put it around sticky(…), which must see who is ill",
  });
  return Object.freeze<Policy>({
    name: nameOf("sticky", child),
    child,
    create(env) {
      const state = child.create(env);
      return {
        picker<E extends Endpoint>(endpoints: NonEmpty<E>, all: NonEmpty<E> = endpoints) {
          const picker = state.picker(endpoints, all);
          const byId = new Map(endpoints.map((endpoint) => [endpoint.instance.id, endpoint]));
          return (request, nowMs) => {
            const { key, avoid } = request;
            const named = key === undefined ? undefined : byId.get(key);
            if (named !== undefined && (avoid === undefined || !avoid.has(named))) return named;
            return picker(request, nowMs);
          };
        },
        ...hooksOf(state),
        explain(endpoints, request, nowMs, all = endpoints) {
          const named = endpoints.find(({ instance }) => instance.id === request.key);
          const view = viewOf(child, state, endpoints, request, nowMs, all);
          return named === undefined ? view : { ...view, next: named, why: "the request names it" };
        },
      };
    },
  });
}
