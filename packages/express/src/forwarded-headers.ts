import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import { forwardedElement, peerAddress } from "./forwarded-element.ts";

/** What is made of the headers of a request, whichever it is. */
export interface HeaderRules {
  /** Whether whoever sent this request tells the truth about where it came from. */
  readonly trusts: (request: IncomingMessage) => boolean;
  /** Whether `Forwarded` is sent besides `X-Forwarded-*`. */
  readonly forwarded: boolean;
  /** The name under which the gateway adds itself to `Via`, if it does. */
  readonly via: string | undefined;
}

/**
 * The headers for the instance, as a flat list of names and values: those of the request, except
 *
 * - hop-by-hop ones (RFC 9110 §7.6.1) and those that `Connection` names. `TE: trailers` is said anew, as trailers of the
 *   answer are passed on;
 * - `Host` (the client puts in the instance's own), `Expect` (answered by Node already), and the length of no body;
 * - what says where the request came from, unless the sender is trusted: `Forwarded`, `X-Forwarded-*`, `X-Real-IP`;
 * - `x-rollcall-*`, which the client says anew;
 * - names that become one of all these for servers that read `_` as `-`, as CGI and its heirs do;
 *
 * and with `X-Forwarded-For` (the peer's address, behind what a trusted sender said), `X-Forwarded-Host` and
 * `X-Forwarded-Proto` (as this server saw them, or as a trusted sender said), and what `rules` asks for.
 */
export function requestHeaders(request: IncomingMessage, hasBody: boolean, rules: HeaderRules): string[] {
  const { rawHeaders } = request;
  const named = connectionNames(request.headers.connection);
  const trusted = rules.trusts(request);
  const came: Origin = {};
  const headers: string[] = [];
  let cookie = -1;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? "").toLowerCase();
    const value = rawHeaders[index + 1] ?? "";
    const plain = name.includes("_") ? name.replaceAll("_", "-") : name;
    if (SAID_ANEW.has(plain) || named?.has(name) === true || (name === "via" && rules.via !== undefined)) continue;
    if (isOrigin(plain)) {
      // One with `_` for `-` is none that anybody in front would send.
      if (!trusted || plain !== name) continue;
      const key = ORIGIN[name];
      if (key === undefined) headers.push(name, value);
      else came[key] = came[key] === undefined ? value : `${came[key]}, ${value}`;
    } else if (name === "cookie" && cookie !== -1) {
      // Split over several headers by HTTP/2, which is not how HTTP/1 writes it (RFC 9113 §8.2.3).
      headers[cookie] += `; ${value}`;
    } else if (plain === "content-length" && (!hasBody || plain !== name)) {
      // Without a body the client says the length itself, and rightly so for each method.
    } else {
      if (name === "cookie") cookie = headers.length + 1;
      headers.push(name, value);
    }
  }
  if (TRAILERS.test(String(request.headers.te ?? ""))) headers.push("te", "trailers");
  const peer = peerAddress(request.socket.remoteAddress);
  const { host } = request.headers;
  const proto = (request.socket as Partial<TLSSocket>).encrypted === true ? "https" : "http";
  headers.push("x-forwarded-for", came.for === undefined ? peer : `${came.for}, ${peer}`);
  const shown = first(came.host) ?? host;
  if (shown !== undefined && shown !== "") headers.push("x-forwarded-host", shown);
  headers.push("x-forwarded-proto", first(came.proto) ?? proto);
  if (rules.forwarded) {
    const element = forwardedElement({ for: peer, host, proto });
    headers.push("forwarded", came.forwarded === undefined ? element : `${came.forwarded}, ${element}`);
  } else if (came.forwarded !== undefined) {
    headers.push("forwarded", came.forwarded);
  }
  if (rules.via !== undefined) headers.push("via", viaWith(request, rules.via));
  return headers;
}

