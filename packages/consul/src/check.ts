import { type Instance, InvalidOptionError, address, checkOptions, is, required } from "@rollcall/core";

/**
 * How Consul finds out that an instance is dead:
 *
 * - `ttlMs` (default, 30 s): the instance says by itself that it is alive, three times as often, and every 5 s at least.
 *   Needs no connection from Consul to the instance, and notices a frozen event loop.
 * - `http`: the agent requests a path of the instance (`/health`) or a whole URL; any 2xx is alive.
 * - `tcp`: the agent connects to the instance (`true`), or to another `host:port`.
 */
export type ConsulCheck =
  | { readonly ttlMs?: number | undefined }
  | { readonly http: string; readonly intervalMs?: number | undefined; readonly timeoutMs?: number | undefined }
  | { readonly tcp: true | string; readonly intervalMs?: number | undefined; readonly timeoutMs?: number | undefined };

/** The part of a check's definition that depends on its kind. */
export type CheckDefinition =
  | { readonly TTL: string }
  | { readonly HTTP: string; readonly Interval: string; readonly Timeout: string }
  | { readonly TCP: string; readonly Interval: string; readonly Timeout: string };

/** Well above the outages that a network has: instances that cannot reach Consul for 20 s must not all disappear. */
export const DEFAULT_TTL_MS = 30_000;
const DEFAULT_INTERVAL_MS = 5_000;
const DEFAULT_TIMEOUT_MS = 2_000;

/** The longest time that any of Consul's durations may be given, in milliseconds: 30 days. */
export const MAX_MS = 30 * 24 * 3_600_000;

const PERIOD = { intervalMs: is.number(1_000, MAX_MS), timeoutMs: is.number(1, MAX_MS) };

/** @throws InvalidOptionError unless it is a {@link ConsulCheck}. */
export function checkConsulCheck(value: unknown, path: string): void {
  is.object(value, path);
  if ("http" in (value as object)) checkOptions(path, value, { http: required(checkHttp), ...PERIOD });
  else if ("tcp" in (value as object)) checkOptions(path, value, { tcp: required(checkTcp), ...PERIOD });
  else checkOptions(path, value, { ttlMs: is.number(100, MAX_MS) });
}

/** Writes a check as Consul wants it, for an instance. */
export function defineCheck(check: ConsulCheck, instance: Instance): CheckDefinition {
  if ("http" in check) {
    const url = check.http.startsWith("/") ? `http://${address(instance)}${check.http}` : check.http;
    return { HTTP: url, ...period(check) };
  }
  if ("tcp" in check) return { TCP: check.tcp === true ? address(instance) : check.tcp, ...period(check) };
  return { TTL: duration(check.ttlMs ?? DEFAULT_TTL_MS) };
}

/** Milliseconds as Consul writes them; it takes whole ones only. */
export function duration(ms: number): string {
  return `${Math.ceil(ms)}ms`;
}

function period(check: { readonly intervalMs?: number | undefined; readonly timeoutMs?: number | undefined }) {
  return {
    Interval: duration(check.intervalMs ?? DEFAULT_INTERVAL_MS),
    Timeout: duration(check.timeoutMs ?? DEFAULT_TIMEOUT_MS),
  };
}

function checkHttp(value: unknown, path: string): void {
  if (typeof value === "string" && value.startsWith("/") && URL.canParse(`http://host${value}`)) return;
  try {
    is.url(value, path);
  } catch {
    throw new InvalidOptionError(path, "a path that starts with /, or an absolute http:// or https:// URL", value);
  }
}

function checkTcp(value: unknown, path: string): void {
  if (value === true || (typeof value === "string" && /^\S+:\d{1,5}$/.test(value))) return;
  throw new InvalidOptionError(path, 'true, or a string "host:port"', value);
}
