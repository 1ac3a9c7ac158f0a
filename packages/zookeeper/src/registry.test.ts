import { isDiscoveryError } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { type ZooKeeperRegistryOptions, zookeeperRegistry } from "./index.ts";

const pathOf = (options: unknown): unknown => {
  try {
    zookeeperRegistry(options as ZooKeeperRegistryOptions);
  } catch (error) {
    return isDiscoveryError(error, "INVALID_OPTION") ? Reflect.get(error as object, "path") : error;
  }
  return "no error";
};

describe("zookeeperRegistry", () => {
  it.each<ZooKeeperRegistryOptions>([
    {},
    { url: "localhost" },
    { url: "zoo-1.internal:2182" },
    { url: "zookeeper://[::1]:2181" },
    { url: new URL("zookeeper://localhost:2181/") },
    { hosts: ["a", "b:1", "[::1]:2181"], root: "/a/b.c", username: "u", password: "p:q" },
    { acl: [{ scheme: "world", id: "anyone", permissions: "cr" }] },
    { url: undefined, hosts: undefined, env: {} },
  ])("takes %j, and connects nowhere", async (options) => {
    const registry = zookeeperRegistry(options);
    registry.instancer("lorem");
    registry.registrar({ service: "lorem", host: "h", port: 80 });
    await registry.close();
  });

  it.each<[string, unknown]>([
    ["options", null],
    ["ttlMs", { ttlMs: 1 }],
    ["url", { url: "" }],
    ["url", { url: 2181 }],
    ["url", { url: "http://localhost:2181" }],
    ["url", { url: "localhost:0" }],
    ["url", { url: "localhost:65536" }],
    ["url", { url: "a:1,b:2" }],
    ["url", { url: "localhost/chroot" }],
    ["url", { url: "zookeeper://user@localhost" }],
    ["hosts", { hosts: [] }],
    ["hosts", { hosts: "localhost" }],
    ["hosts.1", { hosts: ["a", "b c"] }],
    ["hosts", { url: "a", hosts: ["a"] }],
    ["root", { root: "services" }],
    ["root", { root: "/" }],
    ["root", { root: "/a/" }],
    ["root", { root: "/a//b" }],
    ["root", { root: "/a/../b" }],
    ["root", { root: "/zookeeper/services" }],
    ["root", { root: "/a\n" }],
    ["root", { root: "/😀" }],
    ["username", { username: "a:b", password: "p" }],
    ["username", { password: "p" }],
    ["password", { username: "u" }],
    ["acl", { acl: [] }],
    ["acl.0.scheme", { acl: [{ id: "", permissions: "cdrwa" }] }],
    ["acl.0.permissions", { acl: [{ scheme: "auth", id: "", permissions: "" }] }],
    ["acl.0.permissions", { acl: [{ scheme: "auth", id: "", permissions: "read" }] }],
    ["acl.0.permissions", { acl: [{ scheme: "auth", id: "" }] }],
    ["acl.0.who", { acl: [{ scheme: "auth", id: "", permissions: "cdrwa", who: 1 }] }],
    ["sessionTimeoutMs", { sessionTimeoutMs: 999 }],
    ["timeoutMs", { timeoutMs: 0 }],
    ["relistMs", { relistMs: 10 }],
    ["env", { env: 1 }],
  ])("refuses %s of %j", (path, options) => {
    expect(pathOf(options)).toBe(path);
  });
});
