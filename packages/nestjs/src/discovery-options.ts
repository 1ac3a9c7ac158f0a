import {
  type Check,
  INSTANCE_CHECKS,
  type InstanceInit,
  InvalidOptionError,
  type Registry,
  checkOptions,
  is,
  required,
} from "@rollcall/core";
import { type AsyncOptions, checkAsync } from "./async-options.ts";

/** Where the application says whether it is well. Outside the global prefix, all guards and all versions. */
export interface HealthOptions {
  /** Whether it wants calls: 200 `{"status":"ok"}`, and 503 `{"status":"draining"}` once the shutdown has begun. */
  readonly path: string;
  /** Whether it lives: 200 `{"status":"ok"}` as long as it answers, also during the shutdown. Default: not served. */
  readonly live?: string | undefined;
}

/** How this application is announced. What is said of the instance is said as in core's `InstanceInit`. */
export interface RegisterOptions extends Omit<InstanceInit, "host" | "port"> {
  /** Under which host others reach it. Default: `ADVERTISE_HOST`, the bound address, the first external interface. */
  readonly host?: string | undefined;
  /**
   * Under which port others reach it. Default: the one the HTTP server listens on. Needed in applications without an
   * HTTP server: they are registered when a TCP server of this process listens on it.
   */
  readonly port?: number | undefined;
  /**
   * Serves health checks. A route of the application at the same path goes first. Whether a registry calls it is said to
   * the registry.
   */
  readonly health?: HealthOptions | undefined;
}

/** Options of `DiscoveryModule.forRoot`, and what the factory of `forRootAsync` returns. */
export interface DiscoveryModuleOptions {
  /** A registry, which stays the caller's, or a function that makes one, which the module then closes at the end. */
  readonly registry: Registry | (() => Registry | Promise<Registry>);
  /** What to announce. Without it the application is a mere client. */
  readonly register?: RegisterOptions | false | undefined;
  /** How long the application goes on serving after it was deregistered, so that clients can notice. Default 5 s. */
  readonly drainMs?: number | undefined;
  /**
   * How long requests may take that are under way when the server stops accepting; then they are cut. Nest itself would
   * wait for ever. Default 20 s; `Infinity` for as Nest does. Of several registries the longest counts. Only of HTTP
   * servers: the transports of microservices are closed by Nest alone.
   */
  readonly graceMs?: number | undefined;
  /**
   * Whether the application refuses to start without its registry. `app.listen()` rejects unless the first registration
   * succeeds; where nothing is to be registered, `app.init()` does unless the registry can be read. Default false: it
   * starts, and registers when the registry is back.
   */
  readonly required?: boolean | undefined;
  /** Whether the module closes the registry at the end. Default: only one that it made itself. */
  readonly closeRegistry?: boolean | undefined;
  /**
   * Whether what the application sends while it serves an HTTP request follows that request: it ends with its deadline,
   * and if it was repeated by its caller it is not repeated again (see `whileServing` of `@rollcall/http/server`).
   * Default true. Of several registries one that says false decides.
   */
  readonly incoming?: boolean | undefined;
  /**
   * Whether every answer of the HTTP server says how many requests are in flight and how busy the event loop is, in the
   * header `endpoint-load-metrics`, for clients whose policy heeds it, such as core's `prequal()` (see `loadReporter` of
   * `@rollcall/http/server`). Whoever gets the answer can read it. Default false; of several registries one that says
   * true decides.
   */
  readonly loadReports?: boolean | undefined;
}

/** What is said where the module is imported, and not by a factory: Nest has to know it before it makes anything. */
export interface DiscoveryModuleExtras {
  /** What the registry is called, if there are several: `@InjectRegistry(name)`. Default `"default"`. */
  readonly name?: string | undefined;
}

/** Options of `DiscoveryModule.forRoot`. */
export interface ForRootOptions extends DiscoveryModuleOptions, DiscoveryModuleExtras {}

/** Options of `DiscoveryModule.forRootAsync`. */
export interface ForRootAsyncOptions extends AsyncOptions<DiscoveryModuleOptions>, DiscoveryModuleExtras {}

const EXTRA_CHECKS = { name: is.nonEmptyString };

/** Throws `InvalidOptionError` for options of `forRoot` that cannot work. Changes nothing. */
export function checkForRoot(options: ForRootOptions): void {
  checkOptions("", options, { ...CHECKS, ...EXTRA_CHECKS });
}

/** Throws `InvalidOptionError` for options of `forRootAsync` that cannot work. Changes nothing. */
export function checkForRootAsync(options: ForRootAsyncOptions): void {
  checkAsync("", options, EXTRA_CHECKS);
}

/** Throws `InvalidOptionError` for what a factory returned that cannot work. Changes nothing. */
export function checkModuleOptions(options: DiscoveryModuleOptions): void {
  checkOptions("", options, CHECKS);
}

const isRegistry: Check = (value, path) => {
  if (typeof value !== "function") is.registry(value, path);
};

const isPath: Check = (value, path) => {
  is.nonEmptyString(value, path);
  if (!String(value).startsWith("/")) throw new InvalidOptionError(path, "a path that starts with a slash", value);
};

const REGISTER_CHECKS = {
  ...INSTANCE_CHECKS,
  host: is.host,
  port: is.port,
  health: is.shape({ path: required(isPath), live: isPath }),
};

const isRegister: Check = (value, path) => {
  if (value !== false) checkOptions(path, value, REGISTER_CHECKS);
};

const CHECKS = {
  registry: required(isRegistry),
  register: isRegister,
  drainMs: is.durationMs,
  graceMs: is.durationMs,
  required: is.boolean,
  closeRegistry: is.boolean,
  incoming: is.boolean,
  loadReports: is.boolean,
};