/**
 * The headers for the caller, as a flat list of names and values: those of the answer without hop-by-hop ones, those
 * that `Connection` names, and the instance's report of its load. `Trailer` goes with the trailers, where the answer can have any.
 */
export function responseHeaders(
  answer: Readonly<IncomingHttpHeaders>,
  mayHaveTrailers: boolean,
): (string | string[])[] {
  const named = connectionNames(answer.connection);
  const trailers = mayHaveTrailers && answer["content-length"] === undefined ? answer.trailer : undefined;
  const headers: (string | string[])[] = trailers === undefined ? [] : ["trailer", trailers];
  for (const name in answer) {
    const value = answer[name];
    if (value === undefined || NOT_FOR_CALLERS.has(name) || named?.has(name) === true) continue;
    headers.push(name, value);
  }
  return headers;
}

/** The trailers for the caller: those that do not say how the message is framed, sent where, or meant for whom. */
export function answerTrailers(trailers: Readonly<IncomingHttpHeaders>): Record<string, string | string[]> | undefined {
  let kept: Record<string, string | string[]> | undefined;
  for (const [name, value] of Object.entries(trailers)) {
    if (value === undefined || NOT_FOR_CALLERS.has(name) || NO_TRAILERS.has(name)) continue;
    kept ??= Object.create(null) as Record<string, string | string[]>;
    kept[name] = value;
  }
  return kept;
}

/** Headers that speak of one connection only. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
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

/** What is not passed on of an answer: how loaded an instance is, is for its clients, and the gateway is the one here. */
const NOT_FOR_CALLERS: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  "endpoint-load-metrics",
  "endpoint-load-metrics-bin",
]);

/** What the gateway, or the client that it uses, says itself towards the instance. */
const SAID_ANEW: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  "host",
  "expect",
  "http2-settings",
  "x-rollcall-attempt",
  "x-rollcall-deadline-ms",
]);

/** Fields by which a recipient would take the trailers, or the message, for something else (RFC 9110 §6.5.1). */
const NO_TRAILERS: ReadonlySet<string> = new Set(
  (
    "content-length content-encoding content-type content-range host set-cookie authorization cache-control expires " +
    "age date location retry-after vary www-authenticate"
  ).split(" "),
);

/** What a trusted sender said of where the request came from, so far as it is joined with what is known here. */
interface Origin {
  for?: string;
  host?: string;
  proto?: string;
  forwarded?: string;
}

const ORIGIN: Readonly<Record<string, keyof Origin>> = {
  "x-forwarded-for": "for",
  "x-forwarded-host": "host",
  "x-forwarded-proto": "proto",
  forwarded: "forwarded",
};

function isOrigin(name: string): boolean {
  return name.startsWith("x-forwarded-") || name === "forwarded" || name === "x-real-ip";
}

const TRAILERS = /(?:^|,)[ \t]*trailers[ \t]*(?:,|$)/i;

/** A sender may name further headers as hop-by-hop, but not those by which the next hop knows what it is reading. */
const ALWAYS_END_TO_END: ReadonlySet<string> = new Set([
  "content-length",
  "content-type",
  "content-encoding",
  "cache-control",
  "host",
]);

function connectionNames(value: string | string[] | undefined): ReadonlySet<string> | undefined {
  if (value === undefined || value === "keep-alive" || value === "close") return undefined;
  const names = String(value)
    .split(",")
    .map((name) => name.trim().toLowerCase());
  return new Set(names.filter((name) => !ALWAYS_END_TO_END.has(name)));
}

/** As said by whoever was nearest to the caller. */
function first(values: string | undefined): string | undefined {
  return values?.split(",", 1)[0]?.trim();
}

/** The hops so far, and this one (RFC 9110 §7.6.3). */
function viaWith({ headers, httpVersion }: IncomingMessage, name: string): string {
  return `${headers.via === undefined ? "" : `${headers.via}, `}${httpVersion} ${name}`;
}
