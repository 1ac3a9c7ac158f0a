import { ClosedError, type Closable, InvalidOptionError, closable, is } from "@rollcall/core";
import { whileServing } from "./call-chain.ts";

/** Which hosts of URLs are services, and how many of them at most. */
export interface ServiceHostsOptions {
  /**
   * The names of the services, or whether a host is one. Default: every host that is one label without a port, as
   * `http://lorem/`, except `localhost`; services that have options of their own are always some. Give the names where
   * hosts come from outside: each new one starts a watch.
   */
  readonly services?: readonly string[] | ((host: string) => boolean) | undefined;
  /** Most clients at the same time; the one that was not used for the longest time is closed. Default 100. */
  readonly maxServices?: number | undefined;
}

/** How a client is made, for those who make them by host. */
export interface ServiceHostsParts<C extends Closable> extends ServiceHostsOptions {
  /** The services that have options of their own. */
  readonly known: readonly string[];
  /** `secure`: by `https://`. */
  make(service: string, secure: boolean): C;
}

/** The clients of services by the URLs that name them. The caller closes it. */
export interface ServiceHosts<C> extends Closable {
  /**
   * The client of the service that this origin (`http://lorem`) names, made at the first call; `undefined` if it names
   * none. Throws `ClosedError` after the end.
   */
  find(origin: string): C | undefined;
}

/** The checks of {@link ServiceHostsOptions}. */
export const SERVICE_HOSTS_CHECKS = {
  services: (value: unknown, path: string): void => {
    if (typeof value === "function") return;
    is.strings(value, path);
    for (const name of value as readonly string[]) serviceHost(name, path);
  },
  maxServices: (value: unknown, path: string): void => {
    if (!Number.isInteger(value) || Number(value) < 1) throw new InvalidOptionError(path, "a whole number >= 1", value);
  },
};

/** How the service is written in a URL. Throws `InvalidOptionError` for a name that cannot be a host. */
export function serviceHost(service: string, path: string): string {
  const url = URL.canParse(`http://${service}/`) ? new URL(`http://${service}/`) : undefined;
  if (url === undefined || url.host !== service.toLowerCase() || url.port !== "") {
    throw new InvalidOptionError(path, "a service whose name can be the host of a URL", service);
  }
  return url.host;
}

/** Makes {@link ServiceHosts}. Makes no client before its host is asked for. */
export function serviceHosts<C extends Closable>(parts: ServiceHostsParts<C>): ServiceHosts<C> {
  const { services, maxServices = 100, known, make } = parts;
  const names = new Map<string, string>();
  for (const name of [...(Array.isArray(services) ? services : []), ...known]) names.set(name.toLowerCase(), name);
  const made = new Map<string, { readonly client: C; lastUse: number }>();
  const closing = new Set<Promise<void>>();
  let uses = 0;
  let closed = false;

  const serviceOf = (host: string): string | undefined => {
    const name = names.get(host);
    if (name !== undefined || Array.isArray(services)) return name;
    const isService = typeof services === "function" ? services(host) : ONE_LABEL.test(host) && host !== "localhost";
    return isService ? host : undefined;
  };
  const closeOldest = (): void => {
    const oldest = [...made].reduce((a, b) => (b[1].lastUse < a[1].lastUse ? b : a));
    made.delete(oldest[0]);
    const end = oldest[1].client.close().finally(() => closing.delete(end));
    closing.add(end);
  };
  const find = (origin: string): C | undefined => {
    if (closed) throw new ClosedError("the client of all services");
    const existing = made.get(origin);
    if (existing !== undefined) {
      existing.lastUse = ++uses;
      return existing.client;
    }
    if (!URL.canParse(origin)) return undefined;
    const url = new URL(origin);
    const secure = url.protocol === "https:";
    if (url.port !== "" || (!secure && url.protocol !== "http:")) return undefined;
    if (origin !== url.origin) return find(url.origin);
    const service = serviceOf(url.hostname);
    if (service === undefined) return undefined;
    // It outlives the request that was the first to need it.
    const client = whileServing(undefined, () => make(service, secure));
    if (made.size >= maxServices) closeOldest();
    made.set(origin, { client, lastUse: ++uses });
    return client;
  };
  return {
    find,
    ...closable(async () => {
      closed = true;
      await Promise.all([...Array.from(made.values(), ({ client }) => client.close()), ...closing]);
    }),
  };
}

const ONE_LABEL = /^[a-z0-9_-]+$/;
