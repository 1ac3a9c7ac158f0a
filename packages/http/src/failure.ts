import { isDiscoveryError } from "@rollcall/core";
import { isStatusError } from "./status-error.ts";

/**
 * What a failed attempt means for the question whether its request may be sent again.
 *
 * - `unsent`: not one byte of the request has left. It may be sent again whatever it is.
 * - `broken`: bytes have left, no answer came. The server may have done it, so only idempotent requests go again.
 * - `answered`: the answer was one of the failing statuses. The server may have done it, as above.
 * - `invalid`: the request cannot be sent at all. That is the caller's mistake, and says nothing of the endpoint.
 */
export type Failure = "unsent" | "broken" | "answered" | "invalid";

/**
 * Classifies what an attempt failed with. `started` is whether undici had begun to write the request to a connection:
 * it says so before the first byte (`onRequestStart`), which proves more than an error code can. The same `ECONNRESET`
 * means `unsent` for a request that still waited for an idle connection, and `broken` for one that was on its way; and
 * no list of codes is complete (refused, unreachable, unresolvable, a TLS handshake that fails in any of its ways, …).
 */
export function classify(error: unknown, started: boolean): Failure {
  if (isStatusError(error)) return "answered";
  if (INVALID.has(codeOf(error))) return "invalid";
  // Nothing was picked, so nothing was sent, whatever the attempt before has done.
  if (isDiscoveryError(error, "NO_ENDPOINTS")) return "unsent";
  return started && !isBeyondGoAway(error) ? "broken" : "unsent";
}

/**
 * An HTTP/2 server that goes away names the last request that it has taken; those behind it were surely not processed
 * (RFC 9113, 6.8). undici sends them again by itself, once, and then fails them with this error, and only them.
 */
function isBeyondGoAway(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('HTTP/2: "GOAWAY" frame received');
}

/** Whether a response body ended early because somebody on this side wanted it so: the endpoint is not to blame. */
export function isOwnAbort(error: unknown): boolean {
  return OWN_ABORT.has(codeOf(error));
}

/**
 * Whether a request with this method may be sent twice with the effect of once (RFC 9110, 9.2.2). Other methods,
 * registered or not, may only if the caller says so.
 */
export function isIdempotent(method: string): boolean {
  return IDEMPOTENT.has(method);
}

const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"]);

/** undici refuses the request itself: a header that is none, a length that is not the body's. */
const INVALID: ReadonlySet<unknown> = new Set([
  "UND_ERR_INVALID_ARG",
  "UND_ERR_NOT_SUPPORTED",
  "UND_ERR_REQ_CONTENT_LENGTH_MISMATCH",
]);

/** The reader destroyed the body (also by `dump()`), or the pool was closed under it. */
const OWN_ABORT: ReadonlySet<unknown> = new Set(["UND_ERR_ABORTED", "UND_ERR_DESTROYED", "UND_ERR_CLOSED"]);

function codeOf(error: unknown): unknown {
  return typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
}
