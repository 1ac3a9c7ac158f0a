import { type Endpoint, LiveEndpoint } from "./endpoint.ts";

/**
 * What a policy remembers of each endpoint, made when it is first asked for. Survives every change of the set, as the
 * endpoint does, and goes with it: nothing is kept alive.
 */
export function memory<R>(make: (endpoint: Endpoint) => R): (endpoint: Endpoint) => R {
  const known = new WeakMap<Endpoint, R>();
  return (endpoint) => {
    // Nearly every endpoint has one policy that remembers something of it: that need not be looked up.
    const isLive = endpoint instanceof LiveEndpoint;
    if (isLive && endpoint.rememberedBy === known) return endpoint.remembered as R;
    let record = known.get(endpoint);
    if (record !== undefined) return record;
    record = make(endpoint);
    if (isLive && endpoint.rememberedBy === undefined) {
      endpoint.rememberedBy = known;
      endpoint.remembered = record;
    } else {
      known.set(endpoint, record);
    }
    return record;
  };
}
