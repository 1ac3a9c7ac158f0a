import { type Instance, type Sink } from "@rollcall/core";
import { DnsError } from "./dns-error.ts";

/**
 * There is no write half. DNS has updates (RFC 2136), but nothing that ends a record when its owner does: the records of
 * instances that crashed would stay for ever. Whoever fills the zone (Consul's agent, Kubernetes, an operator) announces.
 *
 * @throws DnsError always, so that a server that shall be announced says so when it starts.
 */
export function dnsSink({ id }: Instance): Sink {
  throw new DnsError(`cannot announce ${id}: DNS is read only, as no record of it would end with its owner`);
}
