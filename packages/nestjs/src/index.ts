export { type ClientFeature, DiscoveryClients } from "./discovery-clients.ts";
export { DiscoveryModule } from "./discovery.module.ts";
export {
  type DiscoveryModuleOptions,
  type DiscoveryOptionsFactory,
  type RegisterOptions,
} from "./discovery-options.ts";
export { Registration } from "./registration.ts";
export { InjectClient, InjectRegistry, getClientToken, getRegistryToken } from "./tokens.ts";
