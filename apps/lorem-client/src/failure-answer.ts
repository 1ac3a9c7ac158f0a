import { isDiscoveryError } from "@rollcall/core";
import { errorAnswer, type ErrorAnswer } from "@rollcall/lorem-server";

/**
 * What to tell the caller about an error, those of discovery included: 503 when there is no server or none could be
 * reached, 504 when they were too slow. Of several attempts the last one counts. Any other error is answered as the
 * servers themselves answer it.
 */
export function failureAnswer(error: unknown): ErrorAnswer {
  if (isDiscoveryError(error, "CLOSED")) return unavailable("this client is shutting down");
  if (!isDiscoveryError(error, "RETRY") || !(error instanceof AggregateError)) return errorAnswer(error);
  const last: unknown = error.errors.at(-1);
  if (isDiscoveryError(last, "NO_ENDPOINTS")) return unavailable("no lorem server is available");
  if (!isDiscoveryError(last, "TIMEOUT")) return unavailable("no lorem server could be reached");
  // While the registry has not answered yet the deadline is the symptom, and this the reason.
  const cause: unknown = last instanceof Error ? last.cause : undefined;
  if (isDiscoveryError(cause, "NO_ENDPOINTS")) return unavailable("no lorem server is available");
  return { status: 504, body: { error: "the lorem servers did not answer in time" } };
}

function unavailable(error: string): ErrorAnswer {
  return { status: 503, body: { error } };
}
