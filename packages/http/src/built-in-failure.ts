import { type Failure, classify } from "./failure.ts";

/**
 * Classifies what the built-in fetch failed with. It does not say what was sent, but hides the code of what went wrong
 * in `cause`: those codes that can only come before a connection is there prove that nothing was. Whatever else there
 * is may have come later.
 */
export function classifyBuiltIn(error: unknown): Failure {
  const cause = error instanceof TypeError && error.cause !== undefined ? error.cause : error;
  return classify(cause, !isUnsent(cause));
}

/** A port that the Fetch standard forbids: the built-in fetch connects to none of them. */
export function isBadPort(error: unknown): boolean {
  return error instanceof TypeError && error.cause instanceof Error && error.cause.message === "bad port";
}

function isUnsent(cause: unknown): boolean {
  if (typeof cause !== "object" || cause === null || !("code" in cause)) return false;
  const code = String(cause.code);
  return UNSENT.has(code) || TLS.test(code);
}

/** `ETIMEDOUT` and `ECONNRESET` are not among them: a connection that was used already can end in the same way. */
const UNSENT: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EAI_FAIL",
  "EHOSTDOWN",
  "EHOSTUNREACH",
  "ENETDOWN",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "EMFILE",
  "UND_ERR_CONNECT_TIMEOUT",
  "ROLLCALL_BAD_PORT",
]);

/** A certificate that is refused, or a server that speaks no TLS. */
const TLS = /^(?:CERT_|ERR_TLS_CERT|ERR_SSL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/;
