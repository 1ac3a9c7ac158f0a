// ---- for users

export { type ConsulRegistryOptions, type ConsulTlsOptions, consulRegistry } from "./registry.ts";
export type { ConsulCheck } from "./check.ts";
export { ConsulError } from "./call.ts";

// ---- for those who bring their own client

export type { ConsulApi, ConsulRequest, ConsulResponse } from "./client.ts";
