import { TimeoutError, bounded, systemEnv } from "@rollcall/core";
import type { Instances } from "./instances.ts";

/** How long `required` waits for the registry's first word. */
const REQUIRED_MS = 5_000;

/** Resolves when the registry has told of this service; rejects with its error, or after five seconds. */
export async function readable(instances: Instances, registryName: string): Promise<void> {
  const known = Promise.withResolvers<void>();
  const look = (): void => {
    const { snapshot } = instances;
    if (snapshot.state === "live") known.resolve();
    else if (snapshot.error !== undefined) known.reject(snapshot.error);
  };
  const onTimeout = (): TimeoutError =>
    new TimeoutError(`the first answer of the registry "${registryName}"`, REQUIRED_MS);
  const unsubscribe = instances.subscribe(look);
  try {
    look();
    await bounded(systemEnv, { timeoutMs: REQUIRED_MS, onTimeout, keepAlive: true }, () => known.promise);
  } finally {
    unsubscribe();
  }
}
