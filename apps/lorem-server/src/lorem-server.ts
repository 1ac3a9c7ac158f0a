import { createServer, type Server } from "node:http";
import { type Closable, channels, closable, createInstance, messageOf, type Registry } from "@rollcall/core";
import { announce } from "@rollcall/express";
import { advertisedHost, placeOf } from "@rollcall/http/server";
import { Announcer } from "@rollcall/nestjs";
import { expressApp } from "./express-app.ts";
import { nestApp } from "./nest-app.ts";

/** What the service is called in the registry, and by which tags its clients ask for it. */
export const SERVICE = "lorem";
export const TAGS: readonly string[] = ["lorem", "ru-rocker"];

/** The frameworks that the service runs on. */
export const FRAMEWORKS = ["nest", "express"] as const;
export type Framework = (typeof FRAMEWORKS)[number];

/** What {@link startLoremServer} needs and can be told. */
export interface LoremServerOptions {
  /** Where the server is announced. Stays the caller's. */
  readonly registry: Registry;
  readonly framework: Framework;
  /** Default 0: any free one. */
  readonly port?: number | undefined;
  /** The address to listen on. Default: all of them. */
  readonly host?: string | undefined;
  /** The host that clients are told. Default: see `advertisedHost` of `@rollcall/http`. */
  readonly advertiseHost?: string | undefined;
  /** How long it serves on after it was deregistered. Default 1 s: Consul tells its watchers within milliseconds. */
  readonly drainMs?: number | undefined;
  /** Told one line at a time what happens. */
  readonly print?: ((line: string) => void) | undefined;
}

/** A server that listens and is announced, or is being announced. */
export interface LoremServer extends Closable {
  readonly instanceId: string;
  readonly url: string;
  readonly http: Server;
  /** Deregisters, drains, lets the requests under way finish, and closes. */
  close(): Promise<void>;
}

/**
 * Starts one lorem server. Resolves when it listens and its first registration was tried: it starts although the
 * registry is down, and registers when that is back. Rejects with the server's error when it cannot listen, and with
 * `InvalidOptionError` for a host that cannot be advertised.
 */
export async function startLoremServer(options: LoremServerOptions): Promise<LoremServer> {
  const { registry, framework, port = 0, host, advertiseHost, drainMs = 1_000, print = () => undefined } = options;
  // What cannot be advertised is better known before anything listens.
  advertisedHost({ host: advertiseHost });
  // The port may be any, so what the instance is called is known when the server listens; nobody asks before.
  let instanceId = "";
  const instanceIdNow = (): string => instanceId;
  const onListening = (http: Server): void => {
    const place = placeOf(http, { host: advertiseHost });
    instanceId = createInstance({ service: SERVICE, ...place }).id;
    print(`listening on ${urlOf(http)} (${framework}, instance ${instanceId})`);
  };
  const unsubscribe = reportRegistration(instanceIdNow, print);
  const instance = { service: SERVICE, tags: TAGS, host: advertiseHost };

  const startExpress = async (): Promise<Started> => {
    const http = createServer(expressApp(instanceIdNow));
    http.once("listening", () => onListening(http));
    http.listen({ port, host });
    // Failures are printed as they are reported; signals are the business of whoever runs this.
    const announced = await announce(http, {
      ...instance,
      registry,
      drainMs,
      signals: false,
      onError: () => undefined,
    });
    return { http, close: () => announced.close() };
  };
  const startNest = async (): Promise<Started> => {
    const app = await nestApp(instanceIdNow, {
      registry,
      drainMs,
      register: { ...instance, health: { path: "/health" } },
    });
    const http: Server = app.getHttpServer();
    http.once("listening", () => onListening(http));
    try {
      await (host === undefined ? app.listen(port) : app.listen(port, host));
      await app
        .get(Announcer)
        .ready()
        .catch(() => undefined);
    } catch (error) {
      await app.close();
      throw error;
    }
    return { http, close: () => app.close() };
  };

  try {
    const { http, close } = await (framework === "nest" ? startNest() : startExpress());
    const life = closable(async () => {
      await close();
      unsubscribe();
    });
    return { instanceId, url: urlOf(http), http, ...life };
  } catch (error) {
    unsubscribe();
    throw error;
  }
}

/** What both frameworks come down to. */
interface Started {
  readonly http: Server;
  close(): Promise<void>;
}

/** Prints when the instance is registered, and when that first fails. The packages say it on channels and never log. */
function reportRegistration(instanceId: () => string, print: (line: string) => void): () => void {
  let failing = false;
  const unsubscribes = [
    channels.registered.subscribe(({ instance, sink }) => {
      if (instance.id !== instanceId()) return;
      failing = false;
      print(`registered as ${instance.service} [${instance.tags.join(", ")}] in ${sink}`);
    }),
    channels.registrarFailed.subscribe(({ instance, sink, operation, error }) => {
      if (instance.id !== instanceId() || failing) return;
      failing = true;
      const next = operation === "deregister" ? "" : "; trying on";
      print(`${sink} cannot ${operation} it: ${messageOf(error)}${next}`);
    }),
    channels.deregistered.subscribe(({ instance, sink }) => {
      if (instance.id === instanceId()) print(`deregistered from ${sink}`);
    }),
  ];
  return () => unsubscribes.forEach((unsubscribe) => unsubscribe());
}

/** Where a listening server is reached from this machine. */
export function urlOf(http: Server): string {
  const bound = http.address();
  if (bound === null || typeof bound === "string") throw new TypeError("the server does not listen on a port");
  const host = ["::", "0.0.0.0"].includes(bound.address) ? "localhost" : bound.address;
  return `http://${host.includes(":") ? `[${host}]` : host}:${bound.port}`;
}
