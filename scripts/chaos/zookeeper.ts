import { closable } from "@rollcall/core";
import { startZookeeper } from "@rollcall/testing/servers";
import { zookeeperRegistry } from "@rollcall/zookeeper";
import { ACL, Id, Permission } from "node-zookeeper-client";
import { type Ask, childrenOf, pastZookeeper } from "../past-zookeeper.ts";
import type { Backend, Store } from "./backend.ts";

const CLIENT = { username: "client", password: "client" };
const SERVERS = { username: "servers", password: "servers" };
const ROOT = "/services";
const EVERYBODY = new ACL(Permission.READ, new Id("world", "anyone"));
const OWNER = new ACL(Permission.ALL, new Id("auth", ""));

export const zookeeper: Backend = {
  name: "zookeeper",
  title: "ZooKeeper",
  ttlMs: 30_000,
  cannot: {
    compaction: "no: ZooKeeper's watches read no history that could be compacted",
    credentials: "no: ZooKeeper takes any user and password; what each may do is said in every node",
  },
  open: ({ url, ttlMs, credentials }, env) =>
    zookeeperRegistry({ url: new URL(url).host, sessionTimeoutMs: ttlMs, env, ...credentials }),
  start,
};

async function start({ guarded }: { readonly guarded: boolean }): Promise<Store> {
  const server = await startZookeeper({ faults: ["kill", "freeze", "wipe"] });
  const past = (act: (ask: Ask) => Promise<void>): Promise<void> =>
    pastZookeeper(`${server.host}:${server.port}`, `${SERVERS.username}:${SERVERS.password}`, act);
  /** Lets these list the services' instances, beside those who announce them. */
  const allow = (...acl: readonly ACL[]): Promise<void> =>
    past(async (ask) => {
      for (const name of await childrenOf(ask, ROOT)) {
        await ask((client, done) => client.setACL(`${ROOT}/${name}`, [OWNER, ...acl], done));
      }
    });
  return {
    server,
    credentials: guarded ? { client: CLIENT, servers: SERVERS } : undefined,
    churn: (changes) =>
      past(async (ask) => {
        await ask((client, done) => client.mkdirp("/churn", done));
        for (let change = 0; change < changes; change++) {
          await ask((client, done) => client.setData("/churn", Buffer.from(String(change)), done));
        }
      }),
    forget: (service) =>
      past(async (ask) => {
        for (const name of await childrenOf(ask, `${ROOT}/${service}`)) {
          await ask((client, done) => client.remove(`${ROOT}/${service}/${name}`, done));
        }
      }),
    compact: () => Promise.reject(new Error("there is nothing to compact")),
    revoke: () => allow(),
    restore: () => allow(EVERYBODY),
    ...closable(() => server.close()),
  };
}
