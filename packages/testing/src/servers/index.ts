export { type ConsulOptions, startConsul } from "./consul.ts";
export { startEtcd } from "./etcd.ts";
export { serverSkipped } from "./server-skipped.ts";
export type { Fault, TestServer, TestServerOptions, Way } from "./test-server.ts";
