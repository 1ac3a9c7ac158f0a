export { GATEWAY_PATH, type LoremClient, type LoremClientOptions, startLoremClient } from "./lorem-client.ts";
