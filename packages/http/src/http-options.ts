import {
  CLIENT_CHECKS,
  type Env,
  type Instance,
  type Instancer,
  InvalidOptionError,
  type Policy,
  type RetryOptions,
  checkOptions,
  is,
  messageOf,
} from "@rollcall/core";
import { Client, type Pool } from "undici";
import { HTTP_CHECKS } from "./http-checks.ts";
import type { Protocol } from "./instance-pool.ts";
import { type TlsOptions, checkTls, tlsContext } from "./tls-options.ts";

/** The pool options that have an option of their own, and those that would take the pool out of the client's hands. */
const TAKEN = [
  "factory",
  "connections",
  "connectTimeout",
  "headersTimeout",
  "bodyTimeout",
  "keepAliveTimeout",
] as const;

/** What undici's pools can be told beyond what has its own option here; `connect` holds the TLS options, for one. */
export type PoolOptions = Omit<Pool.Options, (typeof TAKEN)[number]>;

/** What {@link httpClient} needs and can be told. */
export interface HttpClientOptions {
  /** Who finds the service. Stays its maker's: the client leaves it when closed, and does not close it. */
  readonly instancer: Instancer;
  /** Default: core's `defaultPolicy()`. */
  readonly policy?: Policy | undefined;
  /**
   * As in core, except for three defaults that know HTTP: `retryable` follows the rules of {@link HttpClient}, `unsent`
   * knows whether a byte has left, and `backoff` honours `Retry-After`. A `retryable` of your own decides alone; only a
   * body that is gone is never resent.
   */
  readonly retry?: RetryOptions | false | undefined;
  /** How long a removed instance may finish its requests, bodies included, before they are cut off. Default 30 s. */
  readonly drainMs?: number | undefined;
  /** How long to go on with the last known instances when the registry fails. Default: for ever. */
  readonly staleAfterMs?: number | undefined;
  readonly env?: Partial<Env> | undefined;
  /**
   * Default `"http"`, with `tls` `"https"`. A function decides for each instance. The registry's metadata decide nothing by themselves: who
   * can write to a registry must not be able to turn TLS off.
   */
  readonly protocol?: Protocol | ((instance: Instance) => Protocol) | undefined;
  /** How TLS is spoken, and whose certificates are taken. */
  readonly tls?: TlsOptions | undefined;
  /** Sent with every request that does not set them itself. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Default 1 s: instances are near, and there is another one to try. undici's timer may add half a second. */
  readonly connectTimeoutMs?: number | undefined;
  /** The longest wait for a response's head. Default 300 s, as in undici; `retry.timeoutMs` (10 s) comes first. */
  readonly headersTimeoutMs?: number | undefined;
  /** The longest silence inside a response's body; no other deadline holds there. Default 30 s; 0 for none. */
  readonly bodyTimeoutMs?: number | undefined;
  /** How long an idle connection is kept when the server does not say. Default 4 s: most servers keep it 5 s or more. */
  readonly keepAliveTimeoutMs?: number | undefined;
  /** Most connections to one instance; further requests queue there, and count as its load. Default: no limit. */
  readonly connections?: number | undefined;
  /** How much of a request body that is a stream is kept so that it can be sent again. Default 64 KiB. */
  readonly maxReplayBytes?: number | undefined;
  /** Statuses that count as the endpoint's failure, and are retried where that is safe. Default 429, 502, 503, 504. */
  readonly failureStatuses?: readonly number[] | undefined;
  /**
   * Whether each request says how much time is left (`x-rollcall-deadline-ms`), for servers that read it by
   * `requestDeadline`. Default false. Repeated requests always say so (`x-rollcall-attempt`), for `isRetried`.
   */
  readonly sendDeadline?: boolean | undefined;
  /** Further options of undici's pools. HTTP/2 is off unless `allowH2` is set. */
  readonly pool?: PoolOptions | undefined;
}

/** An option whose value undici wants whole. */
const wholeMs = (value: unknown, path: string): void => {
  if (!Number.isInteger(value) || Number(value) < 0) {
    throw new InvalidOptionError(path, "a whole number of milliseconds >= 0", value);
  }
};

const positiveMs = (value: unknown, path: string): void => {
  if (typeof value !== "number" || !Number.isFinite(value) || value <= 0) {
    throw new InvalidOptionError(path, "a finite number of milliseconds > 0", value);
  }
};

const { close: _, ...clientChecks } = CLIENT_CHECKS;

const CHECKS = {
  ...clientChecks,
  ...HTTP_CHECKS,
  connectTimeoutMs: wholeMs,
  headersTimeoutMs: wholeMs,
  bodyTimeoutMs: wholeMs,
  keepAliveTimeoutMs: positiveMs,
  connections: (value: unknown, path: string): void => {
    if (!Number.isInteger(value) || Number(value) < 1) throw new InvalidOptionError(path, "a whole number >= 1", value);
  },
  maxReplayBytes: is.number(0),
  tls: checkTls,
  pool: is.object,
};

/**
 * Checks everything that can be checked before the first instance is known, undici's own options by undici itself, and
 * returns those for the pools. Throws `InvalidOptionError`.
 */
export function resolvePoolOptions(options: HttpClientOptions): Pool.Options {
  checkOptions("", options, CHECKS);
  for (const name of TAKEN) {
    const value: unknown = Reflect.get(options.pool ?? {}, name);
    if (value !== undefined)
      throw new InvalidOptionError(`pool.${name}`, "the client's own option of this kind", value);
  }
  const resolved: Pool.Options = {
    // HTTP/2 has its own rules about what was surely not processed, and undici resends by them on its own.
    allowH2: false,
    ...options.pool,
    connectTimeout: options.connectTimeoutMs ?? 1_000,
    headersTimeout: options.headersTimeoutMs ?? 300_000,
    bodyTimeout: options.bodyTimeoutMs ?? 30_000,
    keepAliveTimeout: options.keepAliveTimeoutMs ?? 4_000,
    connections: options.connections ?? null,
    ...connectOptions(options),
  };
  try {
    // Making a client connects to nothing, but finds what the pools would only complain of at their first request.
    void new Client("http://service.invalid", resolved).destroy();
  } catch (error) {
    throw new InvalidOptionError("pool", `options that undici takes (${messageOf(error)})`, options.pool, error);
  }
  return resolved;
}

/** The TLS options for undici's connector, beside what it is told already. */
function connectOptions({ tls, pool }: HttpClientOptions): Pick<Pool.Options, "connect"> {
  if (tls === undefined) return {};
  const connect = pool?.connect;
  if (typeof connect === "function") {
    throw new InvalidOptionError("pool.connect", "no connector beside tls, which would not reach it", connect);
  }
  return { connect: { ...connect, ...tlsContext(tls) } };
}
