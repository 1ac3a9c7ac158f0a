import type { Endpoint } from "./endpoint.ts";
import type { Env } from "./env.ts";

/**
 * Whose turn it is, in a circle that survives every change of the set. It begins anywhere, at `floor(env.random() * n)`,
 * so that a fleet of clients does not start on the same instance.
 */
export class Turn {
  /** The place in the set whose turn it is. After a change of the set it may lie beyond its end until {@link enter}. */
  next = 0;
  readonly #env: Env;
  #order: readonly Endpoint[] = [];

  constructor(env: Env) {
    this.#env = env;
  }

  /** Where {@link enter} would go on in a set; undefined before the first one. Changes nothing. */
  in(endpoints: readonly Endpoint[]): number | undefined {
    return this.#order.length === 0 ? undefined : resume(this.#order, this.next, endpoints);
  }

  /** Goes on in another set: with the first endpoint, from whose turn it is on, that is in it, too. */
  enter(endpoints: readonly Endpoint[]): void {
    this.next = this.in(endpoints) ?? Math.floor(this.#env.random() * endpoints.length);
    this.#order = endpoints;
  }
}

function resume(order: readonly Endpoint[], next: number, endpoints: readonly Endpoint[]): number {
  const places = new Map(endpoints.map((endpoint, index) => [endpoint, index]));
  for (let step = 0; step < order.length; step++) {
    const endpoint = order[(next + step) % order.length];
    const place = endpoint === undefined ? undefined : places.get(endpoint);
    if (place !== undefined) return place;
  }
  return next % endpoints.length;
}
