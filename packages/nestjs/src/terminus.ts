export {
  type DiscoveryHealth,
  type DiscoveryHealthOptions,
  DiscoveryHealthIndicator,
  type ServiceHealth,
} from "./discovery-health-indicator.ts";
