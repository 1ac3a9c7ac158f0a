import type { IncomingMessage, ServerResponse } from "node:http";
import { isDraining } from "@rollcall/http/server";

/** A handler that answers every request it is given: for a route, or for `app.use` on a path of its own. */
export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/**
 * Answers health checks: 200 `{"status":"ok"}`, and 503 `{"status":"draining"}` from the moment in which the shutdown of
 * the server began that received the request (see {@link announce}), so that load balancers and registries turn away
 * while calls still succeed.
 *
 * It says nothing of the registry: a server whose registry is away still serves, and a check that failed then would take
 * the whole fleet out at once.
 *
 * ```ts
 * import { health } from "@rollcall/express";
 * import express from "express";
 *
 * const app = express();
 * app.get("/health", health());
 * ```
 */
export function health(): Handler {
  return (request, response) => {
    const draining = isDraining(request);
    response.statusCode = draining ? 503 : 200;
    response.setHeader("content-type", "application/json");
    response.setHeader("cache-control", "no-store");
    response.end(JSON.stringify({ status: draining ? "draining" : "ok" }));
  };
}
