import { isDiscoveryError } from "@rollcall/core";

/** What the only attempt of a call failed with, out of core's `RetryError`: for whoever repeats the call himself. */
export function onlyError(error: unknown): unknown {
  return isDiscoveryError(error, "RETRY") && error instanceof AggregateError ? error.errors.at(-1) : error;
}
