import { type DynamicModule, Inject, Module, type OnApplicationShutdown } from "@nestjs/common";
import { type Registry, is } from "@rollcall/core";
import { type ClientFeature, DiscoveryClients, checkFeature } from "./discovery-clients.ts";
import {
  ConfigurableModuleClass,
  type DiscoveryModuleOptions,
  type ForRootAsyncOptions,
  type ForRootOptions,
  OPTIONS,
  checkModuleOptions,
} from "./discovery-options.ts";
import { Registration } from "./registration.ts";
import { REGISTRY, getClientToken } from "./tokens.ts";

/** Registries that a module made by the function it was given: those it closes again. */
const made = new WeakSet<Registry>();

async function provideRegistry(options: DiscoveryModuleOptions): Promise<Registry> {
  checkModuleOptions(options); // again for `forRoot`, first for what a factory of `forRootAsync` returned
  if (typeof options.registry !== "function") return options.registry;
  const registry = await options.registry();
  is.registry(registry, "registry()");
  made.add(registry);
  return registry;
}

/** Where `forFeature` provides its clients: a module of its own, so that nothing of the root is made twice. */
@Module({})
export class DiscoveryFeatureModule {}

/**
 * Service discovery for Nest: announces the application and injects balanced clients.
 *
 * ```ts
 * import { Module } from "@nestjs/common";
 * import { memoryRegistry } from "@rollcall/core";
 * import { DiscoveryModule } from "@rollcall/nestjs";
 *
 * @Module({
 *   imports: [
 *     DiscoveryModule.forRoot({
 *       registry: () => memoryRegistry(),
 *       register: { service: "shop", health: { path: "/health" } },
 *     }),
 *     DiscoveryModule.forFeature({ service: "lorem", retry: { timeoutMs: 500 } }),
 *   ],
 * })
 * export class AppModule {}
 * ```
 *
 * Import `forRoot` (or `forRootAsync`) once; it is global unless `isGlobal: false`. At the end, after the server has
 * closed, it closes the clients, and then the registry if the module made it.
 */
@Module({
  providers: [{ provide: REGISTRY, useFactory: provideRegistry, inject: [OPTIONS] }, DiscoveryClients, Registration],
  exports: [REGISTRY, DiscoveryClients, Registration],
})
export class DiscoveryModule extends ConfigurableModuleClass implements OnApplicationShutdown {
  readonly #options: DiscoveryModuleOptions;
  readonly #registry: Registry;
  readonly #clients: DiscoveryClients;

  constructor(
    @Inject(OPTIONS) options: DiscoveryModuleOptions,
    @Inject(REGISTRY) registry: Registry,
    @Inject(DiscoveryClients) clients: DiscoveryClients,
  ) {
    super();
    this.#options = options;
    this.#registry = registry;
    this.#clients = clients;
  }

  /** The registry, and what to announce. Throws `InvalidOptionError` for options that cannot work. */
  static override forRoot(options: ForRootOptions): DynamicModule {
    checkModuleOptions(options);
    return super.forRoot(options);
  }

  /** The same, with options that are made by a factory (`useFactory`, `useClass`, `useExisting`; `inject`, `imports`). */
  static override forRootAsync(options: ForRootAsyncOptions): DynamicModule {
    return super.forRootAsync(options);
  }

  /**
   * Provides a balanced `HttpClient` for each service, to be injected by `@InjectClient(name)`. They start to discover
   * when the application is made, and need no instance to start. Throws `InvalidOptionError`.
   */
  static forFeature(...features: readonly (ClientFeature | string)[]): DynamicModule {
    features.forEach(checkFeature);
    const providers = features.map((feature) => ({
      provide: getClientToken(typeof feature === "string" ? feature : (feature.name ?? feature.service)),
      useFactory: (clients: DiscoveryClients) => clients.open(feature),
      inject: [DiscoveryClients],
    }));
    return { module: DiscoveryFeatureModule, providers, exports: providers.map(({ provide }) => provide) };
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#clients.close();
    if (this.#options.closeRegistry ?? made.has(this.#registry)) await this.#registry.close();
  }
}
