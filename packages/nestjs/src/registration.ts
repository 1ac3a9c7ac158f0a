import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnModuleInit,
} from "@nestjs/common";
import { HttpAdapterHost } from "@nestjs/core";
import {
  type Instance,
  type Registrar,
  type Registry,
  TimeoutError,
  address,
  bounded,
  channels,
  messageOf,
  systemEnv,
} from "@rollcall/core";
import {
  type Announcement,
  DEFAULT_DRAIN_MS,
  type HttpServer,
  advertisedHost,
  createAnnouncement,
  placeOf,
  serverDrain,
} from "@rollcall/http/server";
import { type DiscoveryModuleOptions, OPTIONS, type RegisterOptions } from "./discovery-options.ts";
import { addHealthRoute } from "./health-route.ts";
import { inProcessListener } from "./in-process-listener.ts";
import { REGISTRY } from "./tokens.ts";

/** How long `required` waits for the registry's first word. */
const REQUIRED_MS = 5_000;

/**
 * Announces the application: registers when its server listens (never in `app.init()`, which tests call), and in
 * `beforeApplicationShutdown` takes it back in the order that loses no call. Whether signals begin a shutdown is
 * decided by `app.enableShutdownHooks()`; nothing here listens to them.
 *
 * Exported so that an application can ask for it: `await app.get(Registration).ready()`.
 */
