import { createCache } from "./cache.ts";
import { ClosedError } from "./errors.ts";
import { type InstanceInit, createInstance } from "./instance.ts";
import type { Instancer } from "./instancer.ts";
import { closable } from "./lifecycle.ts";
import { checkOptions, is, required } from "./options.ts";

/**
 * An {@link Instancer} for a list that never changes: live from the start, notifies nobody.
 *
 * @throws InvalidOptionError if one of the instances is invalid.
 */
export function fixedInstancer(service: string, instances: readonly InstanceInit[]): Instancer {
  checkOptions("", { service, instances }, { service: required(is.nonEmptyString), instances: required(is.array) });
  const cache = createCache();
  cache.update(instances.map(createInstance));
  let closed = false;
  return {
    service,
    get snapshot() {
      return cache.snapshot;
    },
    subscribe: () => {
      if (closed) throw new ClosedError(`the instancer of service "${service}"`);
      return () => undefined;
    },
    ...closable(async () => {
      closed = true;
    }),
  };
}
