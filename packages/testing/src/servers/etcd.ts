import { httpAddress } from "./http-address.ts";
import { probeRequest } from "./probe-request.ts";
import type { ServerKind, ServerPlan } from "./server-kind.ts";
import { startServer } from "./start-server.ts";
import type { TestServer, TestServerOptions } from "./test-server.ts";

/**
 * Finds an etcd, or starts one, and resolves when it does its work: it stores a key and reads it back. The ways are
 * those of `startConsul`, by `ETCD_ENDPOINTS` (the first of several), `ETCD_BIN`, `ETCD_IMAGE` (default
 * `quay.io/coreos/etcd:v3.5.21`), and Debian's package `etcd-server`. Its data survive a restart.
 *
 * ```ts
 * import { startEtcd } from "@rollcall/testing/servers";
 * await using etcd = await startEtcd();
 * await fetch(`${etcd.url}/health`);
 * ```
 */
export function startEtcd(options: TestServerOptions = {}): Promise<TestServer> {
  return startServer(etcdKind(), options);
}

/** etcd, as the finder sees it. */
export function etcdKind(): ServerKind {
  return {
    name: "etcd",
    title: "etcd",
    address: { variable: "ETCD_ENDPOINTS", parse: (value) => httpAddress(value.split(",", 1)[0] ?? "") },
    binary: { variable: "ETCD_BIN", name: "etcd" },
    image: { variable: "ETCD_IMAGE", fallback: "quay.io/coreos/etcd:v3.5.21", ports: { client: 2379, peer: 2380 } },
    debian: { suite: "bookworm", packages: ["etcd-server"], binary: "usr/bin/etcd" },
    ports: ["client", "peer"],
    command,
    probe,
  };
}

function command({ ports, clientHost, peerHost, dataDir }: ServerPlan): Promise<string[]> {
  const client = `http://${clientHost}:${ports["client"]}`;
  const peer = `http://${peerHost}:${ports["peer"]}`;
  return Promise.resolve([
    "--name=rollcall-test",
    `--data-dir=${dataDir}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=rollcall-test=${peer}`,
    // Nobody else votes, so the election need not wait for anybody.
    "--heartbeat-interval=10",
    "--election-timeout=100",
  ]);
}

async function probe(url: string, signal: AbortSignal): Promise<void> {
  // The JSON gateway wants keys and values in base64.
  const key = Buffer.from(`rollcall-probe-${process.pid}`).toString("base64");
  const call = (path: string, body: unknown): Promise<unknown> =>
    probeRequest(`${url}/v3/kv/${path}`, { method: "POST", body, signal });
  await call("put", { key, value: key });
  const answer = await call("range", { key });
  await call("deleterange", { key });
  if (typeof answer !== "object" || answer === null || !("kvs" in answer)) {
    throw new Error("a key that was put is not there");
  }
}
