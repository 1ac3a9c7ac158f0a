export {
  type CreateFetchOptions,
  type DiscoveryFetch,
  type DiscoveryFetchInit,
  type ServiceFetchOptions,
  createFetch,
} from "./discovery-fetch.ts";
export { type FailureAnswer, failureAnswer } from "./failure-answer.ts";
export type { IncomingRequest } from "./call-chain.ts";
export { type ResponseHeaders, StatusError, isStatusError } from "./status-error.ts";
