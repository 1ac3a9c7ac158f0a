import type { Instance } from "./instance.ts";
import type { Outcome } from "./pick.ts";

/** What one endpoint has seen. Kept as long as its connection: it survives every update of the set. */
export interface EndpointStats {
  /** Picks that have not ended yet. */
  readonly inFlight: number;
  readonly successes: number;
  readonly failures: number;
  /** Failures since the last success. */
  readonly consecutiveFailures: number;
}

/** One instance with its client and its statistics. */
export interface Endpoint<C = unknown> {
  /** The newest facts: replaced when weight, tags, zone or metadata change. */
  readonly instance: Instance;
  readonly client: C;
  readonly stats: EndpointStats;
}

/** An {@link Endpoint} as its endpointer sees it: the facts may be replaced, and it tells when it has become idle. */
export class LiveEndpoint<C> implements Endpoint<C> {
  instance: Instance;
  readonly client: C;
  readonly stats: EndpointStats = { inFlight: 0, successes: 0, failures: 0, consecutiveFailures: 0 };
  /** Called when the last pick ends; set while draining. */
  onIdle: (() => void) | undefined;
  /** What the first policy that asked remembers of it, and which that was: see `memory`. */
  rememberedBy: object | undefined;
  remembered: unknown;

  constructor(instance: Instance, client: C) {
    this.instance = instance;
    this.client = client;
  }
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** Takes a slot of the endpoint. Statistics are written here and in {@link release}, and nowhere else. */
export function reserve(endpoint: Endpoint): void {
  const stats: Writable<EndpointStats> = endpoint.stats;
  stats.inFlight++;
}

/** Gives the slot back and notes how it went. */
export function release(endpoint: Endpoint, outcome: Outcome): void {
  const stats: Writable<EndpointStats> = endpoint.stats;
  stats.inFlight--;
  if (outcome.kind === "success") {
    stats.successes++;
    stats.consecutiveFailures = 0;
  } else if (outcome.kind === "failure") {
    stats.failures++;
    stats.consecutiveFailures++;
  }
  if (stats.inFlight === 0 && endpoint instanceof LiveEndpoint) endpoint.onIdle?.();
}
