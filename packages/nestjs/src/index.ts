export { Announcer } from "./announcer.ts";
export type { AsyncOptions, OptionsFactory } from "./async-options.ts";
export type { AsyncClientFeature, AsyncFeatureOptions, ClientFeature } from "./discovery-clients.ts";
export { DiscoveryModule } from "./discovery.module.ts";
export type {
  DiscoveryModuleOptions,
  ForRootAsyncOptions,
  ForRootOptions,
  HealthOptions,
  RegisterOptions,
} from "./discovery-options.ts";
export type { Instances } from "./instances.ts";
export {
  InjectClient,
  InjectInstances,
  InjectRegistry,
  getClientToken,
  getInstancesToken,
  getRegistryToken,
} from "./tokens.ts";
