export { type ConsulOptions, startConsul } from "./consul.ts";
export { startEtcd } from "./etcd.ts";
export { type ZookeeperOptions, startZookeeper } from "./zookeeper.ts";
export { type NameServer, type NameServerOptions, startNameServer } from "./knot.ts";
export { serverSkipped } from "./server-skipped.ts";
export type { Fault, TestServer, TestServerOptions, Way } from "./test-server.ts";
