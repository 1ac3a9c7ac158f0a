import {
  InvalidOptionError,
  QUERY_CHECKS,
  type Registry,
  type ServiceQuery,
  checkOptions,
  closable,
  fixedInstancer,
  is,
  required,
} from "@rollcall/core";
import { type HttpClient, httpClient } from "./http-client.ts";
import { type HttpClientOptions, resolvePoolOptions } from "./http-options.ts";
import { withInstancer } from "./with-instancer.ts";

/** Which service, of which instances, and how to speak to it. */
export interface ServiceClientOptions extends ServiceQuery, Omit<HttpClientOptions, "instancer"> {}

/**
 * An {@link HttpClient} for a service of a registry, together with the instancer that it needs: closing the client
 * closes that too. The registry stays its maker's. The caller closes the client.
 *
 * @throws InvalidOptionError
 */
export function serviceClient(registry: Registry, options: ServiceClientOptions | string): HttpClient {
  const { service, tags, passingOnly, ...http } = typeof options === "string" ? { service: options } : options;
  checkOptions("", { registry }, { registry: required(is.registry) });
  checkServiceClient("", { service, tags, passingOnly, ...http });
  return withInstancer(registry, { service, tags, passingOnly }, (instancer) => {
    const client = httpClient({ ...http, instancer });
    return {
      request: client.request,
      fetch: client.fetch,
      dispatch: client.dispatch,
      timeoutMs: client.timeoutMs,
      get endpoints() {
        return client.endpoints;
      },
      ready: client.ready,
      ...closable(async () => {
        await client.close();
        await instancer.close();
      }),
    };
  });
}

/**
 * Checks such options without making anything: for clients that will be made at their first use. `path` names them in
 * messages. Throws `InvalidOptionError`.
 */
export function checkServiceClient(path: string, options: ServiceClientOptions): void {
  is.object(options, path === "" ? "options" : path);
  const { service, tags, passingOnly, ...http } = options;
  checkOptions(path, { service, tags, passingOnly }, QUERY_CHECKS);
  const at = (key: string): string => (path === "" ? key : `${path}.${key}`);
  if ("instancer" in http)
    throw new InvalidOptionError(at("instancer"), "no instancer beside a registry", http.instancer);
  try {
    resolvePoolOptions({ ...http, instancer: fixedInstancer(service, []) });
  } catch (error) {
    if (path === "" || !(error instanceof InvalidOptionError)) throw error;
    throw new InvalidOptionError(at(error.path), error.expected, error.got, error);
  }
}
