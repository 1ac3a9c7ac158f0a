import { createInstance, type InstanceInit } from "@rollcall/core";
import { type TcpProxy, tcpProxy } from "@rollcall/testing";
import { countedEnv, describeBackend, type Harness, type RecordName } from "@rollcall/testing/conformance";
import { serverSkipped, startEtcd, type TestServer } from "@rollcall/testing/servers";
import { afterAll, beforeAll, describe, it } from "vitest";
import { encodeInstance, keyOf } from "../src/client.ts";
import { etcdRegistry, type EtcdRegistryOptions } from "../src/index.ts";
import { type Gateway, gateway } from "./gateway.ts";

/** Long enough to be alive still when etcd has died and started again. */
const TTL_MS = 6_000;
const PREFIX = "/conformance";

describe.skipIf(serverSkipped("etcd"))("against a real etcd", () => {
  let etcd: TestServer;
  let proxy: TcpProxy;
  let past: Gateway;
  beforeAll(async () => {
    etcd = await startEtcd({ faults: ["kill", "freeze", "wipe"] });
    proxy = await tcpProxy({ target: { host: etcd.host, port: etcd.port } });
    options.url = proxy.url;
    past = gateway(etcd.url);
  });
  afterAll(async () => {
    await proxy?.close();
    await etcd?.close();
  });

  const { env, timers } = countedEnv();
  const options: EtcdRegistryOptions & { url: string } = {
    url: "http://127.0.0.1", // known when etcd runs
    prefix: PREFIX,
    ttlMs: TTL_MS,
    env,
  };

  /** Blocks this thread, so that no renewal is sent, until etcd has noticed. */
  const standStill = (record: RecordName): void => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, TTL_MS);
    for (let tries = 0; past.hasSync(keyOf(PREFIX, record)); tries++) {
      if (tries > 20) throw new Error(`etcd did not notice that ${record.id} is not renewed`);
    }
  };

  /** Under one id there may be several keys, if somebody else writes them. */
  let copies = 0;
  const harness: Harness = {
    name: "etcd",
    settleMs: 750,
    expireMs: TTL_MS + 1_500,
    // The pings of gRPC: one every 10 s, answered within 5 s.
    noticeMs: 17_000,
    options,
    open: () => etcdRegistry(options),
    // Longer than etcd takes for a request (1.5 MiB): refused when it is written.
    openRefused: () => etcdRegistry({ ...options, prefix: `/${"x".repeat(2 * 1024 * 1024)}` }),
    async seed(records: readonly (InstanceInit & { readonly id: string })[]) {
      for (const record of records) {
        const { service } = record;
        await past.put(keyOf(PREFIX, { service, id: `seed-${++copies}` }), encodeInstance(createInstance(record)));
      }
    },
    faults: {
      async kill() {
        await Promise.all([proxy.cut(), etcd.kill()]);
      },
      hang: () => etcd.freeze(),
      async start() {
        if (etcd.running) await etcd.thaw();
        await etcd.start();
        await proxy.open();
      },
      wipe: () => etcd.restart({ wipe: true }),
      async loseWatch(meanwhile) {
        await proxy.cut();
        await meanwhile();
        await past.compact();
        await proxy.open();
      },
      forget: {
        "somebody deleted its key": (record) => past.remove(keyOf(PREFIX, record)),
        "somebody revoked its lease": (record) => past.revoke(keyOf(PREFIX, record)),
        "its owner's event loop stood still beyond the TTL": async (record) => standStill(record),
        async "its network lost every packet beyond the TTL"(record) {
          await proxy.hole();
          for (let waitedMs = 0; await past.has(keyOf(PREFIX, record)); waitedMs += 500) {
            if (waitedMs > 3 * TTL_MS) throw new Error(`etcd did not notice that ${record.id} is not renewed`);
            await new Promise((resolve) => setTimeout(resolve, 500));
          }
          await proxy.open();
        },
      },
    },
    handles: () => timers() + proxy.connections,
    capabilities: { remembersAfterRestart: true, holdsDuplicates: true },
  };

  describeBackend(harness, { describe, it });
});
