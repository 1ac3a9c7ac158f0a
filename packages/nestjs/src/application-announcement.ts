import type { Server } from "node:net";
import { Logger } from "@nestjs/common";
import { type Instance, type Registrar, type Registry, address, channels, messageOf, systemEnv } from "@rollcall/core";
import { type Announcement, DEFAULT_DRAIN_MS, advertisedHost, createAnnouncement } from "@rollcall/http/server";
import type { DiscoveryModuleOptions, RegisterOptions } from "./discovery-options.ts";
import { type InProcessListener, inProcessListener } from "./in-process-listener.ts";
import { DEFAULT_REGISTRY } from "./tokens.ts";

/** Where others reach the application. */
export interface Place {
  readonly host: string;
  readonly port: number;
}

/** The application's way into one registry and out of it again, and what the log tells of it. */
export class ApplicationAnnouncement {
  /** What to announce; undefined if nothing is. */
  readonly register: RegisterOptions | undefined;
  /** Whether the application may not start unless this succeeds. */
  readonly required: boolean;
  readonly #registry: Registry;
  readonly #drainMs: number | undefined;
  readonly #logger: Logger;
  readonly #ready = Promise.withResolvers<void>();
  /** Made at once, so that it knows of servers that other providers start while the application is being made. */
  readonly #listener: InProcessListener | undefined;
  #announcement: Announcement | undefined;
  #stopLogging: (() => void) | undefined;
  #ended = false;

  constructor(registryName: string, registry: Registry, options: DiscoveryModuleOptions) {
    const { register, drainMs, required } = options;
    this.register = register === false ? undefined : register;
    this.required = required === true && this.register !== undefined;
    this.#drainMs = drainMs;
    this.#registry = registry;
    this.#logger = new Logger(registryName === DEFAULT_REGISTRY ? "Discovery" : `Discovery:${registryName}`);
    this.#listener = this.register?.port === undefined ? undefined : inProcessListener(this.register.port);
    // Whoever does not ask must not be told of it as an unhandled rejection.
    this.#ready.promise.catch(() => undefined);
    if (this.register === undefined) this.#ready.resolve();
  }

  /** Undefined until {@link ApplicationAnnouncement.begin}. */
  get registrar(): Registrar | undefined {
    return this.#announcement?.registrar;
  }

  /** Settles with the first try. Resolves at once if there is nothing to announce. */
  ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Registers. Only the first call does, and none after the end. */
  begin(where: (register: RegisterOptions) => Place): void {
    if (this.#announcement !== undefined || this.#ended || this.register === undefined) return;
    const { health: _, ...said } = this.register;
    try {
      const registrar = this.#registry.registrar({ ...said, ...where(this.register) });
      const drainMs = this.#drainMs ?? DEFAULT_DRAIN_MS;
      this.#announcement = createAnnouncement(registrar, { drainMs, env: systemEnv });
    } catch (error) {
      // A Unix socket without a given port, or a registry that is closed already: nobody is left to reject to.
      this.#logger.error(`"${said.service}" is not registered: ${messageOf(error)}`);
      this.#ready.reject(error);
      return;
    }
    this.#stopLogging = this.#log(this.#announcement.instance);
    this.#announcement.register().then(this.#ready.resolve, this.#ready.reject);
  }

  /** Registers when a TCP server of this process listens on the given port, and tells which. */
  beginWithoutHttp(onServer: (server: Server) => void): void {
    const { service, host, port } = this.register ?? {};
    if (this.#listener === undefined || port === undefined) {
      const text = `"${service}" is not registered: there is no HTTP server, and no port was given`;
      this.#logger.warn(text);
      this.#ready.reject(new Error(text));
      return;
    }
    this.#listener.whenListening((server) => {
      onServer(server);
      this.begin(() => ({ host: advertisedHost({ host }), port }));
    });
  }

  /** Deregisters and lets clients notice. Never rejects; idempotent. Nothing is registered after it. */
  async withdraw(): Promise<void> {
    this.#ended = true;
    this.#listener?.close();
    this.#ready.reject(new Error("the application was closed before it was registered"));
    if (this.#announcement === undefined) return;
    await this.#announcement.withdraw();
    this.#stopLogging?.();
  }

  /** Nobody is waited for any more. */
  hurry(): void {
    this.#announcement?.hurry();
  }

  /** Logs what becomes of the registration: each success, and failures when they begin or change. */
  #log(instance: Instance): () => void {
    let failing: string | undefined;
    const unsubscribes = [
      channels.registered.subscribe((message) => {
        if (message.instance !== instance) return;
        failing = undefined;
        this.#logger.log(`Registered ${describe(instance)} in ${message.sink}`);
      }),
      channels.deregistered.subscribe((message) => {
        if (message.instance === instance) this.#logger.log(`Took back ${describe(instance)} from ${message.sink}`);
      }),
      channels.registrarFailed.subscribe(({ instance: failed, operation, sink, error }) => {
        const text = `Could not ${operation} ${describe(instance)} in ${sink}: ${messageOf(error)}`;
        if (failed !== instance || text === failing) return;
        failing = text;
        this.#logger.warn(operation === "deregister" ? text : `${text}. It goes on trying.`);
      }),
    ];
    return () => unsubscribes.forEach((end) => end());
  }
}

function describe(instance: Instance): string {
  return `${instance.id} (${address(instance)})`;
}
