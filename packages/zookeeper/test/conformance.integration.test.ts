import { createInstance, type InstanceInit } from "@rollcall/core";
import { type TcpProxy, tcpProxy } from "@rollcall/testing";
import { countedEnv, describeBackend, type Harness, type RecordName } from "@rollcall/testing/conformance";
import { serverSkipped, startZookeeper, type TestServer } from "@rollcall/testing/servers";
import { ACL, Id, Permission } from "node-zookeeper-client";
import { afterAll, beforeAll, describe, it } from "vitest";
import { encodeInstance, folderOf } from "../src/client.ts";
import { zookeeperRegistry, type ZooKeeperRegistryOptions } from "../src/index.ts";
import { type Past, past } from "./past.ts";

/** Long enough to be alive still when ZooKeeper has died and started again. */
const SESSION_MS = 6_000;
const ROOT = "/conformance";

describe.skipIf(serverSkipped("zookeeper"))("against a real ZooKeeper", () => {
  let zookeeper: TestServer;
  let proxy: TcpProxy;
  beforeAll(async () => {
    zookeeper = await startZookeeper({ faults: ["kill", "freeze", "wipe"] });
    proxy = await tcpProxy({ target: { host: zookeeper.host, port: zookeeper.port } });
    options.url = `${proxy.host}:${proxy.port}`;
  });
  afterAll(async () => {
    await proxy?.close();
    await zookeeper?.close();
  });

  const { env, timers } = countedEnv();
  const options: ZooKeeperRegistryOptions & { url: string } = {
    url: "127.0.0.1", // known when ZooKeeper runs
    root: ROOT,
    sessionTimeoutMs: SESSION_MS,
    env,
  };

  /** Each time anew: one that lived through the faults would have to be mended. */
  const directly = async <T>(act: (other: Past) => Promise<T>): Promise<T> => {
    const other = await past(`${zookeeper.host}:${zookeeper.port}`);
    try {
      return await act(other);
    } finally {
      await other.close();
    }
  };
  const nodesOf = ({ service, id }: RecordName) => directly((other) => other.nodesOf(folderOf(ROOT, service), id));
  /** Its names are never used again, so that one that is written anew does not count. */
  const untilGone = async (nodes: readonly string[]): Promise<void> => {
    if (nodes.length !== 1) throw new Error(`there should be one node, not ${nodes.length}`);
    for (let waitedMs = 0; await directly((other) => other.get(nodes[0] ?? "")); waitedMs += 200) {
      if (waitedMs > 3 * SESSION_MS) throw new Error(`ZooKeeper still has ${nodes[0]}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  };

  let copies = 0;
  const harness: Harness = {
    name: "zookeeper",
    settleMs: 750,
    expireMs: SESSION_MS + 1_500,
    // A heartbeat every 2 s, answered within 5 s.
    noticeMs: 9_000,
    options,
    open: () => zookeeperRegistry(options),
    openRefused: () => zookeeperRegistry({ ...options, root: "/locked" }),
    async seed(records: readonly (InstanceInit & { readonly id: string })[]) {
      await directly(async (other) => {
        for (const record of records) {
          const path = `${folderOf(ROOT, record.service)}/seed-${++copies}`;
          await other.put(path, encodeInstance(createInstance(record)));
        }
      });
    },
    faults: {
      async kill() {
        await Promise.all([proxy.cut(), zookeeper.kill()]);
      },
      hang: () => zookeeper.freeze(),
      async start() {
        if (zookeeper.running) await zookeeper.thaw();
        await zookeeper.start();
        await proxy.open();
      },
      async wipe() {
        await zookeeper.restart({ wipe: true });
        await lock();
      },
      async loseWatch(meanwhile) {
        await proxy.cut();
        await meanwhile();
        await proxy.open();
      },
      forget: {
        async "somebody deleted its node"(record) {
          for (const path of await nodesOf(record)) await directly((other) => other.remove(path));
        },
        async "its owner's event loop stood still beyond the session's time-out"(record) {
          const nodes = await nodesOf(record);
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, SESSION_MS + 1_500);
          await untilGone(nodes);
        },
        async "its network lost every packet beyond the session's time-out"(record) {
          const nodes = await nodesOf(record);
          await proxy.hole();
          await untilGone(nodes);
          await proxy.open();
        },
      },
    },
    handles: () => timers() + proxy.connections,
    capabilities: { remembersAfterRestart: true, holdsDuplicates: true },
  };

  /** A place where everybody may look, and nobody may write. */
  const lock = () =>
    directly(async ({ client }) => {
      const acl = [new ACL(Permission.READ, new Id("world", "anyone"))];
      await new Promise((resolve) => client.create("/locked", Buffer.alloc(0), acl, resolve));
    });
  beforeAll(lock);

  describeBackend(harness, { describe, it });
});
