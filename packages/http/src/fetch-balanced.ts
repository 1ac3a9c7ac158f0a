import { ACCEPT_ENCODING, decoded } from "./content-encoding.ts";
import { normalizeMethod } from "./method.ts";
import { type Redirected, followRedirects, redirectMode } from "./redirect.ts";
import type { RequestBody } from "./request-body.ts";
import type { HttpResponse, RequestOptions } from "./request-exchange.ts";
import { fetchTarget } from "./request-target.ts";
import { destroyBody, dumpBody } from "./unread-body.ts";
import { NULL_BODY, checkBody, fetched, isStream } from "./fetch-standard.ts";
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
  const { key, avoid, timeoutMs, attemptTimeoutMs, retryable, unsent, hedge, idempotent, incoming } = init;
  const { headersTimeoutMs, bodyTimeoutMs } = init;
  const shared = {
    signal: init.signal ?? undefined,
    key,
    avoid,
    timeoutMs,
    attemptTimeoutMs,
    retryable,
    unsent,
    hedge,
    idempotent,
    incoming,
    headersTimeoutMs,
    bodyTimeoutMs,
  };
  const mode = redirectMode(init.redirect);
  const headers = requestHeaders(init);
  const { body } = init;
  const method = normalizeMethod(init.method);
  checkBody(method, body);
  const target = fetchTarget(input, service);
  const end = await followRedirects(
    service,
    mode,
    { method, target, headers, streams: isStream(body) },
    (method, target, withBody) => send(target, { ...shared, method, headers, body: withBody ? body : undefined }),
    (answer) => dumpBody(answer.body),
  );
  return response(end, service);
}

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

function response({ answer, method, target, redirected }: Redirected<HttpResponse>, service: string): Response {
  const { statusCode: status, statusText, body } = answer;
  if (status > 599) {
    destroyBody(body);
    throw new TypeError(`fetch failed: the service answered with the status ${status}, which is none`);
  }
  const headers = new Headers();
  for (const [name, value] of Object.entries(answer.headers)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined) headers.append(name, one);
  }
  let content: ReadableStream<Uint8Array> | null = null;
  if (method === "HEAD" || NULL_BODY.has(status)) dumpBody(body);
  else content = webBody(decoded(body, answer.headers["content-encoding"]));
  const made = new Response(content, { status, statusText, headers });
  return fetched(made, `http://${service}${target}`, redirected);
}
