import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { type Closable, ClosedError, checkOptions, closable, is, required } from "@rollcall/core";
import { type DispatchRequest, failureAnswer } from "@rollcall/http";
import { requestHeaders } from "./forwarded-headers.ts";
import { GatewayExchange } from "./gateway-exchange.ts";
import { type GatewayOptions, resolveGateway } from "./gateway-options.ts";
import { gatewayPath, pathBelow } from "./gateway-path.ts";
import { refuse } from "./gateway-refuse.ts";
import {
  BAD_REQUEST,
  type GatewayRefusal,
  INTERNAL_ERROR,
  bodyFollows,
  bodyLength,
  refusal,
} from "./gateway-request.ts";
import { GatewayUpgrade, isBusy, isHandshake } from "./gateway-upgrade.ts";

export type { GatewayOptions };

/** Middleware for Express, Connect and alike, and a listener for `node:http`. `close()` closes the client it made. */
export interface Gateway extends Closable {
  (request: IncomingMessage, response: ServerResponse, next?: unknown): void;
  /**
   * Passes WebSocket handshakes on: `server.on("upgrade", lorem.upgrade)`. False, and nothing done, if the path is not
   * below `upgradePath`: what no listener takes is for the application to end. No middleware sees these requests: whoever
   * checks who may connect does it before, in a listener of its own.
   */
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => boolean;
  /** Upgraded connections end at once, requests within `drainMs`. */
  close(): Promise<void>;
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
 * - Otherwise, each with a JSON body: 503 with `Retry-After` if there is no instance, 504 if it is too slow, 502 if it
 *   cannot be reached; 400, 408, 413 and 431 for requests that are ambiguous, too slow or too large.
 *
 * Starts to discover at once. The caller closes it.
 *
 * ```ts
 * import { createServer } from "node:http";
 * import { memoryRegistry } from "@rollcall/core";
 * import { gateway } from "@rollcall/express";
 * import express from "express";
 *
 * const lorem = gateway("lorem", { registry: memoryRegistry(), prefix: "/lorem", upgradePath: "/api/lorem" });
 * const app = express();
 * app.use("/api/lorem", lorem);
 * createServer(app).on("upgrade", lorem.upgrade).listen(8080);
 * ```
 *
 * @throws InvalidOptionError
 */
export function gateway(service: string, options: GatewayOptions): Gateway {
  checkOptions("", { service }, { service: required(is.nonEmptyString) });
  is.object(options, "options");
  const { parts, rules, limits, close, ...settings } = resolveGateway(service, options);
  const { prefix, upgradePath, timeoutMs, idempotent, trustCallChain } = settings;
  const upgraded = new Set<() => void>();
  let closed = false;

  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    const path = gatewayPath(request.url ?? "", prefix);
    const refused = path === undefined ? BAD_REQUEST : closed ? ended(service) : refusal(request, limits);
    if (path === undefined || refused !== undefined) {
      refuse(request, response, refused ?? BAD_REQUEST, parts);
      return;
    }
    const hasBody = bodyFollows(request);
    if (hasBody && request.readableDidRead) {
      const message = "the request's body was read before the gateway: mount body parsers after it";
      refuse(request, response, { statusCode: 500, code: "misconfigured", message }, parts);
      parts.report(new Error(message), request);
      return;
    }
    let passed: DispatchRequest;
    try {
      passed = {
        path,
        method: request.method ?? "GET",
        headers: requestHeaders(request, hasBody, rules),
        timeoutMs,
        ...asSaid(idempotent?.(request)),
        incoming: trustCallChain && request,
      };
    } catch (error) {
      // An application's own function: thrown on, it would end the process under node:http.
      refuse(request, response, INTERNAL_ERROR, parts);
      parts.report(error, request);
      return;
    }
    new GatewayExchange(parts, request, response).run(
      passed,
      hasBody ? { maxBytes: limits.maxBodyBytes, length: bodyLength(request) } : undefined,
    );
  };

  const upgrade = (request: IncomingMessage, _: Duplex, head: Buffer): boolean => {
    const url = pathBelow(request.url ?? "", upgradePath);
    if (url === undefined) return false;
    if (isBusy(request)) {
      request.socket.on("error", () => undefined).destroy();
      return true;
    }
    const path = gatewayPath(url, prefix);
    const exchange = new GatewayUpgrade(parts, request, head, upgraded);
    const isBad = path === undefined || !isHandshake(request);
    const refused = isBad ? BAD_REQUEST : closed ? ended(service) : refusal(request, limits);
    if (path === undefined || refused !== undefined) {
      exchange.refuse(refused ?? BAD_REQUEST);
      return true;
    }
    let headers: string[];
    try {
      headers = requestHeaders(request, false, rules);
    } catch (error) {
      exchange.refuse(INTERNAL_ERROR);
      parts.report(error, request);
      return true;
    }
    exchange.run({
      path,
      method: "GET",
      upgrade: "websocket",
      headers,
      timeoutMs,
      // What has reached an instance is not sent elsewhere: it may have begun to talk.
      idempotent: false,
      incoming: trustCallChain && request,
    });
    return true;
  };

  const life = closable(async () => {
    closed = true;
    for (const end of upgraded) end();
    await close();
  });
  return Object.assign(handle, { upgrade, ...life });
}

/** After the end, also where the client goes on: it belongs to somebody else. */
function ended(service: string): GatewayRefusal {
  return failureAnswer(new ClosedError("the gateway"), service);
}

/** What the application does not know of a request is judged by its method. */
function asSaid(idempotent: boolean | undefined): Pick<DispatchRequest, "idempotent"> {
  return idempotent === undefined ? {} : { idempotent };
}
