import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";

/** Headers that speak of one connection only (RFC 9110 §7.6.1), and those that the next hop's client makes itself. */
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** What the gateway says itself towards the instance. */
const OWN = new Set(["host", "expect", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]);

/** Request headers as undici takes them. */
export type RequestHeaders = Record<string, string | string[]>;

/**
 * The headers for the instance: those of the request without hop-by-hop ones and those that `Connection` names,
 * without `Host` (the instance's own is put in by the client) and `Expect` (answered by Node already), and with
 *
 * - `X-Forwarded-For`: what came, with the address of the peer appended,
 * - `X-Forwarded-Host` and `X-Forwarded-Proto`: as this server saw them, or as they came if `trustForwarded`.
 */
export function requestHeaders(request: IncomingMessage, hasBody: boolean, trustForwarded: boolean): RequestHeaders {
  const named = connectionNames(request.headers.connection);
  const headers: RequestHeaders = Object.create(null) as RequestHeaders;
  for (const [name, values] of Object.entries(request.headersDistinct)) {
    if (values === undefined || HOP_BY_HOP.has(name) || OWN.has(name) || named.has(name)) continue;
    // Without a body the client says the length itself, and rightly so for each method.
    if (name === "content-length" && !hasBody) continue;
    const [only] = values;
    headers[name] = values.length === 1 && only !== undefined ? only : name === "cookie" ? values.join("; ") : values;
  }
  const came = request.headersDistinct;
  const peer = request.socket.remoteAddress ?? "unknown";
  headers["x-forwarded-for"] = [...(came["x-forwarded-for"] ?? []), peer].join(", ");
  const host = (trustForwarded ? came["x-forwarded-host"]?.[0] : undefined) ?? request.headers.host;
  if (host !== undefined) headers["x-forwarded-host"] = host;
  const own = (request.socket as Partial<TLSSocket>).encrypted === true ? "https" : "http";
  headers["x-forwarded-proto"] = (trustForwarded ? came["x-forwarded-proto"]?.[0] : undefined) ?? own;
  return headers;
}

/** The headers for the caller: those of the answer without hop-by-hop ones and those that `Connection` names. */
export function responseHeaders(answer: Readonly<IncomingHttpHeaders>): Record<string, string | string[]> {
  const named = connectionNames(answer.connection);
  const headers: Record<string, string | string[]> = Object.create(null) as Record<string, string | string[]>;
  for (const [name, value] of Object.entries(answer)) {
    if (value !== undefined && !HOP_BY_HOP.has(name) && !named.has(name)) headers[name] = value;
  }
  return headers;
}

/** A sender may name further headers as hop-by-hop, but not those by which the next hop knows what it is reading. */
const ALWAYS_END_TO_END = new Set(["content-length", "content-type", "content-encoding", "host"]);

function connectionNames(value: string | string[] | undefined): ReadonlySet<string> {
  const names = String(value ?? "")
    .split(",")
    .map((name) => name.trim().toLowerCase());
  return new Set(names.filter((name) => !ALWAYS_END_TO_END.has(name)));
}
