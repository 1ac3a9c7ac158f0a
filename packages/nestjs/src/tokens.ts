import { Inject } from "@nestjs/common";

/** What a registry is called that was given no name. */
export const DEFAULT_REGISTRY = "default";

/**
 * The token of the registry that `DiscoveryModule.forRoot` was given under this name. Override it in tests with
 * `memoryRegistry()`: clients, live views, health checks and the announcement all come from it.
 */
export function getRegistryToken(name: string = DEFAULT_REGISTRY): string {
  return `@rollcall/nestjs/registry:${name}`;
}

/** The token of the client that `DiscoveryModule.forFeature` provides under this name. */
export function getClientToken(name: string): string {
  return `@rollcall/nestjs/client:${name}`;
}

/** The token of the live view that `DiscoveryModule.forFeature` provides under this name. */
export function getInstancesToken(name: string): string {
  return `@rollcall/nestjs/instances:${name}`;
}

type InjectDecorator = PropertyDecorator & ParameterDecorator;

/** Injects the `Registry` that has this name. */
export const InjectRegistry = (name?: string): InjectDecorator => Inject(getRegistryToken(name));

/** Injects the balanced `HttpClient` that `DiscoveryModule.forFeature` provides under this name: the service's, or its own. */
export const InjectClient = (name: string): InjectDecorator => Inject(getClientToken(name));

/** Injects the live view, {@link Instances}, of the feature of this name. */
export const InjectInstances = (name: string): InjectDecorator => Inject(getInstancesToken(name));
