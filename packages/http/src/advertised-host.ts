import { networkInterfaces } from "node:os";
import { is } from "@rollcall/core";

/** The environment variable that says under which host a server is reached, when no option does. */
export const ADVERTISE_HOST = "ADVERTISE_HOST";

/** What {@link advertisedHost} decides by. */
export interface AdvertisedHostOptions {
  /** Said by the application itself: wins over everything. */
  readonly host?: string | undefined;
  /** The address the server is bound to, as `server.address()` tells it. */
  readonly bound?: string | undefined;
  /** Default `process.env`. */
  readonly variables?: Readonly<Record<string, string | undefined>> | undefined;
  /** Default `os.networkInterfaces()`. */
  readonly interfaces?: NodeJS.Dict<readonly NetworkAddress[]> | undefined;
}

/** The part of `os.NetworkInterfaceInfo` that is looked at. */
export interface NetworkAddress {
  readonly address: string;
  readonly family: string;
  readonly internal: boolean;
}

/**
 * The host under which other machines reach a server of this process; the first of:
 *
 * 1. the `host` option,
 * 2. the environment variable `ADVERTISE_HOST` (an empty one counts as unset),
 * 3. the address the server is bound to, unless that means "all of them" (`0.0.0.0`, `::`),
 * 4. the first external interface's address: IPv4 before IPv6, no link-local ones, no IPv6 if the server is bound to
 *    `0.0.0.0`,
 * 5. loopback.
 *
 * On a machine with several networks, say it (1 or 2): which of them the others share cannot be known here.
 *
 * @throws InvalidOptionError if the option or the variable is no host.
 */
export function advertisedHost(options: AdvertisedHostOptions = {}): string {
  const { host, bound, variables = process.env } = options;
  if (host !== undefined) return checked("host", host);
  const variable = variables[ADVERTISE_HOST];
  if (variable !== undefined && variable !== "") return checked(ADVERTISE_HOST, variable);
  if (bound !== undefined && !isWildcard(bound)) return bound;

  const external = Object.values(options.interfaces ?? networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter((entry) => !entry.internal && !isLinkLocal(entry.address));
  const byFamily = (family: string): string | undefined => external.find((entry) => entry.family === family)?.address;
  return byFamily("IPv4") ?? (bound === "0.0.0.0" ? undefined : byFamily("IPv6")) ?? "127.0.0.1";
}

function isWildcard(host: string): boolean {
  return host === "" || host === "::" || host === "0.0.0.0" || host === "::ffff:0.0.0.0";
}

/** Link-local addresses are valid on one link only, and IPv6 ones need the name of the interface besides. */
function isLinkLocal(host: string): boolean {
  return host.startsWith("169.254.") || /^fe[89ab]/i.test(host);
}

/** A host that was said, without the brackets that IPv6 addresses may have. */
function checked(path: string, host: string): string {
  is.host(host, path);
  return host.replace(/^\[(.*)\]$/, "$1");
}
