import type { IncomingMessage, ServerResponse } from "node:http";
import { loadReporter } from "@rollcall/http/server";

/** Middleware that has answers report the load. */
export type LoadReports = (request: IncomingMessage, response: ServerResponse, next: () => void) => void;

/**
 * Middleware by which each answer says how many requests are in flight, and how busy the event loop is: the header
 * `endpoint-load-metrics`, for clients whose policy heeds it, such as core's `prequal()`. It counts the requests that come
 * to it, so put it in front of all others. Whoever gets an answer can read it: use it where one's own services call.
 * Nothing to close. More is said at `loadReporter` of `@rollcall/http/server`.
 *
 * ```ts
 * import { loadReports } from "@rollcall/express";
 * import express from "express";
 *
 * const app = express();
 * app.use(loadReports());
 * app.get("/word", (_, response) => void response.json({ message: "lorem" }));
 * ```
 */
export function loadReports(): LoadReports {
  const { watch } = loadReporter();
  return (request, response, next) => {
    watch(request, response);
    next();
  };
}
