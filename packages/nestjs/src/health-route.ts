import type { HttpServer as HttpAdapter } from "@nestjs/common";
import { isDraining } from "@rollcall/http/server";
import type { HealthOptions } from "./discovery-options.ts";

/**
 * Serves health checks on the application's own server, beside Nest's router: no global prefix, no guard, no interceptor
 * and no versioning stands between a health check and its answer. A route that the application has there already stays.
 */
export function addHealthRoutes(adapter: HttpAdapter, { path, live }: HealthOptions): void {
  addRoute(adapter, path, () => isDraining(adapter.getHttpServer()));
  if (live !== undefined) addRoute(adapter, live, () => false);
}

function addRoute(adapter: HttpAdapter, path: string, isUnready: () => boolean): void {
  const instance: unknown = adapter.getInstance();
  // Express takes the first of two routes; Fastify refuses the second.
  const { hasRoute } = Object(instance) as { hasRoute?: unknown };
  if (typeof hasRoute === "function" && hasRoute.call(instance, { method: "GET", url: path }) === true) return;
  adapter.get(path, (_request: unknown, response: unknown) => {
    const unready = isUnready();
    adapter.setHeader?.(response, "Cache-Control", "no-store");
    adapter.reply(response, { status: unready ? "draining" : "ok" }, unready ? 503 : 200);
  });
}
