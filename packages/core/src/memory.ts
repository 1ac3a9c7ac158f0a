import type { Endpoint } from "./endpoint.ts";

/**
 * What a policy remembers of each endpoint, made when it is first asked for. Survives every change of the set, as the
 * endpoint does, and goes with it: nothing is kept alive.
 */
export function memory<R>(make: (endpoint: Endpoint) => R): (endpoint: Endpoint) => R {
  const known = new WeakMap<Endpoint, R>();
  return (endpoint) => {
    let record = known.get(endpoint);
    if (record === undefined) known.set(endpoint, (record = make(endpoint)));
    return record;
  };
}
