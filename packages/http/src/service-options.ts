import { InvalidOptionError, type Registry, is, required } from "@rollcall/core";
import { SERVICE_HOSTS_CHECKS, type ServiceHostsOptions, serviceHost } from "./service-hosts.ts";

/** What those who send by URL to any service of a registry are told: `T` is what can be said of one service. */
export interface ServicesOptions<T extends object> extends ServiceHostsOptions {
  /** Stays its maker's. */
  readonly registry: Registry;
  /** For all services. */
  readonly defaults?: T | undefined;
  /**
   * For single services, by the host in their URLs, which is the service's name unless `service` says otherwise. Each
   * option replaces that of `defaults` as a whole.
   */
  readonly clients?: Readonly<Record<string, T & { readonly service?: string | undefined }>> | undefined;
}

/** The checks of {@link ServicesOptions}; what can be said of one service is checked by `check`. */
export function servicesChecks(check: (path: string, options: object & { readonly service: string }) => void) {
  return {
    ...SERVICE_HOSTS_CHECKS,
    registry: required(is.registry),
    defaults: (value: unknown, path: string): void => {
      is.object(value, path);
      const given = Object(value) as object;
      if ("service" in given)
        throw new InvalidOptionError(`${path}.service`, "no service for all of them", given.service);
      check(path, { ...given, service: "service" });
    },
    clients: (value: unknown, path: string): void => {
      is.object(value, path);
      for (const [name, given] of Object.entries(Object(value) as Record<string, unknown>)) {
        is.object(given, `${path}.${name}`);
        serviceHost(name, path);
        check(`${path}.${name}`, { service: name, ...Object(given) });
      }
    },
  };
}

/** What was said of one service. */
export function serviceOptions<T extends object>(
  { defaults, clients }: ServicesOptions<T>,
  name: string,
): T & { readonly service: string } {
  const own = clients !== undefined && Object.hasOwn(clients, name) ? clients[name] : undefined;
  return { ...defaults, ...own, service: own?.service ?? name } as T & { readonly service: string };
}
