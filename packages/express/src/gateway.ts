import type { IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream";
import type { TLSSocket } from "node:tls";
import {
  type Closable,
  type Env,
  InvalidOptionError,
  type Registry,
  TimeoutError,
  checkOptions,
  closable,
  is,
  required,
  resolveEnv,
} from "@rollcall/core";
import { type HttpClient, type ServiceClientOptions, serviceClient } from "@rollcall/http";
import { requestHeaders, responseHeaders } from "./forwarded-headers.ts";
import { type GatewayFailure, gatewayFailure } from "./gateway-failure.ts";
import { gatewayPath } from "./gateway-path.ts";

/** How requests go on to the service. The rest is said as for a client: `policy`, `retry`, `tags`, … */
export interface GatewayOptions extends Omit<ServiceClientOptions, "service"> {
  /** Where the service is found. Stays the caller's. Either this or `client`. */
  readonly registry?: Registry | undefined;
  /** A client made elsewhere, which stays its maker's. The options for making one are then not allowed. */
  readonly client?: Pick<HttpClient, "request"> | undefined;
  /** What instances get to see before the path: `/lorem`. Default: nothing. */
  readonly prefix?: string | undefined;
  /**
   * How long an instance may take until its answer begins, retries included. For requests with a body it counts from
   * the last byte that came, so that a slow upload is no slow answer. Default: the client's (`retry.timeoutMs`, 10 s).
   */
  readonly timeoutMs?: number | undefined;
  /** Whether this request may be sent again after bytes have left. Default: by its method (`GET`, `PUT`, …). */
  readonly idempotent?: ((request: IncomingMessage) => boolean) | undefined;
  /** Whether `X-Forwarded-Host` and `-Proto` are believed as they came: behind another proxy. Default false. */
  readonly trustForwarded?: boolean | undefined;
  /** Told every error that a caller got as 500, 502, 503 or 504, or as a broken connection. */
  readonly onError?: ((error: unknown, request: IncomingMessage) => void) | undefined;
}

/** Middleware for Express, Connect and alike, and a listener for `node:http`. `close()` closes the client it made. */
export interface Gateway extends Closable {
  (request: IncomingMessage, response: ServerResponse, next?: unknown): void;
}

/**
 * A reverse proxy to a discovered service. Whatever path it is mounted at is taken off by the framework; what is left
 * goes to an instance, behind `prefix`. The host comes from the registry alone.
 *
 * - Bodies are streamed both ways, as fast as the slower side reads. Mount it before body parsers.
 * - A caller who leaves ends the request at the instance; an instance that dies in the middle of a body breaks the
 *   caller's connection, so that half an answer never looks like a whole one.
 * - Sent again before an answer has begun: what has not left yet, and what is idempotent and can be replayed, as in
 *   `HttpClient`. What the instance answers last is passed on as it is.
 * - Otherwise: 503 with `Retry-After` if there is no instance, 504 if it is too slow, 502 if it cannot be reached, 400
 *   for a path that could mean another host or leave the prefix; each with a JSON body.
 *
 * Starts to discover at once. The caller closes it.
 *
 * ```ts
 * import { memoryRegistry } from "@rollcall/core";
 * import { gateway } from "@rollcall/express";
 * import express from "express";
 *
 * const registry = memoryRegistry();
 * const app = express();
 * app.use("/api/lorem", gateway("lorem", { registry, prefix: "/lorem" }));
 * ```
 *
 * @throws InvalidOptionError
 */
export function gateway(service: string, options: GatewayOptions): Gateway {
  checkOptions("", { service }, { service: required(is.nonEmptyString) });
  is.object(options, "options");
  const { registry, client: given, prefix = "", timeoutMs, ...others } = options;
  const { idempotent, trustForwarded = false, onError, ...forClient } = others;
  const { service: misplaced } = others as { readonly service?: unknown };
  if (misplaced !== undefined) throw new InvalidOptionError("service", "no second service", misplaced);
  checkOptions("", { prefix, timeoutMs, idempotent, trustForwarded, onError }, CHECKS);
  const env = resolveEnv(forClient.env);
  const uploadMs = timeoutMs ?? (forClient.retry === false ? undefined : forClient.retry?.timeoutMs) ?? 10_000;
  const { client, close } =
    given === undefined
      ? ownClient(registry, { ...forClient, service })
      : borrowedClient(given, { registry, ...forClient });

  // Whoever is told of errors must not make more of them.
  const report = (error: unknown, request: IncomingMessage): void => {
    try {
      onError?.(error, request);
    } catch (thrown) {
      process.emitWarning(thrown instanceof Error ? thrown : String(thrown));
    }
  };

  const forward = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = gatewayPath(request.url ?? "", prefix);
    if (path === undefined || !isWellFormed(request)) {
      fail(response, { statusCode: 400, code: "bad_request", message: "this request cannot be passed on" }, service);
      return;
    }
    const hasBody = bodyFollows(request);
    if (hasBody && request.readableDidRead) {
      const message = "the request's body was read before the gateway: mount body parsers after it";
      report(new Error(message), request);
      fail(response, { statusCode: 500, code: "misconfigured", message }, service);
      return;
    }
    const exchange = new AbortController();
    response.once("close", () => exchange.abort(CALLER_LEFT));
    const upload = hasBody ? watchedUpload(request, exchange, uploadMs, env) : undefined;
    try {
      const answer = await client.request(path, {
        method: request.method,
        headers: requestHeaders(request, hasBody, trustForwarded),
        body: upload?.body,
        signal: exchange.signal,
        timeoutMs: upload === undefined ? timeoutMs : Infinity,
        idempotent: idempotent?.(request) === true ? true : undefined,
      });
      try {
        response.writeHead(answer.statusCode, responseHeaders(answer.headers));
      } catch (error) {
        // Headers that Node will not send. The error that the body makes of its end is nobody's.
        answer.body.once("error", () => undefined).destroy();
        throw error;
      }
      // Before the pipeline hears of it, which would end the response gently and make half an answer look whole.
      answer.body.once("error", (error: unknown) => {
        if (exchange.signal.aborted) return;
        cut(response);
        report(error, request);
      });
      pipeline(answer.body, response, () => undefined); // both ends tell of their errors by themselves
    } catch (error) {
      if (exchange.signal.reason === CALLER_LEFT) return;
      fail(response, gatewayFailure(error, service), service);
      report(error, request);
    } finally {
      upload?.end();
    }
  };

  const handle = (request: IncomingMessage, response: ServerResponse): void => void forward(request, response);
  return Object.assign(handle, closable(close));
}

