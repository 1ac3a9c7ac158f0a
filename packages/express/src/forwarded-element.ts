import { isIPv6 } from "node:net";

/** One hop, as RFC 7239 §4 tells of it. */
export interface ForwardedHop {
  /** An address as {@link peerAddress} gives it. */
  readonly for: string;
  readonly host: string | undefined;
  readonly proto: string;
}

/**
 * One element of a `Forwarded` header. Whatever is no token is quoted: IPv6 addresses, which have brackets besides
 * (RFC 7239 §6), and hosts with a port. `by` is left out: it would tell what the machines behind a gateway are called.
 */
export function forwardedElement(hop: ForwardedHop): string {
  const host = hop.host === undefined || hop.host === "" ? "" : `;host=${quoted(hop.host)}`;
  return `for=${quoted(isIPv6(hop.for) ? `[${hop.for}]` : hop.for)}${host};proto=${hop.proto}`;
}

/**
 * An address as others know it: IPv4 where a socket for both says it in IPv6 (`::ffff:192.0.2.1`), without the zone,
 * which is the name of an interface of this machine (`fe80::1%eth0`); "unknown" for sockets that have none.
 */
export function peerAddress(remote: string | undefined): string {
  if (remote === undefined || remote === "") return "unknown";
  if (remote.startsWith("::ffff:") && remote.includes(".")) return remote.slice("::ffff:".length);
  const zone = remote.indexOf("%");
  return zone === -1 ? remote : remote.slice(0, zone);
}

const TOKEN = /^[!#$%&'*+.^_`|~\w-]+$/;

function quoted(value: string): string {
  return TOKEN.test(value) ? value : `"${value.replace(/["\\]/g, "\\$&")}"`;
}