@Injectable()
export class Registration implements OnModuleInit, OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #registry: Registry;
  readonly #host: HttpAdapterHost;
  readonly #register: RegisterOptions | undefined;
  readonly #options: DiscoveryModuleOptions;
  readonly #logger = new Logger("Discovery");
  readonly #ready = Promise.withResolvers<void>();
  readonly #onEnd: (() => void)[] = [];
  /** Made at once, so that it knows of servers that other providers start while the application is being made. */
  readonly #listener: ReturnType<typeof inProcessListener> | undefined;
  #announcement: Announcement | undefined;
  #stopLogging = (): void => undefined;
  #ended = false;

  constructor(
    @Inject(OPTIONS) options: DiscoveryModuleOptions,
    @Inject(REGISTRY) registry: Registry,
    @Inject(HttpAdapterHost) host: HttpAdapterHost,
  ) {
    this.#options = options;
    this.#registry = registry;
    this.#host = host;
    this.#register = options.register === false ? undefined : options.register;
    const port = this.#register?.port;
    if (port !== undefined) {
      this.#listener = inProcessListener(port);
      this.#onEnd.push(this.#listener.close);
    }
    // Whoever does not ask must not be told of it as an unhandled rejection.
    this.#ready.promise.catch(() => undefined);
  }

  /** What keeps the registration; undefined until the server listens, and if there is nothing to register. */
  get registrar(): Registrar | undefined {
    return this.#announcement?.registrar;
  }

  /**
   * Resolves when the application is in the registry; rejects with the error of the first try (it goes on by itself all
   * the same), or when the application ends before. Pending until the server listens.
   */
  ready(): Promise<void> {
    return this.#ready.promise;
  }

  onModuleInit(): void {
    const path = this.#register?.health?.path;
    const adapter = this.#adapter();
    if (adapter === undefined || this.#register === undefined) return;
    // From now on, so that it knows all connections when the time comes.
    serverDrain(this.#server(adapter));
    if (path !== undefined) addHealthRoute(adapter, path);
  }

  async onApplicationBootstrap(): Promise<void> {
    const register = this.#register;
    if (register === undefined) return;
    if (this.#options.required === true) await this.#requireRegistry(register.service);
    const adapter = this.#adapter();
    if (adapter !== undefined) {
      const start = (): void => this.#announce(() => placeOf(this.#server(adapter), register));
      if (this.#host.listening) {
        start();
        return;
      }
      // Completes at once if the server listens already, and otherwise after its only message.
      const subscription = this.#host.listen$.subscribe({ next: start });
      this.#onEnd.push(() => subscription.unsubscribe());
      return;
    }
    const { host, port } = register;
    if (this.#listener === undefined || port === undefined) {
      this.#logger.warn(`"${register.service}" is not registered: there is no HTTP server, and no port was given`);
      return;
    }
    this.#listener.whenListening(() => this.#announce(() => ({ host: advertisedHost({ host }), port })));
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.#ended = true;
    for (const end of this.#onEnd.splice(0)) end();
    const adapter = this.#register === undefined ? undefined : this.#adapter();
    const server = adapter === undefined ? undefined : this.#server(adapter);
    const drain = server?.listening === true ? serverDrain(server) : undefined;
    drain?.begin();
    this.#ready.reject(new Error("the application was closed before it was registered"));
    if (this.#announcement !== undefined) {
      await this.#announcement.withdraw();
      this.#stopLogging();
      this.#logger.log(`Took back ${describe(this.#announcement.instance)}`);
    }
    if (this.#announcement !== undefined) await drain?.quiet();
    // Nest closes the server next, and waits for the last connection: idle ones must not make it wait.
    drain?.sweep();
  }

  #adapter(): HttpAdapterHost["httpAdapter"] | undefined {
    // Its type does not say so, but without an HTTP server there is none, as null or as undefined.
    const adapter: HttpAdapterHost["httpAdapter"] | null | undefined = this.#host.httpAdapter;
    return adapter ?? undefined;
  }

  #server(adapter: HttpAdapterHost["httpAdapter"]): HttpServer {
    return adapter.getHttpServer() as HttpServer;
  }

  #announce(where: () => { readonly host: string; readonly port: number }): void {
    if (this.#ended || this.#register === undefined) return;
    const { health: _, ...said } = this.#register;
    try {
      const registrar = this.#registry.registrar({ ...said, ...where() });
      const { drainMs = DEFAULT_DRAIN_MS } = this.#options;
      this.#announcement = createAnnouncement(registrar, { drainMs, env: systemEnv });
    } catch (error) {
      // A Unix socket without a given port, or a registry that is closed already: nobody is left to reject to.
      this.#logger.error(`"${said.service}" is not registered: ${messageOf(error)}`);
      this.#ready.reject(error);
      return;
    }
    this.#log(this.#announcement.instance);
    this.#announcement.register().then(this.#ready.resolve, this.#ready.reject);
  }

  /** Logs what becomes of the registration: each success, and failures when they begin or change. */
  #log(instance: Instance): void {
    let failing: string | undefined;
    const unsubscribes = [
      channels.registered.subscribe((message) => {
        if (message.instance !== instance) return;
        failing = undefined;
        this.#logger.log(`Registered ${describe(instance)} in ${message.sink}`);
      }),
      channels.registrarFailed.subscribe(({ instance: failed, operation, sink, error }) => {
        const text = `Could not ${operation} ${describe(instance)} in ${sink}: ${messageOf(error)}`;
        if (failed !== instance || text === failing) return;
        failing = text;
        this.#logger.warn(operation === "deregister" ? text : `${text}. It goes on trying.`);
      }),
    ];
    // Until it has been taken back: that may fail, too.
    this.#stopLogging = () => unsubscribes.forEach((end) => end());
  }

  async #requireRegistry(service: string): Promise<void> {
    const instancer = this.#registry.instancer(service);
    const known = Promise.withResolvers<void>();
    const look = (): void => {
      const { snapshot } = instancer;
      if (snapshot.state === "live") known.resolve();
      else if (snapshot.error !== undefined) known.reject(snapshot.error);
    };
    const onTimeout = (): TimeoutError =>
      new TimeoutError(`the first answer of the registry "${this.#registry.name}"`, REQUIRED_MS);
    const unsubscribe = instancer.subscribe(look);
    try {
      look();
      await bounded(systemEnv, { timeoutMs: REQUIRED_MS, onTimeout, keepAlive: true }, () => known.promise);
    } finally {
      unsubscribe();
      await instancer.close();
    }
  }
}

function describe(instance: Instance): string {
  return `${instance.id} (${address(instance)})`;
}
