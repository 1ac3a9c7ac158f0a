import { checkChild, hooksOf, nameOf, viewOf } from "../decorator.ts";
import { checkOptions, is } from "../options.ts";
import type { Policy } from "../policy.ts";

/** What {@link panic} can be told. */
export interface PanicOptions {
  /** Below this share of endpoints that are well, health is not looked at any more. Default 0.5; 0 for never. */
  readonly threshold?: number | undefined;
}

/**
 * When too many are ill, takes them all: a few who are well would break down under the calls of everyone, and so many at
 * once are ill more likely for a common reason. It stands inside of what tells who is ill:
 * `outlierDetection(panic(leastRequest()), { maxEjected: 1 })`, also within `priority`, where each tier panics alone.
 *
 * Source: the panic threshold of Envoy.
 *
 * @throws InvalidOptionError
 */
export function panic(child: Policy, options: PanicOptions = {}): Policy {
  checkChild(child, {
    panic: "a policy that does not panic already",
    "outlier-detection": "a child without outlier detection: put it around panic(…), which must see who is ill",
    priority: "a child without priorities: put panic(…) into priority(…), so that each tier panics alone",
  });
  checkOptions("", options, { threshold: is.number(0, 1) });
  const { threshold = 0.5 } = options;
  return Object.freeze<Policy>({
    name: nameOf("panic", child),
    child,
    create(env) {
      const state = child.create(env);
      return {
        picker: (endpoints, all = endpoints) =>
          endpoints.length < threshold * all.length ? state.picker(all) : state.picker(endpoints, all),
        ...hooksOf(state),
        explain(endpoints, request, nowMs, all = endpoints) {
          const panics = endpoints.length < threshold * all.length;
          const view = viewOf(child, state, panics ? all : endpoints, request, nowMs, all);
          return panics ? { ...view, why: `too many are ill, so all are taken: ${view.why}` } : view;
        },
      };
    },
  });
}
