import type { IncomingMessage } from "node:http";

/** What a caller is told instead of an instance's answer. A `FailureAnswer` is one. */
export interface GatewayRefusal {
  readonly statusCode: number;
  /** For programs. */
  readonly code: string;
  /** For people. Names no host: what is behind a gateway is nobody's business in front of it. */
  readonly message: string;
  readonly retryAfterSeconds?: number;
}

/** How large a request may be. */
export interface GatewayLimits {
  readonly maxHeaders: number;
  readonly maxHeaderBytes: number;
  readonly maxBodyBytes: number;
}

/**
 * Why a request is not passed on, as far as its head tells: it is larger than allowed, or what the next hop would be told
 * is not what came (no version of HTTP, two hosts, or one that is none, an encoding that was left undone). Undefined if it may pass.
 */
export function refusal(request: IncomingMessage, limits: GatewayLimits): GatewayRefusal | undefined {
  const { rawHeaders, headers, method } = request;
  if (rawHeaders.length / 2 > limits.maxHeaders) return TOO_MANY_HEADERS;
  let bytes = 0;
  let hosts = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? "";
    // As they were on the wire: with a colon, a space and a line's end.
    bytes += name.length + (rawHeaders[index + 1] ?? "").length + 4;
    if (name.length === 4 && name.toLowerCase() === "host") hosts++;
  }
  if (bytes > limits.maxHeaderBytes) return TOO_MANY_HEADERS;
  // Node takes a line without a version for HTTP/0.9, and what follows a bare line feed in it for headers.
  if (request.httpVersionMajor !== 1 || hosts > 1) return BAD_REQUEST;
  if (method === "TRACE" || method === "CONNECT") return BAD_REQUEST;
  if (headers.host !== undefined && !HOST.test(headers.host)) return BAD_REQUEST;
  const encoding = headers["transfer-encoding"];
  if (encoding !== undefined && encoding.toLowerCase() !== "chunked") return BAD_REQUEST;
  return Number(headers["content-length"] ?? 0) > limits.maxBodyBytes ? TOO_LARGE : undefined;
}

/** Whether a body follows the head, as RFC 9112 §6.3 has it for requests. */
export function bodyFollows({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}

/** How long that body is, where the head says so. */
export function bodyLength({ headers }: IncomingMessage): number | undefined {
  const length = headers["content-length"];
  return length === undefined ? undefined : Number(length);
}

/** The path cannot be passed on, or something in the head. */
export const BAD_REQUEST: GatewayRefusal = {
  statusCode: 400,
  code: "bad_request",
  message: "this request cannot be passed on",
};

/** A function that the application gave to the gateway has thrown. */
export const INTERNAL_ERROR: GatewayRefusal = {
  statusCode: 500,
  code: "internal_error",
  message: "this request could not be passed on",
};

/** The body is larger than allowed, as said, or as it turned out. */
export const TOO_LARGE: GatewayRefusal = {
  statusCode: 413,
  code: "content_too_large",
  message: "the request's body is larger than allowed",
};

/** The caller began to send its body, and did not go on. */
export const TOO_SLOW: GatewayRefusal = {
  statusCode: 408,
  code: "request_timeout",
  message: "the request's body did not come in time",
};

const TOO_MANY_HEADERS: GatewayRefusal = {
  statusCode: 431,
  code: "header_fields_too_large",
  message: "the request's header is larger than allowed",
};

/** A host and a port as RFC 3986 §3.2 has them, without the characters that only names nobody has may hold. */
const HOST = /^(?:[\w.~%-]*|\[[\da-f:.]+\])(?::\d{0,5})?$/i;
