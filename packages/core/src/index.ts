// ---- for users

export { type Instance, type InstanceInit, address, createInstance } from "./instance.ts";
export type { Snapshot } from "./snapshot.ts";
export type { Abortable, Closable } from "./lifecycle.ts";
export type { Registry, ServiceQuery } from "./registry.ts";
export { type Instancer, type InstancerOptions, createInstancer } from "./instancer.ts";
export { fixedInstancer } from "./fixed-instancer.ts";
export { type Registrar, createRegistrar } from "./registrar.ts";
export { type MemoryRegistry, type MemoryRegistryOptions, memoryRegistry } from "./memory-registry.ts";
export type { Endpoint, EndpointStats } from "./endpoint.ts";
export {
  type Endpointer,
  type EndpointerOptions,
  type Factory,
  type ReadyOptions,
  createEndpointer,
} from "./endpointer.ts";
export { fixedEndpointer } from "./fixed-endpointer.ts";
export type { Outcome, PickRequest, PickResult } from "./pick.ts";
export type { LoadReport } from "./load-report.ts";
export { type Balancer, type ExplainingBalancer, createBalancer } from "./balancer.ts";
export type { Candidate, Explanation } from "./explanation.ts";
export { roundRobin } from "./policies/round-robin.ts";
export { random } from "./policies/random.ts";
export { weightedRoundRobin } from "./policies/weighted-round-robin.ts";
export { weightedRandom } from "./policies/weighted-random.ts";
export { type LeastRequestOptions, leastRequest } from "./policies/least-request.ts";
export { type PeakEwmaOptions, peakEwma } from "./policies/peak-ewma.ts";
export { adaptive } from "./policies/adaptive.ts";
export { prequal } from "./policies/prequal.ts";
export { type RingHashOptions, ringHash } from "./policies/ring-hash.ts";
export { type MaglevOptions, maglev } from "./policies/maglev.ts";
export { sticky } from "./policies/sticky.ts";
export { type SubsetOptions, subset } from "./policies/subset.ts";
export { type ZoneAwareOptions, zoneAware } from "./policies/zone-aware.ts";
export { type PriorityOptions, priority } from "./policies/priority.ts";
export { type OutlierDetectionOptions, outlierDetection } from "./policies/outlier-detection.ts";
export { type SlowStartOptions, slowStart } from "./policies/slow-start.ts";
export { type PanicOptions, panic } from "./policies/panic.ts";
export { type Attempt, type Call, type CallOptions, type RetryOptions, retry } from "./retry.ts";
export type { HedgeOptions } from "./hedging.ts";
export { type RetryBudget, type RetryBudgetOptions, retryBudget } from "./retry-budget.ts";
export { type Client, type ClientOptions, createClient } from "./client.ts";
export {
  ClosedError,
  type DiscoveryErrorCode,
  InvalidOptionError,
  NoEndpointsError,
  RetryError,
  type RetryReason,
  TimeoutError,
  isDiscoveryError,
} from "./errors.ts";
export { type Channel, type InstanceMessage, channels } from "./channels.ts";

// ---- for authors of policies and backends

export { CANCELLED, SUCCESS, SUPERSEDED } from "./pick.ts";
export { type Env, resolveEnv, sleep, systemEnv } from "./env.ts";
export { type Cache, createCache } from "./cache.ts";
export { type NonEmpty, type Picker, type Policy, type PolicyState, defaultPolicy, isNonEmpty } from "./policy.ts";
export type { Judgement, PolicyView } from "./explanation.ts";
export { pickAvoiding } from "./avoiding.ts";
export { hash, rehash } from "./hash.ts";
export { memory } from "./memory.ts";
export { xorshift } from "./xorshift.ts";
export type { Source } from "./source.ts";
export type { Registration, Sink } from "./sink.ts";
export { type NormalizedQuery, QUERY_CHECKS, type RegistryParts, createRegistry } from "./create-registry.ts";
export { type Backoff, RETRY_BACKOFF, fullJitter } from "./backoff.ts";
export { type Bounds, bounded } from "./bounded.ts";
export type { Scope } from "./bounded-work.ts";
export { firstPlace } from "./first-place.ts";
export { untilAborted } from "./abort.ts";
export { type Ends, OPEN_CALL, type OpenAttempt, type OpenClient, TOLD } from "./open-call.ts";
export { closable } from "./lifecycle.ts";
export { type Check, checkOptions, checkPair, checkThat, is, listOf, required } from "./options.ts";
export {
  type Host,
  type ServerDefaults,
  type ServerOptions,
  type Servers,
  serverChecks,
  serversOf,
} from "./servers.ts";
export { Agenda, type Appointment } from "./agenda.ts";
export { type Turn, Turns } from "./turns.ts";
export { Connection } from "./connection.ts";
export { Session, type SessionOptions } from "./session.ts";
export { decodeRecord, parseRecord } from "./record.ts";
export { type FailureClass, type Reading, noneUsable, readRecord, readingsOf, reportBad } from "./reading.ts";
export { CLIENT_CHECKS } from "./client.ts";
export { INSTANCE_CHECKS, sameInstance } from "./instance.ts";
export { messageOf } from "./errors.ts";
