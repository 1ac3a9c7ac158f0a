import { SERVICE } from "@rollcall/lorem-server";
import { startConsul, startEtcd, type TestServer, type TestServerOptions } from "@rollcall/testing/servers";

/** A registry that the demo can play over, asked past all of Rollcall's own code. */
export interface RegistryKind {
  /** As in `--registry`. */
  readonly scheme: "consul" | "etcd";
  readonly title: string;
  readonly defaultPort: number;
  start(options: TestServerOptions): Promise<TestServer>;
  /** Rejects unless it answers as it should. */
  probe(url: URL): Promise<void>;
  /** The ids that it lists for the demo's service. */
  registered(url: URL): Promise<readonly string[]>;
}

const consul: RegistryKind = {
  scheme: "consul",
  title: "Consul",
  defaultPort: 8500,
  start: startConsul,
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
  start: startEtcd,
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

export const REGISTRY_KINDS: readonly RegistryKind[] = [consul, etcd];

async function ask(url: URL, body?: unknown): Promise<unknown> {
  const answer = await fetch(url, {
    signal: AbortSignal.timeout(2_000),
    ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`it answers with status ${answer.status}`);
  return answer.json();
}
