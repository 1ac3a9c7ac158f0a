export { type ConsulRegistryOptions, type ConsulTlsOptions, consulRegistry } from "./registry.ts";
export type { ConsulCheck } from "./check.ts";
export type { ConsulApi, ConsulRequest, ConsulResponse } from "./client.ts";
export { ConsulError } from "./call.ts";
