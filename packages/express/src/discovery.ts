import type { IncomingMessage, ServerResponse } from "node:http";
import {
  type Closable,
  ClosedError,
  InvalidOptionError,
  type Registry,
  checkOptions,
  closable,
  is,
  required,
} from "@rollcall/core";
import { type HttpClient, type ServiceClientOptions, checkServiceClient, serviceClient } from "@rollcall/http";
import { whileServing } from "@rollcall/http/server";

/** One client of the middleware. `service` is needed only where it is not the client's name. */
export type DiscoveryClientOptions = Omit<ServiceClientOptions, "service"> & { readonly service?: string | undefined };

/** Where to discover, and which clients there are. */
export interface DiscoveryOptions<Name extends string> {
  /** Stays the caller's. */
  readonly registry: Registry;
  /** By their names, which are their services' names unless `service` says otherwise. `{}` for all defaults. */
  readonly clients: Readonly<Record<Name, DiscoveryClientOptions>>;
}

/** Balanced HTTP clients by name. */
export interface Discovery<Name extends string = string> {
  /**
   * The client of this name: made at the first call, shared by all requests. Do not close it; that is done for all of
   * them together. Throws `InvalidOptionError` for a name that was not declared (a name from outside must not be able
   * to start watches), `ClosedError` after the end.
   */
  client(name: Name): HttpClient;
}

/** The middleware, which is also what it gives to requests: for use outside of them. The caller closes it. */
export interface DiscoveryMiddleware<Name extends string = string> extends Discovery<Name>, Closable {
  (request: IncomingMessage & { discovery?: Discovery }, response: ServerResponse, next: () => void): void;
}

/**
 * Puts balanced clients at hand in every request, as `request.discovery`. For its type in Express, import
 * `@rollcall/express/augment` once. Discovers nothing before a client is first used. The caller closes it, after the
 * server: closing closes the clients.
 *
 * What is called while a request is served knows of it (`whileServing` of `@rollcall/http/server`): a request that was
 * sent before is not multiplied by retries of its own, and no call outlasts the deadline that its caller told.
 *
 * ```ts
 * import "@rollcall/express/augment";
 * import { memoryRegistry } from "@rollcall/core";
 * import { discovery } from "@rollcall/express";
 * import express from "express";
 *
 * const registry = memoryRegistry();
 * const app = express();
 * app.use(discovery({ registry, clients: { lorem: { retry: { timeoutMs: 500 } } } }));
 * app.get("/word", async (request, response) => {
 *   const answer = await request.discovery.client("lorem").fetch("/lorem/word/1/10", { method: "POST" });
 *   response.json(await answer.json());
 * });
 * ```
 *
 * @throws InvalidOptionError
 */
export function discovery<Name extends string>(options: DiscoveryOptions<Name>): DiscoveryMiddleware<Name> {
  checkOptions("", options, { registry: required(is.registry), clients: required(is.object) });
  const { registry, clients } = options;
  const declared = new Map<string, ServiceClientOptions>();
  for (const [name, given] of Object.entries<DiscoveryClientOptions>(clients)) {
    is.object(given, `clients.${name}`);
    const complete = { ...given, service: given.service ?? name };
    checkServiceClient(`clients.${name}`, complete);
    declared.set(name, complete);
  }
  const made = new Map<string, HttpClient>();
  let closed = false;

  const client = (name: string): HttpClient => {
    if (closed) throw new ClosedError("the discovery middleware");
    const existing = made.get(name);
    if (existing !== undefined) return existing;
    const known = declared.get(name);
    if (known === undefined) {
      throw new InvalidOptionError("name", `one of the declared clients (${[...declared.keys()].join(", ")})`, name);
    }
    const created = serviceClient(registry, known);
    made.set(name, created);
    return created;
  };
  const given: Discovery = Object.freeze({ client });
  const middleware = (
    request: IncomingMessage & { discovery?: Discovery },
    _: ServerResponse,
    next: () => void,
  ): void => {
    request.discovery = given;
    whileServing(request, next);
  };
  const life = closable(async () => {
    closed = true;
    await Promise.all([...made.values()].map((one) => one.close()));
  });
  return Object.assign(middleware, { client, ...life });
}
