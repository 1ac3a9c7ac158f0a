/**
 * The public contract, written down once more as plain declarations, and ours held against it in both directions: what
 * is promised is there (ours is assignable to it), and what is written by hand against it is accepted (it is assignable
 * to ours, where users write such objects). Nothing here runs; the type checker is the test.
 */
import type * as core from "@rollcall/core";

// ---- the contract

interface Instance {
  readonly id: string;
  readonly service: string;
  readonly host: string;
  readonly port: number;
  readonly weight: number;
  readonly zone?: string;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
}
interface InstanceInit {
  readonly service: string;
  readonly host: string;
  readonly port: number;
  readonly id?: string | undefined;
  readonly weight?: number | undefined;
  readonly zone?: string | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}
type Snapshot = { readonly revision: number; readonly instances: readonly Instance[] } & (
  | { readonly state: "pending"; readonly error?: unknown }
  | { readonly state: "live" }
  | { readonly state: "stale"; readonly error: unknown; readonly staleSinceMs: number }
);
interface Abortable {
  readonly signal?: AbortSignal | undefined;
}
interface Closable extends AsyncDisposable {
  close(): Promise<void>;
}
interface Instancer extends Closable {
  readonly service: string;
  readonly snapshot: Snapshot;
  subscribe(onChange: () => void): () => void;
}
interface Registrar extends Closable {
  readonly instance: Instance;
  readonly registered: boolean;
  register(options?: Abortable): Promise<void>;
  deregister(options?: Abortable): Promise<void>;
}
interface ServiceQuery {
  readonly service: string;
  readonly tags?: readonly string[] | undefined;
  readonly passingOnly?: boolean | undefined;
}
interface Registry extends Closable {
  readonly name: string;
  instancer(query: ServiceQuery | string): Instancer;
  registrar(instance: InstanceInit): Registrar;
}
type Factory<C> = (instance: Instance) => C | Promise<C>;
interface EndpointStats {
  readonly inFlight: number;
  readonly successes: number;
  readonly failures: number;
  readonly consecutiveFailures: number;
}
interface Endpoint<C = unknown> {
  readonly instance: Instance;
  readonly client: C;
  readonly stats: EndpointStats;
}
interface EndpointerOptions<C> {
  readonly staleAfterMs?: number | undefined;
  readonly drainMs?: number | undefined;
  readonly close?: ((client: C, instance: Instance) => void | Promise<void>) | undefined;
  readonly env?: Partial<Env> | undefined;
}
interface Endpointer<C> extends Closable {
  readonly service: string;
  readonly snapshot: Snapshot;
  readonly endpoints: readonly Endpoint<C>[];
  ready(options?: Abortable): Promise<void>;
}
type Outcome =
  { readonly kind: "success" } | { readonly kind: "failure"; readonly error: unknown } | { readonly kind: "cancelled" };
interface PickRequest {
  readonly key?: string | undefined;
  readonly avoid?: ReadonlySet<Endpoint> | undefined;
}
interface PickResult<C> extends Disposable {
  readonly endpoint: Endpoint<C>;
  done(outcome: Outcome): void;
}
interface Balancer<C> {
  pick(request?: PickRequest): PickResult<C>;
  ready(options?: Abortable): Promise<void>;
}
interface Attempt {
  readonly signal: AbortSignal;
  readonly number: number;
  readonly endpoint: Endpoint;
}
type Call<C> = <T>(
  fn: (client: C, attempt: Attempt) => T | PromiseLike<T>,
  options?: Abortable & PickRequest,
) => Promise<T>;
interface RetryBudget {
  deposit(): void;
  withdraw(): boolean;
}
interface RetryOptions {
  readonly maxAttempts?: number | undefined;
  readonly timeoutMs?: number | undefined;
  readonly attemptTimeoutMs?: number | undefined;
  readonly budget?: RetryBudget | false | undefined;
  readonly backoff?: ((attempt: number) => number) | undefined;
  readonly retryable?: ((error: unknown, attempt: number) => boolean) | undefined;
  readonly env?: Partial<Env> | undefined;
}
interface Client<C> extends Closable {
  readonly call: Call<C>;
  readonly endpoints: readonly Endpoint<C>[];
  ready(options?: Abortable): Promise<void>;
}
interface ClientOptions<C> extends EndpointerOptions<C> {
  readonly instancer: Instancer;
  readonly factory: Factory<C>;
  readonly policy?: Policy | undefined;
  readonly retry?: RetryOptions | false | undefined;
}
interface Env {
  now(): number;
  random(): number;
  after(delayMs: number, run: () => void, options?: { keepAlive?: boolean }): () => void;
}
interface Cache {
  readonly snapshot: Snapshot;
  subscribe(onChange: () => void): () => void;
  update(instances: readonly Instance[]): void;
  fail(error: unknown): void;
}
type NonEmpty<T> = readonly [T, ...T[]];
interface Policy {
  readonly name: string;
  create(env: Env): PolicyState;
}
interface PolicyState {
  picker<E extends Endpoint>(endpoints: NonEmpty<E>): (request: PickRequest) => E;
  observe?(endpoint: Endpoint, outcome: Outcome, latencyMs: number): void;
}
interface Source {
  readonly name: string;
  watch(signal: AbortSignal): AsyncIterable<readonly Instance[]>;
}
interface Sink {
  readonly name: string;
  register(instance: Instance, signal: AbortSignal): Promise<Registration>;
}
interface Registration {
  readonly renewEveryMs?: number;
  renew?(signal: AbortSignal): Promise<void>;
  remove(signal: AbortSignal): Promise<void>;
}
type WithEnv = { env?: Partial<Env> | undefined };
interface Contract {
  createInstance(init: InstanceInit): Instance;
  address(instance: { readonly host: string; readonly port: number }): string;
  memoryRegistry(options?: WithEnv): Registry;
  fixedInstancer(service: string, instances: readonly InstanceInit[]): Instancer;
  createEndpointer<C>(instancer: Instancer, factory: Factory<C>, options?: EndpointerOptions<C>): Endpointer<C>;
  createBalancer<C>(endpointer: Endpointer<C>, policy?: Policy, options?: WithEnv): Balancer<C>;
  fixedEndpointer<C>(service: string, clients: readonly C[]): Endpointer<C>;
  retry<C>(balancer: Balancer<C>, options?: RetryOptions): Call<C>;
  createClient<C>(options: ClientOptions<C>): Client<C>;
  isDiscoveryError(error: unknown, code?: string): boolean;
  createCache(options?: WithEnv): Cache;
  createInstancer(service: string, source: Source, options?: WithEnv): Instancer;
  createRegistrar(instance: Instance, sink: Sink, options?: WithEnv): Registrar;
  defaultPolicy(): Policy;
  roundRobin(): Policy;
  random(): Policy;
}

