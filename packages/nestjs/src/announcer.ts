import type { Server } from "node:net";
import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleInit,
} from "@nestjs/common";
import { HttpAdapterHost } from "@nestjs/core";
import { InvalidOptionError, type Registrar, systemEnv, untilAborted } from "@rollcall/core";
import { type HttpServer, onShutdownSignal, placeOf, serverDrain } from "@rollcall/http/server";
import type { ApplicationAnnouncement } from "./application-announcement.ts";
import { DiscoveryClients } from "./discovery-clients.ts";
import { addHealthRoutes } from "./health-route.ts";
import { holdListen } from "./held-listen.ts";
import { createInstances } from "./instances.ts";
import { readable } from "./readable-registry.ts";
import { type NamedRegistry, Registries } from "./registries.ts";
import { DEFAULT_REGISTRY } from "./tokens.ts";

/** How long requests that are under way may take when the server stops accepting, unless said otherwise. */
const DEFAULT_GRACE_MS = 20_000;

/**
 * Announces the application: registers when its server listens (never in `app.init()`, which tests call), and in
 * `beforeApplicationShutdown` takes it back in the order that loses no call, from all its registries at once. An
 * application that announces nothing ends as gracefully: its server is drained all the same. Whether signals begin a
 * shutdown is decided by `app.enableShutdownHooks()`. If one did, a second one hurries it: nothing is waited for any
 * more, and connections are cut.
 *
 * There is one per application. Exported so that an application can ask it: `await app.get(Announcer).ready()`.
 */
