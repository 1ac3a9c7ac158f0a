import { RETRY_BACKOFF, type RetryOptions, fullJitter, resolveEnv } from "@rollcall/core";
import { waitAfter } from "./status-error.ts";

/** Full jitter, and what `Retry-After` asks for. */
export function patientBackoff(env: RetryOptions["env"]): (attempt: number, error: unknown) => number {
  const jitter = fullJitter(resolveEnv(env), RETRY_BACKOFF);
  return (attempt, error) => waitAfter(error) + jitter(attempt);
}
