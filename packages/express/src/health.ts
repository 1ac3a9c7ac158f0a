import type { IncomingMessage, ServerResponse } from "node:http";
import { type Check, InvalidOptionError, TimeoutError, bounded, checkOptions, is, systemEnv } from "@rollcall/core";
import { isDraining } from "@rollcall/http/server";

/** A handler that answers every request it is given: for a route, or for `app.use` on a path of its own. */
export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** Whether something that this server cannot work without is there: `false`, or an error, if not. */
export type ReadinessCheck = (signal: AbortSignal) => boolean | Promise<boolean>;

/** What readiness depends on besides the shutdown. */
export interface HealthOptions {
  /**
   * By the names under which the answer tells of them. All are asked at once, and each answer is for all who ask
   * meanwhile. Only what this server has for itself: a check of what the whole fleet shares takes the fleet out at once.
   */
  readonly checks?: Readonly<Record<string, ReadinessCheck>> | undefined;
  /** A check that takes longer has failed; its signal aborts. Default 1 s. */
  readonly timeoutMs?: number | undefined;
}

type CheckResult = "ok" | "failed" | "timeout";

/**
 * Answers health checks.
 *
 * - `ready`, the default: 200 `{"status":"ok"}`, and 503 `{"status":"draining"}` from the moment in which the shutdown of
 *   the server began that received the request (see {@link announce}), so that load balancers and registries turn away
 *   while calls still succeed. While one of the checks fails, 503 `{"status":"unavailable","checks":{"name":"failed"}}`,
 *   where each is `ok`, `failed` or `timeout`.
 * - `live`: 200 as long as the process answers, also while draining: whoever restarts processes that are not live would
 *   otherwise kill one in the middle of its good order.
 *
 * It says nothing of the registry: a server whose registry is away still serves, and a check that failed then would take
 * the whole fleet out at once.
 *
 * ```ts
 * import { health } from "@rollcall/express";
 * import express from "express";
 *
 * let loaded = false;
 * const app = express();
 * app.get("/live", health("live"));
 * app.get("/ready", health("ready", { checks: { index: () => loaded } }));
 * ```
 *
 * @throws InvalidOptionError
 */
export function health(kind?: "ready", options?: HealthOptions): Handler;
export function health(kind: "live"): Handler;
export function health(kind: "live" | "ready" = "ready", options: HealthOptions = {}): Handler {
  if (kind === "live") {
    checkOptions("", options, {}); // a process is not restarted for what it depends on
    return (_, response) => answer(response, 200, { status: "ok" });
  }
  if (kind !== "ready") throw new InvalidOptionError("kind", '"live" or "ready"', kind);
  checkOptions("", options, { checks: areChecks, timeoutMs: is.durationMs });
  const { checks = {}, timeoutMs = 1_000 } = options;
  const ask = sharing(() => askAll(checks, timeoutMs));
  const isChecked = Object.keys(checks).length > 0;
  return (request, response) => {
    if (isDraining(request)) answer(response, 503, { status: "draining" });
    else if (!isChecked) answer(response, 200, { status: "ok" });
    else {
      void ask().then((results) => {
        if (isDraining(request)) answer(response, 503, { status: "draining" });
        else if (Object.values(results).every((result) => result === "ok")) answer(response, 200, { status: "ok" });
        else answer(response, 503, { status: "unavailable", checks: results });
      });
    }
  };
}

function answer(response: ServerResponse, statusCode: number, body: object): void {
  // While the checks were asked, somebody else may have lost patience.
  if (response.headersSent) return;
  response.statusCode = statusCode;
  response.setHeader("content-type", "application/json");
  response.setHeader("cache-control", "no-store");
  response.end(JSON.stringify(body));
}

/** Never rejects. */
async function askAll(
  checks: Readonly<Record<string, ReadinessCheck>>,
  timeoutMs: number,
): Promise<Readonly<Record<string, CheckResult>>> {
  const results = Object.entries(checks).map(async ([name, check]): Promise<[string, CheckResult]> => {
    const late = new TimeoutError(`the readiness check "${name}"`, timeoutMs);
    try {
      const holds = await bounded(systemEnv, { timeoutMs, onTimeout: () => late }, ({ signal }) => check(signal));
      return [name, holds ? "ok" : "failed"];
    } catch (error) {
      return [name, error === late ? "timeout" : "failed"];
    }
  });
  return Object.fromEntries(await Promise.all(results));
}

/** Calls `run` once for all who ask while it runs: many probes are no more work than one. */
function sharing<T>(run: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () =>
    (running ??= run().finally(() => {
      running = undefined;
    }));
}

const areChecks: Check = (value, path) => {
  is.object(value, path);
  for (const [name, check] of Object.entries(Object(value))) is.function(check, `${path}.${name}`);
};
