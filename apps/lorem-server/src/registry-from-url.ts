import { consulRegistry } from "@rollcall/consul";
import { memoryRegistry, type Registry } from "@rollcall/core";
import { UsageError } from "./command-line.ts";

/** The port of a Consul agent's HTTP interface, if the URL names none. */
const CONSUL_PORT = "8500";

/** The time after which a server that was killed is gone: shorter than usual, as who tries that out here waits for it. */
const TTL_MS = 15_000;

/**
 * Makes the registry that a URL names; the caller closes it.
 *
 * - `memory:` is the embedded one. Nobody outside this process sees what is registered there.
 * - `consul://host:port` is the Consul agent there; without a port, 8500.
 *
 * Nothing is contacted yet: a registry that cannot be reached is not an error, but something to wait for.
 *
 * @throws UsageError for anything else.
 */
export function registryFromUrl(text: string): Registry {
  const url = URL.parse(text);
  if (text === "memory:") return memoryRegistry();
  if (url?.protocol === "consul:" && text === `consul://${url.host}` && url.hostname !== "") {
    return consulRegistry({ url: `http://${url.hostname}:${url.port || CONSUL_PORT}`, check: { ttlMs: TTL_MS } });
  }
  throw new UsageError(`--registry must be memory: or consul://host:port, not "${text}"`);
}
