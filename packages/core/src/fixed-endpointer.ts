import { type Endpoint, LiveEndpoint } from "./endpoint.ts";
import type { Endpointer } from "./endpointer.ts";
import { ClosedError } from "./errors.ts";
import { createInstance } from "./instance.ts";
import { closable } from "./lifecycle.ts";
import { checkOptions, is, required } from "./options.ts";
import type { Snapshot } from "./snapshot.ts";

/**
 * An {@link Endpointer} for clients that exist already: for tests and static lists. Keeps the given order. Its instances
 * are made up: `fixed-0:1`, `fixed-1:2`, … Closing it ends the picks; the clients belong to whoever made them.
 */
export function fixedEndpointer<C>(service: string, clients: readonly C[]): Endpointer<C> {
  checkOptions("", { service, clients }, { service: required(is.nonEmptyString), clients: required(is.array) });
  let endpoints: readonly Endpoint<C>[] = Object.freeze(
    clients.map((client, index) => {
      const instance = createInstance({ service, host: `fixed-${index}`, port: index + 1 });
      return new LiveEndpoint(instance, client);
    }),
  );
  const instances = Object.freeze(endpoints.map((endpoint) => endpoint.instance));
  const snapshot: Snapshot = Object.freeze({ state: "live", revision: 1, instances });
  let closed = false;
  return {
    service,
    snapshot,
    get endpoints() {
      return endpoints;
    },
    ready: async ({ signal } = {}) => {
      signal?.throwIfAborted();
      if (closed) throw new ClosedError(`the endpointer of service "${service}"`);
    },
    ...closable(async () => {
      closed = true;
      endpoints = Object.freeze([]);
    }),
  };
}
