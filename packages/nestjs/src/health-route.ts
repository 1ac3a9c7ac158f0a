import type { HttpServer as HttpAdapter } from "@nestjs/common";
import { isDraining } from "@rollcall/http/server";

/**
 * Serves `path` on the application's own server, beside Nest's router: no global prefix, no guard, no interceptor and no
 * versioning stands between a health check and its answer. A route that the application has there already stays.
 */
export function addHealthRoute(adapter: HttpAdapter, path: string): void {
  const instance: unknown = adapter.getInstance();
  // Express takes the first of two routes; Fastify refuses the second.
  const { hasRoute } = Object(instance) as { hasRoute?: unknown };
  if (typeof hasRoute === "function" && hasRoute.call(instance, { method: "GET", url: path }) === true) return;
  adapter.get(path, (_request: unknown, response: unknown) => {
    const draining = isDraining(adapter.getHttpServer());
    adapter.setHeader?.(response, "Cache-Control", "no-store");
    adapter.reply(response, { status: draining ? "draining" : "ok" }, draining ? 503 : 200);
  });
}
