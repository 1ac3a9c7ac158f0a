export { type AnnounceOptions, type Announced, announce } from "@rollcall/http/server";
export {
  type Discovery,
  type DiscoveryClientOptions,
  type DiscoveryMiddleware,
  type DiscoveryOptions,
  discovery,
} from "./discovery.ts";
export { type Gateway, type GatewayOptions, gateway } from "./gateway.ts";
export { type Handler, type HealthOptions, type ReadinessCheck, health } from "./health.ts";
export { type LoadReports, loadReports } from "./load-reports.ts";
