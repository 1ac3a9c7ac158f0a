import { isDiscoveryError } from "@rollcall/core";
import { failureAnswer } from "@rollcall/http";
import { errorAnswer, type ErrorAnswer, SERVICE } from "@rollcall/lorem-server";

/**
 * What to tell the caller about an error: 503 when there is no server or none could be reached, 504 when they were too
 * slow. Any error that is not a call's is answered as the servers themselves answer it.
 */
export function callerAnswer(error: unknown): ErrorAnswer {
  if (!isDiscoveryError(error, "RETRY") && !isDiscoveryError(error, "CLOSED")) return errorAnswer(error);
  const { statusCode, message } = failureAnswer(error, SERVICE);
  // Whatever went wrong on the way: it is worth another try, which 502 does not say.
  return { status: statusCode === 502 ? 503 : statusCode, body: { error: message } };
}
