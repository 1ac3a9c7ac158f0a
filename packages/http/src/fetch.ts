import { InvalidOptionError } from "@rollcall/core";
import { ACCEPT_ENCODING, decoded } from "./content-encoding.ts";
import { normalizeMethod } from "./method.ts";
import { MAX_REDIRECTS, isRedirect, redirection } from "./redirect.ts";
import type { RequestBody } from "./request-body.ts";
import type { HttpResponse, RequestOptions } from "./request-exchange.ts";
import { fetchTarget } from "./request-target.ts";
import { destroyBody, dumpBody } from "./unread-body.ts";
import { webBody } from "./web-body.ts";

/**
 * What `fetch` can be told: the standard members that mean something between services, and those of
 * {@link RequestOptions}. Other standard members (`credentials`, `mode`, `cache`, …) are accepted and have no effect.
 */
export interface FetchInit
  extends Omit<RequestInit, "body" | "signal" | "dispatcher">, Omit<RequestOptions, "headers" | "method" | "signal"> {
  readonly body?: RequestBody;
  readonly signal?: AbortSignal | null | undefined;
}

type Send = (path: string, options: RequestOptions) => Promise<HttpResponse>;

/**
 * `fetch` over a balanced `request`. The `Response` is the global one; its `url` is `http://<service>/…`, whichever
 * instance answered. Every redirect that is followed is a balanced request of its own.
 */
export async function fetchBalanced(
  service: string,
  send: Send,
  input: string | URL,
  init: FetchInit,
): Promise<Response> {
  const { key, avoid, timeoutMs, retryable, unsent, idempotent, headersTimeoutMs, bodyTimeoutMs } = init;
  const shared = {
    signal: init.signal ?? undefined,
    key,
    avoid,
    timeoutMs,
    retryable,
    unsent,
    idempotent,
    headersTimeoutMs,
    bodyTimeoutMs,
  };
  const mode = redirectMode(init.redirect);
  const headers = requestHeaders(init);
  let method = normalizeMethod(init.method);
  let body = init.body;
  if (body !== undefined && body !== null && (method === "GET" || method === "HEAD")) {
    throw new InvalidOptionError("body", `no body for ${method}`, body);
  }
  let target = fetchTarget(input, service);
  for (let redirects = 0; ; redirects++) {
    const answer = await send(target, { ...shared, method, headers, body });
    const { statusCode, instance } = answer;
    if (mode === "manual" || !isRedirect(statusCode)) return response(answer, method, service, target, redirects > 0);
    if (mode === "error") throw dropped(answer, `a redirect (${statusCode}), which "redirect" forbids`);
    const next = redirection(statusCode, answer.headers.location, method, { target, service, instance });
    if (next === undefined || (!next.toGet && isStream(body))) {
      return response(answer, method, service, target, redirects > 0);
    }
    if (redirects === MAX_REDIRECTS) throw dropped(answer, `more than ${MAX_REDIRECTS} redirects`);
    dumpBody(answer.body);
    ({ target } = next);
    if (next.toGet) {
      method = "GET";
      body = undefined;
      for (const name of BODY_HEADERS) headers.delete(name);
    }
  }
}

const BODY_HEADERS = ["content-encoding", "content-language", "content-location", "content-type", "content-length"];

function requestHeaders(init: FetchInit): Headers {
  const headers = new Headers(init.headers ?? {});
  if (!headers.has("accept")) headers.set("accept", "*/*");
  // As in browsers: who asks for a part gets it as it is.
  if (!headers.has("accept-encoding"))
    headers.set("accept-encoding", headers.has("range") ? "identity" : ACCEPT_ENCODING);
  if (typeof init.body === "string" && !headers.has("content-type")) {
    headers.set("content-type", "text/plain;charset=UTF-8");
  }
  return headers;
}

function redirectMode(mode: RequestInit["redirect"] = "follow"): NonNullable<RequestInit["redirect"]> {
  if (mode === "follow" || mode === "manual" || mode === "error") return mode;
  throw new InvalidOptionError("redirect", "follow | manual | error", mode);
}

/** A stream is gone once it has been sent: a redirect that wants it again cannot be followed. */
function isStream(body: RequestBody): boolean {
  if (typeof body !== "object" || body === null || ArrayBuffer.isView(body)) return false;
  if (body instanceof URLSearchParams || body instanceof FormData || body instanceof Blob) return false;
  return Symbol.asyncIterator in body || (Symbol.iterator in body && !Array.isArray(body));
}

/** Statuses whose responses have no body (Fetch standard, "null body status"). */
const NULL_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

function response(
  answer: HttpResponse,
  method: string,
  service: string,
  target: string,
  redirected: boolean,
): Response {
  const { statusCode: status, statusText, body } = answer;
  if (status > 599) throw dropped(answer, `the status ${status}, which is none`);
  const headers = new Headers();
  for (const [name, value] of Object.entries(answer.headers)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined) headers.append(name, one);
  }
  let content: ReadableStream<Uint8Array> | null = null;
  if (method === "HEAD" || NULL_BODY.has(status)) dumpBody(body);
  else content = webBody(decoded(body, answer.headers["content-encoding"]));
  const made = new Response(content, { status, statusText, headers });
  // A response that was made, rather than fetched, has neither.
  return Object.defineProperties(made, {
    url: { value: `http://${service}${target}`, enumerable: true },
    redirected: { value: redirected, enumerable: true },
  });
}

function dropped(answer: HttpResponse, what: string): TypeError {
  destroyBody(answer.body);
  return new TypeError(`fetch failed: the service answered with ${what}`);
}
