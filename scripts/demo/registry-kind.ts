import { SERVICE } from "@rollcall/lorem-server";
import { freePort } from "@rollcall/testing";
import {
  startConsul,
  startEtcd,
  startZookeeper,
  type TestServer,
  type TestServerOptions,
} from "@rollcall/testing/servers";
import { childrenOf, pastZookeeper } from "../past-zookeeper.ts";

/** A registry that the demo can play over, asked past all of Rollcall's own code. */
export interface RegistryKind {
  /** As in `--registry`. */
  readonly scheme: "consul" | "etcd" | "zookeeper" | "dns";
  readonly title: string;
  readonly defaultPort: number;
  /** The kind that servers announce themselves to, and its tests ask, if this one can only be read. */
  readonly written?: RegistryKind | undefined;
  /** Starts one, and resolves with where it is read, too, if that is elsewhere. */
  start(options: TestServerOptions): Promise<{ readonly server: TestServer; readonly readAt?: string | undefined }>;
  /** Rejects unless it answers as it should. */
  probe(url: URL): Promise<void>;
  /** The ids that it lists for the demo's service. */
  registered(url: URL): Promise<readonly string[]>;
}

const consul: RegistryKind = {
  scheme: "consul",
  title: "Consul",
  defaultPort: 8500,
  start: async (options) => ({ server: await startConsul(options) }),
  async probe(url) {
    await ask(new URL("/v1/status/leader", url));
  },
  async registered(url) {
    const entries = await ask(new URL(`/v1/health/service/${SERVICE}?passing`, url));
    return (entries as readonly { readonly Service: { readonly ID: string } }[]).map(({ Service }) => Service.ID);
  },
};

const etcd: RegistryKind = {
  scheme: "etcd",
  title: "etcd",
  defaultPort: 2379,
  start: async (options) => ({ server: await startEtcd(options) }),
  async probe(url) {
    await ask(new URL("/health", url));
  },
  async registered(url) {
    const base64 = (text: string): string => Buffer.from(text).toString("base64");
    const range = { key: base64(`/services/${SERVICE}/`), range_end: base64(`/services/${SERVICE}0`) };
    const { kvs = [] } = (await ask(new URL("/v3/kv/range", url), range)) as { kvs?: { key: string }[] };
    return kvs.map(({ key }) => Buffer.from(key, "base64").toString().split("/").at(-1) ?? "");
  },
};

const zookeeper: RegistryKind = {
  scheme: "zookeeper",
  title: "ZooKeeper",
  defaultPort: 2181,
  start: async (options) => ({ server: await startZookeeper(options) }),
  probe: async (url) => void (await pastZookeeper(url.host, undefined, (ask) => childrenOf(ask, "/"))),
  // A node is called by the id of its instance, and something that makes it unique.
  registered: (url) =>
    pastZookeeper(url.host, undefined, async (ask) =>
      (await childrenOf(ask, `/services/${SERVICE}`)).map((name) => name.slice(0, -UNIQUE.length)),
    ),
};

const UNIQUE = "-00000000-0000-0000-0000-000000000000";

const dns: RegistryKind = {
  scheme: "dns",
  title: "Consul's DNS",
  defaultPort: 8600,
  written: consul,
  async start(options) {
    const dnsPort = await freePort();
    const server = await startConsul({ ...options, dnsPort });
    return { server, readAt: `${server.host}:${dnsPort}` };
  },
  probe: (url) => consul.probe(url),
  registered: (url) => consul.registered(url),
};

export const REGISTRY_KINDS: readonly RegistryKind[] = [consul, etcd, zookeeper, dns];

async function ask(url: URL, body?: unknown): Promise<unknown> {
  const answer = await fetch(url, {
    signal: AbortSignal.timeout(2_000),
    ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`it answers with status ${answer.status}`);
  return answer.json();
}
