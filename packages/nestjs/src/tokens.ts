import { Inject } from "@nestjs/common";

/** The token of the registry that `DiscoveryModule.forRoot` was given. Override it in tests with `memoryRegistry()`. */
export const REGISTRY = Symbol.for("@rollcall/nestjs/registry");

/** The token of the registry. */
export function getRegistryToken(): symbol {
  return REGISTRY;
}

/** The token of the client that `DiscoveryModule.forFeature` provides under this name. Override it in tests. */
export function getClientToken(name: string): string {
  return `@rollcall/nestjs/client:${name}`;
}

/** Injects the `Registry` of the application. */
export const InjectRegistry = (): PropertyDecorator & ParameterDecorator => Inject(REGISTRY);

/** Injects the balanced `HttpClient` that `DiscoveryModule.forFeature` provides under this name. */
export const InjectClient = (name: string): PropertyDecorator & ParameterDecorator => Inject(getClientToken(name));
