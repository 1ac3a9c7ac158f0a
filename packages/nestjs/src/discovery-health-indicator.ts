import { Inject, Injectable } from "@nestjs/common";
import { type HealthIndicatorResult, HealthIndicatorService } from "@nestjs/terminus";
import { InvalidOptionError, type Snapshot, checkOptions, is, systemEnv } from "@rollcall/core";
import { DiscoveryClients, type WatchedService } from "./discovery-clients.ts";
import { Registries } from "./registries.ts";
import { DEFAULT_REGISTRY } from "./tokens.ts";

/** What {@link DiscoveryHealthIndicator.check} looks at. */
export interface DiscoveryHealthOptions {
  /** Only these features, by the names they are injected by. Default: all of `forFeature` and `forFeatureAsync`. */
  readonly services?: readonly string[] | undefined;
  /** Only this registry. Default: all of them. */
  readonly registry?: string | undefined;
}

/** What is known of one service. It names no hosts and no errors: health checks are often open to everybody. */
export interface ServiceHealth {
  readonly state: Snapshot["state"];
  /** How many instances calls can go to. */
  readonly instances: number;
  /** For how long the registry has said nothing new; only while `stale`. */
  readonly staleForMs?: number;
}

/** The details of a result. */
export interface DiscoveryHealth extends Record<string, unknown> {
  /** There if something is amiss that the application can live with. */
  readonly degraded?: true;
  /** Since when a registry has said nothing new: the longest of all. */
  readonly degradedSince?: string;
  /** By the name of the feature; outside of the default registry with `@` and the registry's name. */
  readonly services: Readonly<Record<string, ServiceHealth>>;
  /** By the registry's name; only where something is to be registered. */
  readonly registrations: Readonly<Record<string, { readonly registered: boolean }>>;
}

/**
 * Whether discovery works, for `@nestjs/terminus`:
 *
 * - **up** when the registry's word on every service is current, and the application is registered where it is to be;
 * - **up with `degraded: true`** when not, but there is something to go on with: a registry is away, and the instances
 *   that were known before are still called; or a registration is lost, or is not made yet;
 * - **down** only when there is nothing to go on with: services are watched, and of none of them any instance was ever
 *   heard of that could still be called, while their registry says nothing (`pending`, or `stale` and empty).
 *
 * A service without instances is up as long as the registry says so: restarting this application would not bring them.
 * An application that watches none is never down.
 *
 * ```ts
 * import { Controller, Get, Module } from "@nestjs/common";
 * import { HealthCheck, HealthCheckService, TerminusModule } from "@nestjs/terminus";
 * import { DiscoveryHealthIndicator } from "@rollcall/nestjs/terminus";
 *
 * @Controller("health")
 * class HealthController {
 *   constructor(
 *     private readonly health: HealthCheckService,
 *     private readonly discovery: DiscoveryHealthIndicator,
 *   ) {}
 *
 *   @Get()
 *   @HealthCheck()
 *   check() {
 *     return this.health.check([() => this.discovery.isHealthy("discovery")]);
 *   }
 * }
 *
 * @Module({ imports: [TerminusModule], providers: [DiscoveryHealthIndicator], controllers: [HealthController] })
 * export class HealthModule {}
 * ```
 */
@Injectable()
export class DiscoveryHealthIndicator {
  readonly #indicator: HealthIndicatorService;
  readonly #registries: Registries;
  readonly #clients: DiscoveryClients;

  constructor(
    @Inject(HealthIndicatorService) indicator: HealthIndicatorService,
    @Inject(Registries) registries: Registries,
    @Inject(DiscoveryClients) clients: DiscoveryClients,
  ) {
    this.#indicator = indicator;
    this.#registries = registries;
    this.#clients = clients;
  }

  /** The result under this key, from what is known at this moment: it asks nobody. Throws `InvalidOptionError`. */
  isHealthy<const Key extends string>(key: Key, options: DiscoveryHealthOptions = {}): HealthIndicatorResult<Key> {
    checkOptions("", options, { services: is.strings, registry: is.nonEmptyString });
    const session = this.#indicator.check(key);
    const watched = this.#watched(options);
    const registrations = this.#registrations(options);
    const services = servicesHealth(watched);
    const all = Object.values(services);
    const longestMs = Math.max(...all.map(({ staleForMs = -1 }) => staleForMs));
    const well = all.every(({ state }) => state === "live") && Object.values(registrations).every((r) => r.registered);
    const data: DiscoveryHealth = {
      ...(well ? {} : { degraded: true as const }),
      ...(longestMs < 0 ? {} : { degradedSince: new Date(Date.now() - longestMs).toISOString() }),
      services,
      registrations,
    };
    const nothing = all.length > 0 && all.every(({ state, instances }) => state !== "live" && instances === 0);
    if (!nothing) return session.up(data);
    const { degraded: _, ...rest } = data;
    return session.down(rest);
  }

  #watched({ services, registry }: DiscoveryHealthOptions): readonly WatchedService[] {
    const all = this.#clients.watched;
    for (const [index, name] of (services ?? []).entries()) {
      if (all.some((each) => each.name === name)) continue;
      throw new InvalidOptionError(`services.${index}`, "the name of a feature of the application", name);
    }
    return all.filter(
      ({ name, registryName }) =>
        (services === undefined || services.includes(name)) && registryName === (registry ?? registryName),
    );
  }

  #registrations({ registry }: DiscoveryHealthOptions): DiscoveryHealth["registrations"] {
    if (registry !== undefined && this.#registries.get(registry) === undefined) {
      throw new InvalidOptionError("registry", "the name of a registry of the application", registry);
    }
    const asked = this.#registries
      .all()
      .filter(({ name, announcement }) => announcement.register !== undefined && name === (registry ?? name));
    return Object.fromEntries(
      asked.map(({ name, announcement }) => [name, { registered: announcement.registrar?.registered === true }]),
    );
  }
}

function servicesHealth(watched: readonly WatchedService[]): Readonly<Record<string, ServiceHealth>> {
  const health: Record<string, ServiceHealth> = {};
  for (const { name, registryName, instances, callable } of watched) {
    const { snapshot } = instances;
    const key = registryName === DEFAULT_REGISTRY ? name : `${name}@${registryName}`;
    const seen: ServiceHealth = {
      state: snapshot.state,
      instances: callable(),
      ...(snapshot.state === "stale"
        ? { staleForMs: Math.max(0, Math.round(systemEnv.now() - snapshot.staleSinceMs)) }
        : {}),
    };
    // Two modules may ask for different instances under the same name: the worse of them counts.
    const other = health[key];
    if (other === undefined || rank(seen) < rank(other)) health[key] = seen;
  }
  return health;
}

/** The less, the worse. */
function rank({ state, instances }: ServiceHealth): number {
  return (state === "live" ? 2 : 0) + (instances > 0 ? 1 : 0);
}
