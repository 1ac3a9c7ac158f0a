import { constants } from "node:os";
import {
  type Abortable,
  type Check,
  type Closable,
  type Env,
  type Instance,
  type InstanceInit,
  type Registrar,
  type Registry,
  ClosedError,
  INSTANCE_CHECKS,
  InvalidOptionError,
  checkOptions,
  closable,
  is,
  messageOf,
  required,
  resolveEnv,
  untilAborted,
} from "@rollcall/core";
import { advertisedHost } from "./advertised-host.ts";
import { type Announcement, createAnnouncement } from "./announcement.ts";
import { type HttpServer, serverDrain } from "./server-drain.ts";
import { type ShutdownSignal, onShutdownSignal } from "./shutdown-signals.ts";

/** What is announced, where, and how it ends. What is said of the instance is said as in core's `InstanceInit`. */
export interface AnnounceOptions extends Omit<InstanceInit, "host" | "port">, Abortable {
  /** Where to announce. It stays the caller's: not closed here, unless it is in `closeAfter`. */
  readonly registry: Registry;
  /** Under which host others reach the server. Default: see {@link advertisedHost}. */
  readonly host?: string | undefined;
  /** Under which port others reach it. Default: the one the server listens on. Needed for Unix sockets. */
  readonly port?: number | undefined;
  /**
   * How long the server goes on serving after it was deregistered, so that clients can notice. Default 5 s; 0 where the
   * registry tells every client faster than the process can end, and in tests.
   */
  readonly drainMs?: number | undefined;
  /** How long requests may take that are under way when the server stops accepting; then they are cut. Default 20 s. */
  readonly graceMs?: number | undefined;
  /** Whether a failed first registration is fatal. Default false: the server serves, and registers when it can. */
  readonly required?: boolean | undefined;
  /**
   * Which signals begin the shutdown. Default SIGTERM and SIGINT; `false` for none. The second signal forces it: nothing
   * is waited for any more, connections are cut. A third one has its usual effect.
   */
  readonly signals?: readonly ShutdownSignal[] | false | undefined;
  /**
   * Called when clients had their time to notice, and the server stops accepting: for connections that are no requests and
   * would not end by themselves, such as WebSockets, which may be said goodbye to now. After `graceMs` they are cut.
   */
  readonly onDrained?: (() => unknown) | undefined;
  /** What is closed last, in this order: clients first, then their registry. Given here, it is no longer the caller's. */
  readonly closeAfter?: readonly { close(): Promise<void> }[] | undefined;
  /**
   * Told what goes wrong where nobody awaits: a first registration that failed (it goes on in the background), an error
   * while closing after a signal. Default: `process.emitWarning`.
   */
  readonly onError?: ((error: unknown) => void) | undefined;
  readonly env?: Partial<Env> | undefined;
}

/** A server that is in the registry, or on its way there. */
export interface Announced extends Closable {
  readonly instance: Instance;
  readonly registrar: Registrar;
  /** Whether the shutdown has begun. Health checks say 503 from then on. */
  readonly draining: boolean;
  /**
   * The whole shutdown, in the order that loses no call: not ready any more (health checks 503, answers say
   * `Connection: close`) → deregistered → `drainMs` of grace for clients to notice, and until nothing more comes → no
   * more connections, `onDrained` is called → requests under way finish, at most `graceMs` → `closeAfter` is closed.
   * Rejects only if `onDrained` (by then; a later error is told `onError`) or something in `closeAfter` does.
   */
  close(): Promise<void>;
}

/** How long clients get to notice that an instance is gone, unless said otherwise. */
export const DEFAULT_DRAIN_MS = 5_000;
/** Together with the drain it stays below the 30 s that orchestrators wait before they kill. */
const DEFAULT_GRACE_MS = 20_000;

/**
 * Announces a server: waits until it listens, registers it at its own port, and takes it back again in good order when a
 * signal comes or `close()` is called. Call it right after `listen()`, or before; it never listens itself.
 *
 * Resolves when the instance is in the registry, or when the first try failed (`registrar.registered` tells which): a
 * server starts although its registry is down, unless `required`. Rejects with the server's error if it cannot listen
 * (`EADDRINUSE`), with the signal's reason, with `ClosedError` if the server is closed before it listens, and with
 * `InvalidOptionError` for options that cannot work. After a rejection nothing is left behind, and the server is as it
 * was.
 *
 * It never ends the process: when server, clients and registry are closed nothing keeps a process alive, and it ends by
 * itself. A server that the application closes on its own is deregistered at once.
 *
 * ```ts
 * import { createServer } from "node:http";
 * import { memoryRegistry } from "@rollcall/core";
 * import { announce } from "@rollcall/http/server";
 *
 * const server = createServer((_, response) => response.end("hello"));
 * server.listen(0);
 * const announced = await announce(server, { registry: memoryRegistry(), service: "hello" });
 * process.stdout.write(`announced as ${announced.instance.id}\n`);
 * ```
 */
