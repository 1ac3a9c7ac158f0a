import { consulRegistry } from "@rollcall/consul";
import { memoryRegistry, type Registry } from "@rollcall/core";
import { etcdRegistry } from "@rollcall/etcd";
import { UsageError } from "./command-line.ts";

/** The ports on which they listen, if the URL names none. */
const CONSUL_PORT = "8500";
const ETCD_PORT = "2379";

/** The time after which a server that was killed is gone: shorter than usual, as who tries that out here waits for it. */
const TTL_MS = 15_000;

/**
 * Makes the registry that a URL names; the caller closes it.
 *
 * - `memory:` is the embedded one. Nobody outside this process sees what is registered there.
 * - `consul://host:port` is the Consul agent there; without a port, 8500.
 * - `etcd://host:port` is the etcd there; without a port, 2379. Several hosts have commas between them.
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
  const hosts = /^etcd:\/\/(.+)$/.exec(text)?.[1]?.split(",") ?? [];
  if (hosts.length > 0 && hosts.every((host) => isHost(host))) {
    return etcdRegistry({ hosts: hosts.map((host) => withPort(host, ETCD_PORT)), ttlMs: TTL_MS });
  }
  throw new UsageError(`--registry must be memory:, consul://host:port or etcd://host:port, not "${text}"`);
}

/** Whether it is a host, with or without a port, and nothing else. */
function isHost(text: string): boolean {
  const url = URL.parse(`etcd://${text}`);
  return url !== null && url.hostname !== "" && url.host === text;
}

function withPort(host: string, port: string): string {
  return `http://${/:\d+$/.test(host.replace(/^\[.*\]/, "")) ? host : `${host}:${port}`}`;
}
