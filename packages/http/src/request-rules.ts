import { createClient, resolveEnv } from "@rollcall/core";
import { DEFAULT_TIMEOUT_MS, FAILURE_STATUSES } from "./http-checks.ts";
import { type HttpClientOptions, resolvePoolOptions } from "./http-options.ts";
import { createPool, destroyPool } from "./instance-pool.ts";
import { patientBackoff } from "./patient-backoff.ts";
import type { RequestRules } from "./request-exchange.ts";
import { flatHeaders } from "./request-headers.ts";
import { servernameOf } from "./tls-options.ts";

/** As many requests share one client of the service: its pools, and what was said about it. */
export function requestRules(options: HttpClientOptions): RequestRules {
  const poolOptions = resolvePoolOptions(options);
  const { instancer, policy, staleAfterMs, drainMs, env, retry, tls } = options;
  const { protocol = tls === undefined ? "http" : "https" } = options;
  const own = retry === false ? undefined : (retry ?? {});
  const client = createClient({
    instancer,
    policy,
    staleAfterMs,
    drainMs,
    env,
    factory: (instance) => {
      const spoken = typeof protocol === "function" ? protocol(instance) : protocol;
      return createPool(instance, spoken, poolOptions, spoken === "https" ? servernameOf(tls, instance) : undefined);
    },
    close: destroyPool,
    retry: own === undefined ? false : { ...own, backoff: own.backoff ?? patientBackoff(own.env ?? env) },
  });
  return {
    client,
    headers: flatHeaders(options.headers),
    failureStatuses: new Set(options.failureStatuses ?? FAILURE_STATUSES),
    maxReplayBytes: options.maxReplayBytes ?? 65_536,
    retryable: own?.retryable,
    unsent: own?.unsent,
    hedges: own?.hedge !== undefined && own.hedge !== false,
    env: resolveEnv(own?.env ?? env),
    timeoutMs: own?.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    attemptTimeoutMs: own?.attemptTimeoutMs,
    sendDeadline: options.sendDeadline === true,
  };
}
