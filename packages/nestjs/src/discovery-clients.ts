import { Injectable, type OnModuleInit } from "@nestjs/common";
import { type Closable, type Registry, checkOptions, is } from "@rollcall/core";
import { type HttpClient, type ServiceClientOptions, checkServiceClient, serviceClient } from "@rollcall/http";
import { type AsyncOptions, checkAsync } from "./async-options.ts";
import { type Instances, createInstances } from "./instances.ts";
import { type LazyClient, lazyClient } from "./lazy-client.ts";

/** What is said of a feature where the module is imported. */
export interface FeatureExtras {
  /** In which of the application's registries the service is found. Default `"default"`. */
  readonly registry?: string | undefined;
}

/** One client of `DiscoveryModule.forFeature`: which service, and how to speak to it. */
export interface ClientFeature extends ServiceClientOptions, FeatureExtras {
  /** The name it is injected by. Default: the service's. For several clients of one service. */
  readonly name?: string | undefined;
}

/** What the factory of a feature of `forFeatureAsync` returns. */
export interface AsyncFeatureOptions extends Omit<ServiceClientOptions, "service"> {
  /** Default: the feature's name. */
  readonly service?: string | undefined;
}

/** One client of `DiscoveryModule.forFeatureAsync`, whose options are made when the application is. */
export interface AsyncClientFeature extends AsyncOptions<AsyncFeatureOptions>, FeatureExtras {
  /** The name it is injected by, and the service's unless the factory says otherwise. */
  readonly name: string;
}

/** Throws `InvalidOptionError` for a feature that cannot work. */
export function checkFeature(feature: ClientFeature | string): void {
  if (typeof feature !== "string") is.object(feature, "feature");
  const { name, registry, ...options } = typeof feature === "string" ? { service: feature } : feature;
  checkServiceClient("", options);
  checkOptions("", { name, registry }, { name: is.nonEmptyString, registry: is.nonEmptyString });
}

/** The same for a feature of `forFeatureAsync`. */
export function checkAsyncFeature(feature: AsyncClientFeature): void {
  is.object(feature, "feature");
  is.nonEmptyString(feature.name, "name");
  checkAsync("", feature, { name: is.nonEmptyString, registry: is.nonEmptyString });
}

/** A service that the application watches, under the name it has there. */
export interface WatchedService {
  readonly name: string;
  /** The name of its registry. */
  readonly registryName: string;
  readonly instances: Instances;
  /** How many instances its client would call at this moment: fewer than are known, where those are too old for it. */
  callable(): number;
}

/**
 * Makes the clients and views of the application's features, has the clients discover from its initialization on, and
 * closes them all at its end.
 */
@Injectable()
export class DiscoveryClients implements OnModuleInit {
  readonly #clients = new Map<Registry, Map<unknown, LazyClient>>();
  readonly #watched: WatchedService[] = [];
  readonly #closables: Closable[] = [];

  /** All services of features. */
  get watched(): readonly WatchedService[] {
    return this.#watched;
  }

  /**
   * The client with these options, made at the first call with this `key`: features that say nothing but their service
   * share one client, as do those that are given as the same object. It starts to discover with the application.
   */
  open(registry: Registry, options: ServiceClientOptions, key: unknown): HttpClient {
    let ofRegistry = this.#clients.get(registry);
    if (ofRegistry === undefined) this.#clients.set(registry, (ofRegistry = new Map()));
    let client = ofRegistry.get(key);
    if (client === undefined) {
      client = lazyClient(options.service, () => serviceClient(registry, options));
      ofRegistry.set(key, client);
      this.adopt(client);
    }
    return client;
  }

  /** The live view of what the client of this `key` calls, and the name that both have in which registry. */
  watch(registry: Registry, options: ServiceClientOptions, key: unknown, named: readonly [string, string]): Instances {
    const { service, tags, passingOnly } = options;
    const [name, registryName] = named;
    const instances = createInstances(registry.instancer({ service, tags, passingOnly }));
    // A test may have replaced the client: then there is none.
    const client = (): HttpClient | undefined => this.#clients.get(registry)?.get(key);
    const callable = (): number => (client()?.endpoints ?? instances.instances).length;
    this.#watched.push({ name, registryName, instances, callable });
    return this.adopt(instances);
  }

  onModuleInit(): void {
    for (const clients of this.#clients.values()) for (const client of clients.values()) client.begin();
  }

  /** Closes this, too, at the end. */
  adopt<T extends Closable>(closing: T): T {
    this.#closables.push(closing);
    return closing;
  }

  /** Lets running calls end and closes everything. Idempotent. */
  async close(): Promise<void> {
    await Promise.all(this.#closables.map((each) => each.close()));
  }
}