@Injectable()
export class Announcer
  implements OnModuleInit, OnApplicationBootstrap, BeforeApplicationShutdown, OnApplicationShutdown
{
  readonly #registries: Registries;
  readonly #clients: DiscoveryClients;
  readonly #host: HttpAdapterHost;
  readonly #onShutdown: (() => void)[] = [];
  /** Aborted by the second signal. */
  readonly #hurried = new AbortController();
  #stopHearing: (() => void) | undefined;
  #draining = false;

  constructor(
    @Inject(Registries) registries: Registries,
    @Inject(DiscoveryClients) clients: DiscoveryClients,
    @Inject(HttpAdapterHost) host: HttpAdapterHost,
  ) {
    this.#registries = registries;
    this.#clients = clients;
    this.#host = host;
  }

  /** What keeps the registration in this registry; undefined until the server listens, and if there is none. */
  registrar(registryName: string = DEFAULT_REGISTRY): Registrar | undefined {
    return this.#registries.get(registryName)?.announcement.registrar;
  }

  /**
   * Resolves when the application is in this registry (without a name: in all where it is to be); at once where nothing
   * is to be registered. Rejects with the error of the first try (it goes on by itself all the same), or when the
   * application ends before. Pending until the server listens. Rejects with `InvalidOptionError` for an unknown name.
   */
  async ready(registryName?: string): Promise<void> {
    const one = registryName === undefined ? undefined : this.#registries.get(registryName);
    if (registryName !== undefined && one === undefined) {
      throw new InvalidOptionError("registryName", "the name of a registry of the application", registryName);
    }
    const asked = one === undefined ? this.#registries.all() : [one];
    await Promise.all(asked.map(({ announcement }) => announcement.ready()));
  }

  /** Whether the shutdown has begun: the application still serves, but wants no more calls. */
  get draining(): boolean {
    return this.#draining;
  }

  onModuleInit(): void {
    const adapter = this.#adapter();
    if (adapter === undefined) return;
    const announcements = this.#announced();
    const server = this.#server(adapter);
    // From now on, so that it knows all connections when the time comes.
    serverDrain(server);
    this.#endWith(server, announcements);
    for (const { register } of announcements) if (register?.health) addHealthRoutes(adapter, register.health);
    if (announcements.some(({ required }) => required)) holdListen(adapter, () => this.#insist(server));
  }

  async onApplicationBootstrap(): Promise<void> {
    const adapter = this.#adapter();
    const registries = this.#registries.all();
    await Promise.all(registries.map((registry) => this.#requireReadable(registry, adapter !== undefined)));
    if (adapter === undefined) {
      for (const announcement of this.#announced()) {
        announcement.beginWithoutHttp((server) => this.#endWith(server, [announcement]));
      }
      return;
    }
    const begin = (): void => this.#begin(this.#server(adapter));
    if (this.#host.listening) {
      begin();
      return;
    }
    // Completes at once if the server listens already, and otherwise after its only message.
    const subscription = this.#host.listen$.subscribe({ next: begin });
    this.#onShutdown.push(() => subscription.unsubscribe());
  }

  async beforeApplicationShutdown(signal?: string): Promise<void> {
    this.#draining = true;
    for (const end of this.#onShutdown.splice(0)) end();
    const announcements = this.#announced();
    const adapter = this.#adapter();
    const server = adapter === undefined ? undefined : this.#server(adapter);
    const drain = server?.listening === true ? serverDrain(server) : undefined;
    if (signal !== undefined) this.#hearSecondSignal(signal, announcements, server);
    drain?.begin();
    await Promise.all(announcements.map((each) => each.withdraw()));
    if (drain === undefined || server === undefined) return;
    await drain.quiet({ signal: this.#hurried.signal });
    // Nest closes the server next, and waits for the last connection: idle ones must not make it wait, busy ones not for
    // ever.
    drain.sweep();
    const graceMs = Math.max(...this.#registries.all().map(({ options }) => options.graceMs ?? DEFAULT_GRACE_MS));
    if (this.#hurried.signal.aborted) void drain.stop({ graceMs: 0 });
    if (!Number.isFinite(graceMs)) return;
    const cancel = systemEnv.after(graceMs, () => void drain.stop({ graceMs: 0 }), { keepAlive: true });
    server.once("close", cancel);
  }

  /**
   * Closes the clients, then the registries. Nest calls global modules after all others here, and among themselves in
   * the reverse order of their import: other global modules may still want clients if they were imported before.
   */
  async onApplicationShutdown(): Promise<void> {
    const clients = this.#clients.close();
    // A call that is under way may take long to end. Who is in a hurry does not wait for it.
    await untilAborted(clients, this.#hurried.signal).catch(() => undefined);
    await this.#registries.close().finally(() => this.#stopHearing?.());
  }

  #announced(): readonly ApplicationAnnouncement[] {
    const announcements = this.#registries.all().map(({ announcement }) => announcement);
    return announcements.filter(({ register }) => register !== undefined);
  }

  #adapter(): HttpAdapterHost["httpAdapter"] | undefined {
    // Its type does not say so, but without an HTTP server there is none, as null or as undefined.
    const adapter: HttpAdapterHost["httpAdapter"] | null | undefined = this.#host.httpAdapter;
    return adapter ?? undefined;
  }

  #server(adapter: HttpAdapterHost["httpAdapter"]): HttpServer {
    return adapter.getHttpServer() as HttpServer;
  }

  #begin(server: HttpServer): void {
    for (const announcement of this.#announced()) announcement.begin((register) => placeOf(server, register));
  }

  /** A server that is closed serves nobody, whoever closed it: its registrations go, and nothing is waited for. */
  #endWith(server: Server, announcements: readonly ApplicationAnnouncement[]): void {
    // Each time: one that has opened and closed before anything was announced may be opened again.
    server.on("close", () => {
      for (const announcement of announcements) {
        if (announcement.registrar === undefined) continue;
        announcement.hurry();
        void announcement.withdraw();
      }
    });
  }

  /** Registers before the application is told that it listens. If that fails it does not listen, and nothing is left. */
  async #insist(server: HttpServer): Promise<void> {
    this.#begin(server);
    const announcements = this.#announced();
    try {
      await Promise.all(announcements.filter(({ required }) => required).map((each) => each.ready()));
    } catch (error) {
      for (const announcement of announcements) announcement.hurry();
      await Promise.all(announcements.map((each) => each.withdraw()));
      await serverDrain(server).stop({ graceMs: 0 });
      throw error;
    }
  }

  /** Where nothing is registered when the server listens, `required` is about what is read. */
  async #requireReadable({ name, registry, options, announcement }: NamedRegistry, hasHttp: boolean): Promise<void> {
    if (options.required !== true || (announcement.required && hasHttp)) return;
    const features = this.#clients.watched.filter(({ registryName }) => registryName === name);
    if (features.length > 0) {
      await Promise.all(features.map(({ instances }) => readable(instances, name)));
      return;
    }
    // It has nothing that it reads: any service will do, whether it has instances or not.
    const probe = createInstances(registry.instancer(announcement.register?.service ?? "rollcall"));
    try {
      await readable(probe, name);
    } finally {
      await probe.close();
    }
  }

  /** Nest ignores a second signal. It came because the first one took too long. */
  #hearSecondSignal(
    signal: string,
    announcements: readonly ApplicationAnnouncement[],
    server: HttpServer | undefined,
  ): void {
    const hurry = (): void => {
      this.#hurried.abort();
      for (const announcement of announcements) announcement.hurry();
      // If it serves still, it is cut where the drain ends, so that nothing is lost that was sent a moment ago.
      if (server !== undefined && !server.listening) void serverDrain(server).stop({ graceMs: 0 });
    };
    const signals = new Set(["SIGTERM", "SIGINT", signal] as NodeJS.Signals[]);
    this.#stopHearing = onShutdownSignal([...signals], { begin: hurry, force: () => undefined });
  }
}
