import { HttpModule } from "@nestjs/axios";
import { type DynamicModule, Module, type Provider } from "@nestjs/common";
import { InvalidOptionError, type Registry, checkOptions, is } from "@rollcall/core";
import { type CreateFetchOptions, createFetch } from "@rollcall/http/fetch";
import type { AxiosRequestConfig } from "axios";
import { type AsyncOptions, checkAsync, provideAsync } from "./async-options.ts";
import { DiscoveryClients } from "./discovery-clients.ts";
import { getRegistryToken } from "./tokens.ts";

/** What axios does only in its adapter over `node:http`: its one over fetch would say nothing and ignore it. */
const IGNORED = [
  "allowedSocketPaths",
  "beforeRedirect",
  "family",
  "http2Options",
  "httpAgent",
  "httpVersion",
  "httpsAgent",
  "insecureHTTPParser",
  "lookup",
  "maxRate",
  "proxy",
  "sensitiveHeaders",
  "socketPath",
  "transport",
] as const satisfies readonly (keyof AxiosRequestConfig)[];

/** axios' own options, but for those that its `fetch` adapter ignores, and how to balance. */
export interface DiscoveryHttpOptions extends Omit<
  AxiosRequestConfig,
  "adapter" | "maxRedirects" | (typeof IGNORED)[number]
> {
  /** 0 follows no redirect, and is the only number that fetch can be told. Default: those that `createFetch` follows. */
  readonly maxRedirects?: 0 | undefined;
  /** Which hosts are services, and what is said of all or of single ones: see `createFetch` of `@rollcall/http/fetch`. */
  readonly discovery?: Omit<CreateFetchOptions, "registry" | "fetch"> | undefined;
}

interface HttpModuleExtras {
  /** In which of the application's registries services are found. Default `"default"`. */
  readonly registry?: string | undefined;
  /** Whether the `HttpService` can be injected everywhere. Default false. */
  readonly global?: boolean | undefined;
}

/** Options of `DiscoveryHttpModule.register`. */
export interface DiscoveryHttpModuleOptions extends DiscoveryHttpOptions, HttpModuleExtras {}

/** Options of `DiscoveryHttpModule.registerAsync`. */
export interface DiscoveryHttpModuleAsyncOptions extends AsyncOptions<DiscoveryHttpOptions>, HttpModuleExtras {}

/** Where the options of axios are made: a module of its own, as `HttpModule` has to import them. */
@Module({})
export class DiscoveryAxiosModule {}

const EXTRA_CHECKS = { registry: is.nonEmptyString, global: is.boolean };
const OPTIONS = "@rollcall/nestjs/axios/options";
const CONFIG = "@rollcall/nestjs/axios/config";

/**
 * Nest's `HttpModule`, whose `HttpService` understands `http://<service>/…`: each request goes to an instance that the
 * service's balancer picks, and is sent again by the rules of `createFetch`. Other hosts are called as they are.
 *
 * What axios offers stays: observables, interceptors, `timeout`, `baseURL`, errors. A call that could not be made rejects
 * with an `AxiosError` whose `cause` is core's `RetryError`. Who unsubscribes aborts the request. It needs a
 * `DiscoveryModule.forRoot`, and ends with the application.
 *
 * ```ts
 * import { HttpService } from "@nestjs/axios";
 * import { Injectable, Module } from "@nestjs/common";
 * import { DiscoveryHttpModule } from "@rollcall/nestjs/axios";
 * import { map, type Observable } from "rxjs";
 *
 * @Injectable()
 * class Words {
 *   constructor(private readonly http: HttpService) {}
 *
 *   word(): Observable<string> {
 *     return this.http.post<{ message: string }>("http://lorem/lorem/word/3/10").pipe(map(({ data }) => data.message));
 *   }
 * }
 *
 * @Module({ imports: [DiscoveryHttpModule.register({ timeout: 2_000 })], providers: [Words] })
 * export class WordsModule {}
 * ```
 */
@Module({})
export class DiscoveryHttpModule {
  /** As `HttpModule.register`. Throws `InvalidOptionError` for an adapter, which it brings itself, and for what that ignores. */
  static register(options: DiscoveryHttpModuleOptions = {}): DynamicModule {
    is.object(options, "options");
    const { registry, global, ...useValue } = options;
    checkOptions("", { registry, global }, EXTRA_CHECKS);
    checkConfig(useValue);
    return httpModule({ registry, global }, [], [{ provide: OPTIONS, useValue }]);
  }

  /** The same, with options that are made when the application is: see `DiscoveryModule.forRootAsync`. */
  static registerAsync(options: DiscoveryHttpModuleAsyncOptions): DynamicModule {
    checkAsync("", options, EXTRA_CHECKS);
    const providers = provideAsync<DiscoveryHttpOptions>(OPTIONS, "the DiscoveryHttpModule", options);
    return httpModule(options, options.imports ?? [], providers);
  }
}

function httpModule(
  { registry: registryName, global = false }: HttpModuleExtras,
  imports: NonNullable<DynamicModule["imports"]>,
  options: readonly Provider[],
): DynamicModule {
  const provideConfig = {
    provide: CONFIG,
    inject: [getRegistryToken(registryName), DiscoveryClients, OPTIONS],
    useFactory: (registry: Registry, clients: DiscoveryClients, given: DiscoveryHttpOptions): AxiosRequestConfig => {
      checkConfig(given);
      const { discovery, maxRedirects, ...config } = given;
      const redirect = maxRedirects === 0 ? { redirect: "manual" } : {};
      const fetch = clients.adopt(createFetch({ ...discovery, registry }));
      const fetchOptions = { ...redirect, ...config.fetchOptions };
      return { ...config, fetchOptions, adapter: "fetch", env: { ...config.env, fetch } };
    },
  };
  const axios = { module: DiscoveryAxiosModule, imports, providers: [...options, provideConfig], exports: [CONFIG] };
  const http = HttpModule.registerAsync({
    imports: [axios],
    inject: [CONFIG],
    useFactory: (config: AxiosRequestConfig) => config,
  });
  return { module: DiscoveryHttpModule, global, imports: [http], exports: [http] };
}

function checkConfig(given: DiscoveryHttpOptions): void {
  is.object(given, "options");
  const adapter: unknown = Reflect.get(given, "adapter");
  if (adapter !== undefined) throw new InvalidOptionError("adapter", "no adapter: the module brings its own", adapter);
  for (const key of IGNORED) {
    const value: unknown = Reflect.get(given, key);
    if (value === undefined) continue;
    throw new InvalidOptionError(key, "nothing: axios ignores it where it sends by fetch", value);
  }
  if (given.maxRedirects !== undefined && given.maxRedirects !== 0) {
    throw new InvalidOptionError("maxRedirects", "0 or nothing", given.maxRedirects);
  }
  if (given.env?.fetch !== undefined) {
    throw new InvalidOptionError("env.fetch", "no fetch: the module brings its own", given.env.fetch);
  }
}
