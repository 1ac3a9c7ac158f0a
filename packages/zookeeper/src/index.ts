// ---- for users

export { type ZooKeeperAcl, type ZooKeeperRegistryOptions, zookeeperRegistry } from "./registry.ts";
export { ZooKeeperError } from "./zookeeper-error.ts";
