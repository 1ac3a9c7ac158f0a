import { type DynamicModule, type FactoryProvider, Global, Inject, Module, type Provider } from "@nestjs/common";
import { InvalidOptionError, type Registry } from "@rollcall/core";
import { Announcer } from "./announcer.ts";
import { provideAsync } from "./async-options.ts";
import {
  type AsyncClientFeature,
  type ClientFeature,
  DiscoveryClients,
  checkAsyncFeature,
  checkFeature,
} from "./discovery-clients.ts";
import {
  type DiscoveryModuleOptions,
  type ForRootAsyncOptions,
  type ForRootOptions,
  checkForRoot,
  checkForRootAsync,
} from "./discovery-options.ts";
import { asyncFeatureProviders, featureProviders } from "./feature-providers.ts";
import { IncomingRequests } from "./incoming-requests.ts";
import { LoadReports } from "./load-reports.ts";
import { Registries, makeRegistry } from "./registries.ts";
import { DEFAULT_REGISTRY, getRegistryToken } from "./tokens.ts";

/** What there is once in an application, however many registries it has. */
@Global()
@Module({
  providers: [Registries, DiscoveryClients, Announcer, IncomingRequests, LoadReports],
  exports: [Registries, DiscoveryClients, Announcer],
})
export class DiscoveryCoreModule {}

/** Where `forFeature` provides its clients: a module of its own, so that nothing of the root is made twice. */
@Module({})
export class DiscoveryFeatureModule {}

const OPTIONS = "@rollcall/nestjs/options";
const NAME = "@rollcall/nestjs/name";
const REGISTRY = "@rollcall/nestjs/registry";

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
 * Import `forRoot` (or `forRootAsync`) once for each registry; with several, each has a `name`. It is always global, as
 * features are modules of their own and find it by its name. At the end, after the server has closed, the clients are
 * closed, and then the registries that the modules made.
 */
@Module({})
export class DiscoveryModule {
  constructor(
    @Inject(NAME) name: string,
    @Inject(REGISTRY) registry: Registry,
    @Inject(OPTIONS) options: DiscoveryModuleOptions,
    @Inject(Registries) registries: Registries,
  ) {
    registries.add(name, registry, options);
  }

  /** A registry, and what to announce in it. Throws `InvalidOptionError` for options that cannot work. */
  static forRoot(options: ForRootOptions): DynamicModule {
    checkForRoot(options);
    const { name = DEFAULT_REGISTRY, ...useValue } = options;
    return rootModule(name, [], [{ provide: OPTIONS, useValue }]);
  }

  /**
   * The same, with options that are made when the application is: by `useFactory` (with `inject`), or by the `create()`
   * of `useClass` or `useExisting`. `name` is said here, as Nest has to know it first. A factory that
   * fails keeps the application from being made.
   */
  static forRootAsync(options: ForRootAsyncOptions): DynamicModule {
    checkForRootAsync(options);
    const { name = DEFAULT_REGISTRY } = options;
    const providers = provideAsync<DiscoveryModuleOptions>(OPTIONS, `the DiscoveryModule "${name}"`, options);
    return rootModule(name, options.imports ?? [], providers);
  }

  /**
   * Provides a balanced `HttpClient` for each service, to be injected by `@InjectClient(name)`, and a live view of its
   * instances, by `@InjectInstances(name)`. Clients start to discover when the application is initialized, or at their
   * first use; they need no instance to start. Throws `InvalidOptionError`.
   */
  static forFeature(...features: readonly (ClientFeature | string)[]): DynamicModule {
    features.forEach(checkFeature);
    const providers = distinct(features.flatMap(featureProviders));
    return { module: DiscoveryFeatureModule, providers, exports: providers.map(({ provide }) => provide) };
  }

  /** The same, with options that are made when the application is, as those of `forRootAsync`. */
  static forFeatureAsync(...features: readonly AsyncClientFeature[]): DynamicModule {
    features.forEach(checkAsyncFeature);
    const made = features.map(asyncFeatureProviders);
    const providers = distinct(made.flatMap(({ feature }) => feature));
    return {
      module: DiscoveryFeatureModule,
      imports: features.flatMap((feature) => feature.imports ?? []),
      providers: [...made.flatMap(({ making }) => making), ...providers],
      exports: providers.map(({ provide }) => provide),
    };
  }
}

/** Of two providers with one token Nest would take the last, and say nothing. */
function distinct(providers: readonly FactoryProvider[]): FactoryProvider[] {
  const tokens = providers.map(({ provide }) => provide);
  const double = tokens.find((token, index) => tokens.indexOf(token) !== index);
  if (double === undefined) return [...providers];
  throw new InvalidOptionError("name", "a name that no other of the features has", String(double));
}

function rootModule(
  name: string,
  imports: NonNullable<DynamicModule["imports"]>,
  options: readonly Provider[],
): DynamicModule {
  const token = getRegistryToken(name);
  return {
    module: DiscoveryModule,
    global: true,
    imports: [DiscoveryCoreModule, ...imports],
    providers: [
      ...options,
      { provide: NAME, useValue: name },
      { provide: token, useFactory: makeRegistry, inject: [OPTIONS] },
      { provide: REGISTRY, useExisting: token },
    ],
    exports: [token],
  };
}
