import { consulRegistry } from "@rollcall/consul";
import { memoryRegistry, type Registry } from "@rollcall/core";
import { dnsRegistry } from "@rollcall/dns";
import { etcdRegistry } from "@rollcall/etcd";
import { zookeeperRegistry } from "@rollcall/zookeeper";
import { UsageError } from "./command-line.ts";

/** The ports on which they listen, if the URL names none. */
const CONSUL_PORT = "8500";
const ETCD_PORT = "2379";
const CONSUL_DNS_PORT = "8600";

/** The time after which a server that was killed is gone: shorter than usual, as who tries that out here waits for it. */
const TTL_MS = 15_000;

/**
 * Makes the registry that a URL names; the caller closes it.
 *
 * - `memory:` is the embedded one. Nobody outside this process sees what is registered there.
 * - `consul://host:port` is the Consul agent there; without a port, 8500.
 * - `etcd://host:port` is the etcd there; without a port, 2379. Several hosts have commas between them.
 * - `zookeeper://host:port` is the ZooKeeper there; without a port, 2181. The same goes for several hosts.
 * - `dns://host:port` is the DNS of the Consul there, for clients only; without a port, 8600.
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
  const [, scheme, list = ""] = /^(etcd|zookeeper):\/\/(.+)$/.exec(text) ?? [];
  const hosts = list.split(",");
  if (scheme !== undefined && hosts.every((host) => isHost(host))) {
    if (scheme === "zookeeper") return zookeeperRegistry({ hosts, sessionTimeoutMs: TTL_MS });
    return etcdRegistry({ hosts: hosts.map((host) => withPort(host, ETCD_PORT)), ttlMs: TTL_MS });
  }
  if (url?.protocol === "dns:" && text === `dns://${url.host}` && url.hostname !== "") {
    return dnsRegistry({
      servers: [`${url.hostname}:${url.port || CONSUL_DNS_PORT}`],
      // Consul's DNS takes one tag; the last is the one that tells the most here.
      name: ({ service, tags }) => [...tags.slice(-1), service, "service.consul"].join("."),
      transport: "tcp",
    });
  }
  const known = "memory:, consul://host:port, etcd://host:port, zookeeper://host:port or dns://host:port";
  throw new UsageError(`--registry must be ${known}, not "${text}"`);
}

/** Whether it is a host, with or without a port, and nothing else. */
function isHost(text: string): boolean {
  const url = URL.parse(`etcd://${text}`);
  return url !== null && url.hostname !== "" && url.host === text;
}

function withPort(host: string, port: string): string {
  return `http://${/:\d+$/.test(host.replace(/^\[.*\]/, "")) ? host : `${host}:${port}`}`;
}
