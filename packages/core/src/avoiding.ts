import type { Endpoint } from "./endpoint.ts";
import type { PickRequest } from "./pick.ts";
import { type NonEmpty, type Picker, type PolicyState, isNonEmpty } from "./policy.ts";

/**
 * Lets a policy choose among the endpoints that are not to be avoided, if there are any; otherwise among all. `picker` is
 * the policy's own for `endpoints`. One that heeds `request.avoid` itself is asked once.
 */
export function pickAvoiding<E extends Endpoint>(
  state: PolicyState,
  picker: Picker<E>,
  endpoints: NonEmpty<E>,
  request: PickRequest,
  nowMs?: number,
): E {
  const { avoid } = request;
  if (avoid === undefined || avoid.size === 0) return picker(request, nowMs);
  return pickOther(state, picker, endpoints, request, avoid, nowMs);
}

/** With somebody to avoid: apart, so that the usual case stays short. */
function pickOther<E extends Endpoint>(
  state: PolicyState,
  picker: Picker<E>,
  endpoints: NonEmpty<E>,
  request: PickRequest,
  avoid: ReadonlySet<Endpoint>,
  nowMs: number | undefined,
): E {
  // As if there were nobody to avoid: the child is to choose as ever, not just anybody.
  if (avoid.size >= endpoints.length && !hasOther(endpoints, { avoid }))
    return picker({ ...request, avoid: undefined }, nowMs);
  // A policy that cycles comes to another one within so many steps, and keeps its cycle.
  for (let step = 0; step <= avoid.size; step++) {
    const endpoint = picker(request, nowMs);
    if (!avoid.has(endpoint)) return endpoint;
  }
  // This one insists, or was unlucky: give it no choice.
  const others = endpoints.filter((endpoint) => !avoid.has(endpoint));
  return isNonEmpty(others) ? state.picker(others)(request, nowMs) : picker(request, nowMs);
}

/** Whether a set has one that a request does not ask to avoid. */
export function hasOther(endpoints: readonly Endpoint[], { avoid }: PickRequest): boolean {
  return avoid === undefined || endpoints.some((endpoint) => !avoid.has(endpoint));
}

/**
 * Any endpoint of a set that is not to be avoided: the last resort of a policy whose own choice is exhausted. Chance decides
 * where to begin: otherwise all retries of a fleet of clients would meet at the same one.
 */
export function anyOther<E extends Endpoint>(
  endpoints: readonly E[],
  avoid: ReadonlySet<Endpoint>,
  draw: (bound: number) => number,
): E | undefined {
  const { length } = endpoints;
  const start = draw(length);
  for (let step = 0; step < length; step++) {
    const endpoint = endpoints[(start + step) % length];
    if (endpoint !== undefined && !avoid.has(endpoint)) return endpoint;
  }
  return undefined;
}
