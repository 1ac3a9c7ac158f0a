import type { Instancer, Registry, ServiceQuery } from "@rollcall/core";

/** Makes what needs an instancer, and will close it. Closes it if that cannot be made. */
export function withInstancer<T>(registry: Registry, query: ServiceQuery, make: (instancer: Instancer) => T): T {
  const instancer = registry.instancer(query);
  try {
    return make(instancer);
  } catch (error) {
    // A policy that could not be made: nobody will ever close the instancer.
    void instancer.close();
    throw error;
  }
}
