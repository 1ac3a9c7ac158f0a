import type { FactoryProvider, Provider } from "@nestjs/common";
import { type Registry, is } from "@rollcall/core";
import { type ServiceClientOptions, checkServiceClient } from "@rollcall/http";
import { provideAsync } from "./async-options.ts";
import {
  type AsyncClientFeature,
  type AsyncFeatureOptions,
  type ClientFeature,
  DiscoveryClients,
} from "./discovery-clients.ts";
import { DEFAULT_REGISTRY, getClientToken, getInstancesToken, getRegistryToken } from "./tokens.ts";

/** The client and the live view of a feature, each by its token. */
export function featureProviders(feature: ClientFeature | string): FactoryProvider[] {
  const { name, registry, ...options } = typeof feature === "string" ? { service: feature } : feature;
  return clientAndView({ name: name ?? options.service, registry, key: feature, inject: [], options: () => options });
}

/** The same for a feature whose options are made when the application is, and what makes them. */
export function asyncFeatureProviders(feature: AsyncClientFeature): {
  readonly making: readonly Provider[];
  readonly feature: readonly FactoryProvider[];
} {
  const { name, registry } = feature;
  const token = `@rollcall/nestjs/feature:${name}`;
  const options = (given: AsyncFeatureOptions): ServiceClientOptions => {
    const path = `forFeatureAsync(${name})`;
    is.object(given, path);
    const complete = { ...given, service: given.service ?? name };
    checkServiceClient(path, complete);
    return complete;
  };
  return {
    making: provideAsync<AsyncFeatureOptions>(token, `the feature "${name}"`, feature),
    feature: clientAndView({ name, registry, key: feature, inject: [token], options }),
  };
}

interface FeatureParts<A extends readonly unknown[]> {
  readonly name: string;
  readonly registry: string | undefined;
  /** Features with the same key share their client. */
  readonly key: unknown;
  readonly inject: FactoryProvider["inject"] & object;
  /** Makes the options of what `inject` gave. */
  options(...injected: A): ServiceClientOptions;
}

function clientAndView<A extends readonly unknown[]>(parts: FeatureParts<A>): FactoryProvider[] {
  const { name, registry: registryName = DEFAULT_REGISTRY, key, options } = parts;
  // The registry first: where there is none of this name, Nest says so.
  const inject = [getRegistryToken(registryName), DiscoveryClients, ...parts.inject];
  return [
    {
      provide: getClientToken(name),
      inject,
      useFactory: (registry: Registry, clients: DiscoveryClients, ...injected: A) =>
        clients.open(registry, options(...injected), key),
    },
    {
      provide: getInstancesToken(name),
      inject,
      useFactory: (registry: Registry, clients: DiscoveryClients, ...injected: A) =>
        clients.watch(registry, options(...injected), key, [name, registryName]),
    },
  ];
}
