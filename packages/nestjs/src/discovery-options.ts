import { ConfigurableModuleBuilder } from "@nestjs/common";
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
   * Serves a health check at this path, outside the global prefix and all guards: 200 `{"status":"ok"}`, and 503
   * `{"status":"draining"}` once the shutdown has begun. A route of the application at the same path goes first.
   * Whether a registry calls it is said to the registry.
   */
  readonly health?: { readonly path: string } | undefined;
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
   * Whether the application refuses to start while the registry cannot be read: `app.init()` and `app.listen()` reject.
   * Default false: it starts, and registers when the registry is back.
   */
  readonly required?: boolean | undefined;
  /** Whether the module closes the registry at the end. Default: only one that it made itself. */
  readonly closeRegistry?: boolean | undefined;
}

/** Implemented by classes given to `forRootAsync({ useClass })` or `useExisting`. */
export interface DiscoveryOptionsFactory {
  create(): DiscoveryModuleOptions | Promise<DiscoveryModuleOptions>;
}

const builder = new ConfigurableModuleBuilder<DiscoveryModuleOptions>({ moduleName: "Discovery" })
  .setClassMethodName("forRoot")
  .setExtras({ isGlobal: true }, (definition, { isGlobal }) => ({ ...definition, global: isGlobal }))
  .build();

export const ConfigurableModuleClass = builder.ConfigurableModuleClass;
/** The token of {@link DiscoveryModuleOptions}. */
export const OPTIONS = builder.MODULE_OPTIONS_TOKEN;
export type ForRootOptions = typeof builder.OPTIONS_TYPE;
export type ForRootAsyncOptions = typeof builder.ASYNC_OPTIONS_TYPE;

/** Throws `InvalidOptionError` for options that cannot work. Changes nothing. */
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
  health: is.shape({ path: required(isPath) }),
};

const isRegister: Check = (value, path) => {
  if (value !== false) checkOptions(path, value, REGISTER_CHECKS);
};

const CHECKS = {
  registry: required(isRegistry),
  register: isRegister,
  drainMs: is.durationMs,
  required: is.boolean,
  closeRegistry: is.boolean,
  isGlobal: is.boolean,
};
