export {
  DiscoveryHttpModule,
  type DiscoveryHttpModuleAsyncOptions,
  type DiscoveryHttpModuleOptions,
  type DiscoveryHttpOptions,
} from "./discovery-http.module.ts";