/** Not an error of anybody's: there is nobody left to tell. */
const CALLER_LEFT = new Error("the caller left");

/** What requests go through, and how it ends with the gateway. */
interface GatewayClient {
  readonly client: Pick<HttpClient, "request">;
  close(): Promise<void>;
}

function ownClient(registry: Registry | undefined, options: ServiceClientOptions): GatewayClient {
  if (registry === undefined) throw new InvalidOptionError("registry", "a registry, or a client", registry);
  const client = serviceClient(registry, options);
  return { client, close: client.close };
}

/** A client that is made already: options for making one would be silently useless. */
function borrowedClient(client: GatewayClient["client"], options: Readonly<Record<string, unknown>>): GatewayClient {
  is.function(Reflect.get(Object(client), "request"), "client.request");
  for (const [key, value] of Object.entries(options)) {
    if (value !== undefined) throw new InvalidOptionError(key, "nothing, beside a client that is made already", value);
  }
  return { client, close: async () => undefined };
}

/** Whether there is a body, as RFC 9112 §6.3 has it for requests. */
function bodyFollows({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}

/** Whether what the next hop would be told is what came: one host, and no encoding that was left undone. */
function isWellFormed({ method, headersDistinct }: IncomingMessage): boolean {
  const encoding = headersDistinct["transfer-encoding"] ?? ["chunked"];
  return (
    method !== "TRACE" &&
    method !== "CONNECT" &&
    (headersDistinct["host"] ?? []).length <= 1 &&
    encoding.length === 1 &&
    encoding[0]?.toLowerCase() === "chunked"
  );
}

/**
 * The request's body for the client, which may give it up without the request being destroyed (the caller still has to
 * get an answer). Aborts the exchange when nothing has come for `timeoutMs`, and no answer either.
 */
function watchedUpload(
  request: IncomingMessage,
  exchange: AbortController,
  timeoutMs: number,
  env: Env,
): { readonly body: AsyncIterable<Uint8Array>; end(): void } {
  let lastMs = env.now();
  let cancel = (): void => undefined;
  const watch = (): void => {
    const leftMs = lastMs + timeoutMs - env.now();
    if (leftMs > 0) cancel = env.after(leftMs, watch);
    else exchange.abort(new TimeoutError("the upload", timeoutMs));
  };
  watch();
  async function* chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      lastMs = env.now();
      yield chunk;
    }
  }
  return { body: chunks(), end: () => cancel() };
}

function fail(response: ServerResponse, failure: GatewayFailure, service: string): void {
  if (response.headersSent || response.destroyed) {
    cut(response);
    return;
  }
  const { statusCode, code, message } = failure;
  response.statusCode = statusCode;
  response.setHeader("content-type", "application/json");
  if (statusCode === 503) response.setHeader("retry-after", "1");
  response.end(JSON.stringify({ error: code, message, service }));
}

/** Ends a connection so that nobody can take what came for all there is. */
function cut(response: ServerResponse): void {
  const { socket } = response;
  // A reset, as a mere end is how a body without a length ends well. TLS has its own way to tell, and no reset.
  if (socket === null || (socket as Partial<TLSSocket>).encrypted === true) response.destroy();
  else socket.resetAndDestroy();
}

const CHECKS = {
  prefix: (value: unknown, path: string) => {
    const valid = value === "" || (typeof value === "string" && /^(\/[^/?#]+)+$/.test(value));
    if (!valid) throw new InvalidOptionError(path, "a path that starts with a slash and does not end with one", value);
  },
  timeoutMs: is.durationMs,
  idempotent: is.function,
  trustForwarded: is.boolean,
  onError: is.function,
};