export async function announce(server: HttpServer, options: AnnounceOptions): Promise<Announced> {
  checkOptions("", { server }, { server: required(isServer) });
  checkOptions("", options, CHECKS);
  const { registry, service, host, port, id, weight, zone, tags, metadata } = options;
  const { drainMs = DEFAULT_DRAIN_MS, graceMs = DEFAULT_GRACE_MS, onError = warn } = options;
  const said = { service, id, weight, zone, tags, metadata };
  // A variable that names no host is known before the server listens, too.
  advertisedHost({ host });
  const env = resolveEnv(options.env);
  const drain = serverDrain(server, { env });
  const hurried = new AbortController();
  const cancelled = new AbortController();
  let announcement: Announcement | undefined;
  let ignoreSignals = (): void => undefined;

  const life = closable(async () => {
    const errors: unknown[] = [];
    let ended = false;
    server.off("close", onServerClose);
    cancelled.abort(new ClosedError("the announced server"));
    drain.begin();
    if (announcement !== undefined) await drain.hold(announcement.withdraw());
    if (announcement !== undefined && server.listening) await drain.quiet({ signal: hurried.signal });
    const stopped = drain.stop({ graceMs, signal: hurried.signal });
    if (announcement !== undefined) {
      // Not awaited: what it does to connections is.
      callDrained(options).catch((error: unknown) => (ended ? onError(error) : errors.push(error)));
    }
    await stopped;
    for (const resource of options.closeAfter ?? []) {
      const closing = closeOne(resource).catch((error: unknown) => errors.push(error));
      await untilAborted(closing, hurried.signal).catch(() => undefined);
    }
    ignoreSignals();
    ended = true;
    if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors, "closing failed");
  });
  const hurry = (): void => {
    hurried.abort();
    announcement?.hurry();
  };
  const closeAlone = (): void => void life.close().catch(onError);
  const onServerClose = (): void => {
    hurry(); // nobody is served any more: there is nothing to wait for
    closeAlone();
  };

  server.once("close", onServerClose);
  const signals = options.signals === false ? [] : (options.signals ?? ["SIGTERM", "SIGINT"]);
  ignoreSignals = onShutdownSignal(signals, { begin: closeAlone, force: hurry });
  try {
    await listening(server, AbortSignal.any([cancelled.signal, ...(options.signal ? [options.signal] : [])]));
    // The shutdown may have begun in the very moment in which the server began to listen.
    cancelled.signal.throwIfAborted();
    const place = placeOf(server, { host, port });
    announcement = createAnnouncement(registry.registrar({ ...said, ...place }), { drainMs, env });
    await registerWith(announcement, options.signal, (error) => {
      if (options.signal?.aborted === true) throw error;
      // A shutdown that came first is no failure: the caller gets what it can close again.
      if (cancelled.signal.aborted) return;
      const failed = `${announcement?.instance.id} could not be registered in "${registry.name}"`;
      if (options.required === true)
        throw new Error(`${failed}, as is required: ${messageOf(error)}`, { cause: error });
      onError(new Error(`${failed}, and is tried again: ${messageOf(error)}`, { cause: error }));
    });
  } catch (error) {
    server.off("close", onServerClose);
    ignoreSignals();
    announcement?.hurry();
    await announcement?.withdraw();
    throw error;
  }
  const { registrar, instance } = announcement;
  return {
    registrar,
    instance,
    get draining() {
      return drain.draining;
    },
    ...life,
  };
}

async function callDrained({ onDrained }: AnnounceOptions): Promise<void> {
  await onDrained?.();
}

/** A `close` that throws is one that rejects. */
async function closeOne(resource: { close(): Promise<void> }): Promise<void> {
  await resource.close();
}

/** Where a listening server is reached. Throws `InvalidOptionError` for a Unix socket without a given port. */
export function placeOf(
  server: HttpServer,
  given: { readonly host?: string | undefined; readonly port?: number | undefined },
): { readonly host: string; readonly port: number } {
  const bound = server.address();
  const inet = typeof bound === "string" ? null : bound;
  const port = given.port ?? inet?.port;
  if (port === undefined) throw new InvalidOptionError("port", "a port, as the server listens on none", bound);
  return { host: advertisedHost({ host: given.host, bound: inet?.address }), port };
}

/** Resolves when the server listens; rejects with its error, or the signal's reason, if that comes first. */
async function listening(server: HttpServer, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (server.listening) return;
  const ended = Promise.withResolvers<void>();
  server.once("listening", ended.resolve);
  server.once("error", ended.reject);
  try {
    await untilAborted(ended.promise, signal);
  } finally {
    server.off("listening", ended.resolve);
    server.off("error", ended.reject);
  }
}

async function registerWith(
  announcement: Announcement,
  signal: AbortSignal | undefined,
  onFailure: (error: unknown) => void,
): Promise<void> {
  const withdraw = (): void => void announcement.withdraw();
  signal?.addEventListener("abort", withdraw);
  try {
    await announcement.register();
  } catch (error) {
    onFailure(signal?.aborted === true ? signal.reason : error);
  } finally {
    signal?.removeEventListener("abort", withdraw);
  }
}

function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : new Error(String(error)));
}

/** An application of Express, which has `listen` and `on` as well, would never say that it listens. */
const isServer: Check = (value, path) => {
  for (const method of ["address", "close", "closeIdleConnections"]) {
    if (typeof Reflect.get(Object(value), method) === "function") continue;
    throw new InvalidOptionError(path, "a server of node:http or node:https, as listen() returns it", value);
  }
};

const areSignals: Check = (value, path) => {
  if (value === false) return;
  is.strings(value, path);
  for (const signal of Object.values(Object(value))) {
    if (Object.hasOwn(constants.signals, String(signal)) && signal !== "SIGKILL" && signal !== "SIGSTOP") continue;
    throw new InvalidOptionError(path, "signals that a process can listen to", signal);
  }
};

const CHECKS = {
  ...INSTANCE_CHECKS,
  registry: required(is.registry),
  host: is.host,
  port: is.port,
  drainMs: is.durationMs,
  graceMs: is.durationMs,
  required: is.boolean,
  signals: areSignals,
  closeAfter: (value: unknown, path: string) => {
    is.array(value, path);
    for (const [index, resource] of Object.entries(Object(value))) {
      is.function(Reflect.get(Object(resource), "close"), `${path}.${index}.close`);
    }
  },
  onDrained: is.function,
  onError: is.function,
  signal: is.object,
  env: is.env,
};
