import { Inject, Injectable } from "@nestjs/common";
import { type Registry, checkOptions, is } from "@rollcall/core";
import { type HttpClient, type ServiceClientOptions, checkServiceClient, serviceClient } from "@rollcall/http";
import { REGISTRY } from "./tokens.ts";

/** One client of `DiscoveryModule.forFeature`: which service, and how to speak to it. */
export interface ClientFeature extends ServiceClientOptions {
  /** The name it is injected by. Default: the service's. For several clients of one service. */
  readonly name?: string | undefined;
}

/** Throws `InvalidOptionError` for a feature that cannot work. */
export function checkFeature(feature: ClientFeature | string): void {
  if (typeof feature !== "string") is.object(feature, "feature");
  const { name, ...options } = typeof feature === "string" ? { service: feature } : feature;
  checkServiceClient("", options);
  checkOptions("", { name }, { name: is.nonEmptyString });
}

/**
 * Makes the clients of the application and closes them all at its end. Features that say nothing but their service
 * share one client, as do those that are given as the same object.
 */
@Injectable()
export class DiscoveryClients {
  readonly #registry: Registry;
  readonly #clients = new Map<unknown, HttpClient>();

  constructor(@Inject(REGISTRY) registry: Registry) {
    this.#registry = registry;
  }

  /** The client for this feature, made at the first call. It starts to discover at once. */
  open(feature: ClientFeature | string): HttpClient {
    const existing = this.#clients.get(feature);
    if (existing !== undefined) return existing;
    const { name: _, ...options } = typeof feature === "string" ? { service: feature } : feature;
    const client = serviceClient(this.#registry, options);
    this.#clients.set(feature, client);
    return client;
  }

  /** Lets running calls end and closes all clients. Idempotent. */
  async close(): Promise<void> {
    await Promise.all([...this.#clients.values()].map((client) => client.close()));
  }
}
