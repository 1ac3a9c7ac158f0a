import { isDiscoveryError } from "@rollcall/core";

/** What the caller of a gateway is told instead of an instance's answer. */
export interface GatewayFailure {
  readonly statusCode: 400 | 500 | 502 | 503 | 504;
  /** For programs. */
  readonly code: "bad_request" | "misconfigured" | "bad_gateway" | "no_endpoints" | "timeout";
  /** For people. Names no host: what is behind a gateway is nobody's business in front of it. */
  readonly message: string;
}

/**
 * What an error of the client means to the caller: no instance (503, worth trying again), too slow (504), anything else
 * that went wrong on the way (502). Of several attempts the last one counts, as it is the freshest.
 */
export function gatewayFailure(error: unknown, service: string): GatewayFailure {
  const cause = isDiscoveryError(error, "RETRY") && error instanceof AggregateError ? error.errors.at(-1) : error;
  if (isDiscoveryError(cause, "NO_ENDPOINTS") || isDiscoveryError(cause, "CLOSED")) {
    return { statusCode: 503, code: "no_endpoints", message: `no instance of "${service}" is available` };
  }
  const { code, cause: inner } = Object(cause) as { readonly code?: unknown; readonly cause?: unknown };
  // While waiting for the first answer of the registry the deadline is the symptom, and this the reason.
  if (isDiscoveryError(cause, "TIMEOUT") && isDiscoveryError(inner, "NO_ENDPOINTS")) {
    return { statusCode: 503, code: "no_endpoints", message: `no instance of "${service}" is available` };
  }
  if (isDiscoveryError(cause, "TIMEOUT") || code === "UND_ERR_HEADERS_TIMEOUT" || code === "UND_ERR_CONNECT_TIMEOUT") {
    return { statusCode: 504, code: "timeout", message: `"${service}" did not answer in time` };
  }
  return { statusCode: 502, code: "bad_gateway", message: `"${service}" could not be reached, or broke off` };
}