// ---- ours against it

/** Fails to compile unless `Ours` is assignable to `Promised`. */
type Keeps<Promised, Ours extends Promised> = Ours;

/** Every function of the contract is exported, and can be called as the contract says. */
export type Functions = Keeps<Contract, typeof core>;

/** What we hand out is what was promised. */
export type HandedOut = [
  Keeps<Instance, core.Instance>,
  Keeps<Snapshot, core.Snapshot>,
  Keeps<Closable, core.Closable>,
  Keeps<Instancer, core.Instancer>,
  Keeps<Registrar, core.Registrar>,
  Keeps<Registry, core.Registry>,
  Keeps<Endpoint<string>, core.Endpoint<string>>,
  Keeps<Endpointer<string>, core.Endpointer<string>>,
  Keeps<PickResult<string>, core.PickResult<string>>,
  Keeps<Outcome, core.Outcome>,
  Keeps<Balancer<string>, core.Balancer<string>>,
  Keeps<Attempt, core.Attempt>,
  Keeps<Call<string>, core.Call<string>>,
  Keeps<RetryBudget, core.RetryBudget>,
  Keeps<Client<string>, core.Client<string>>,
  Keeps<Cache, core.Cache>,
  Keeps<Env, core.Env>,
  Keeps<Policy, core.Policy>,
];

/** What is written by hand against the contract is accepted. */
export type Accepted = [
  Keeps<core.InstanceInit, InstanceInit>,
  Keeps<core.Abortable, Abortable>,
  Keeps<core.ServiceQuery, ServiceQuery>,
  Keeps<core.Instancer, Instancer>,
  Keeps<core.Registrar, Registrar>,
  Keeps<core.Registry, Registry>,
  Keeps<core.Factory<string>, Factory<string>>,
  Keeps<core.Endpoint<string>, Endpoint<string>>,
  Keeps<core.EndpointerOptions<string>, EndpointerOptions<string>>,
  Keeps<core.Endpointer<string>, Endpointer<string>>,
  Keeps<core.PickRequest, PickRequest>,
  Keeps<core.PickResult<string>, PickResult<string>>,
  Keeps<core.Balancer<string>, Balancer<string>>,
  Keeps<core.CallOptions, Abortable & PickRequest>,
  Keeps<core.RetryBudget, RetryBudget>,
  Keeps<core.RetryOptions, RetryOptions>,
  Keeps<core.ClientOptions<string>, ClientOptions<string>>,
  Keeps<core.Env, Env>,
  Keeps<core.Policy, Policy>,
  Keeps<core.PolicyState, PolicyState>,
  Keeps<core.Source, Source>,
  Keeps<core.Sink, Sink>,
  Keeps<core.Registration, Registration>,
];

/** The errors have the codes, names and fields that were promised. */
export type Errors = [
  Keeps<
    Error & { readonly code: "NO_ENDPOINTS"; readonly service: string; readonly state: string },
    core.NoEndpointsError
  >,
  Keeps<
    AggregateError & {
      readonly code: "RETRY";
      readonly reason: "attempts" | "deadline" | "not-retryable" | "budget";
    },
    core.RetryError
  >,
  Keeps<Error & { readonly code: "TIMEOUT" }, core.TimeoutError>,
  Keeps<Error & { readonly code: "CLOSED" }, core.ClosedError>,
  Keeps<
    Error & {
      readonly code: "INVALID_OPTION";
      readonly path: string;
      readonly expected: string;
      readonly got: unknown;
    },
    core.InvalidOptionError
  >,
];
