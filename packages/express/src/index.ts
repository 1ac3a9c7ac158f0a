export { type AnnounceOptions, type Announced, announce } from "@rollcall/http/server";
export {
  type ClientOptions,
  type Discovery,
  type DiscoveryMiddleware,
  type DiscoveryOptions,
  discovery,
} from "./discovery.ts";
export { type Gateway, type GatewayOptions, gateway } from "./gateway.ts";
export { type Handler, health } from "./health.ts";
