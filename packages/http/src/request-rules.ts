import { exchangeRules } from "./exchange-rules.ts";
import { type HttpClientOptions, resolvePoolOptions } from "./http-options.ts";
import { type InstancePool, createPool, destroyPool } from "./instance-pool.ts";
import type { RequestRules } from "./request-exchange.ts";
import { flatHeaders } from "./request-headers.ts";
import { servernameOf } from "./tls-options.ts";

/** As many requests share one client of the service: its pools, and what was said about it. */
export function requestRules(options: HttpClientOptions): RequestRules {
  const poolOptions = resolvePoolOptions(options);
  const { instancer, tls } = options;
  const { protocol = tls === undefined ? "http" : "https" } = options;
  const rules = exchangeRules<InstancePool>(options, {
    instancer,
    factory: (instance) => {
      const spoken = typeof protocol === "function" ? protocol(instance) : protocol;
      return createPool(instance, spoken, poolOptions, spoken === "https" ? servernameOf(tls, instance) : undefined);
    },
    close: destroyPool,
  });
  return { ...rules, headers: flatHeaders(options.headers) };
}
