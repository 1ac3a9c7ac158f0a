// ---- for users

export { type EtcdRegistryOptions, etcdRegistry } from "./registry.ts";
export type { EtcdTlsOptions } from "./channel.ts";
export { EtcdError } from "./etcd-error.ts";

// ---- for those who bring their own client

export type { EtcdApi } from "./client.ts";
