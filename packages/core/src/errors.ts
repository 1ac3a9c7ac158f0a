const BRAND = Symbol.for("@rollcall/error");

/** The `code` of every error that Rollcall makes itself. */
export type DiscoveryErrorCode = "NO_ENDPOINTS" | "RETRY" | "TIMEOUT" | "CLOSED" | "INVALID_OPTION";

/** Why a call was given up: see {@link RetryError.reason}. */
export type RetryReason = "attempts" | "deadline" | "not-retryable" | "budget";

/** There is nothing to pick from. `cause` is the registry's error, if there is one. */
export class NoEndpointsError extends Error {
  override readonly name = "NoEndpointsError";
  readonly code = "NO_ENDPOINTS";
  readonly [BRAND] = true;
  readonly service: string;
  /** What was known of the service at that moment: `pending`, `live` or `stale`. */
  readonly state: string;

  constructor(service: string, state: string, cause?: unknown) {
    super(`no endpoints for service "${service}" (${state}${cause === undefined ? "" : `: ${messageOf(cause)}`})`, {
      cause,
    });
    this.service = service;
    this.state = state;
  }
}

/** Something took longer than it was given. */
export class TimeoutError extends Error {
  override readonly name = "TimeoutError";
  readonly code = "TIMEOUT";
  readonly [BRAND] = true;
  readonly timeoutMs: number;

  constructor(what: string, timeoutMs: number, cause?: unknown) {
    super(`${what} timed out after ${Math.round(timeoutMs)} ms`, { cause });
    this.timeoutMs = timeoutMs;
  }
}

/** It was used after it had been closed. */
export class ClosedError extends Error {
  override readonly name = "ClosedError";
  readonly code = "CLOSED";
  readonly [BRAND] = true;

  constructor(what: string, cause?: unknown) {
    super(`${what} is closed`, { cause });
  }
}

/** An option has a value that cannot work. Thrown while constructing, before anything was started. */
export class InvalidOptionError extends TypeError {
  override readonly name = "InvalidOptionError";
  readonly code = "INVALID_OPTION";
  readonly [BRAND] = true;
  /** Which option, as the caller would write it: `retry.timeoutMs`. */
  readonly path: string;
  /** What would have been accepted, in words. */
  readonly expected: string;
  /** What was given. */
  readonly got: unknown;

  constructor(path: string, expected: string, got: unknown, cause?: unknown) {
    super(`invalid option ${path}: expected ${expected}, got ${describe(got)}`, { cause });
    this.path = path;
    this.expected = expected;
    this.got = got;
  }
}

/**
 * A call that failed for good. `errors` holds what went wrong in each attempt, in order; `cause` is the last of them.
 *
 * `reason` says why there was no further attempt: all were used up, the deadline came (or would have come during the
 * back-off), the error was not retryable, or the retry budget was empty.
 */
export class RetryError extends AggregateError {
  override readonly name = "RetryError";
  readonly code = "RETRY";
  readonly [BRAND] = true;
  readonly reason: RetryReason;

  constructor(errors: readonly unknown[], reason: RetryReason) {
    const last = errors.at(-1);
    const earlier = errors.slice(0, -1).map(messageOf);
    const before = earlier.length === 0 ? "" : ` (previously: ${earlier.join("; ")})`;
    super(errors, `gave up (${reason}) after ${errors.length} failed: ${messageOf(last)}${before}`, { cause: last });
    this.reason = reason;
  }
}

/**
 * Whether `error` was made by Rollcall, and with this `code` if one is given. Use it instead of `instanceof`, which
 * fails when two copies of a package are installed.
 */
export function isDiscoveryError(error: unknown, code?: string): boolean {
  if (typeof error !== "object" || error === null || !(BRAND in error)) return false;
  return code === undefined || ("code" in error && error.code === code);
}

/** The message of anything that was thrown; never throws itself. */
export function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message;
  if (typeof error === "object" && error !== null) {
    // An error of another realm, or a plain object. What has no usable toString must not replace the real failure.
    return "message" in error && typeof error.message === "string"
      ? error.message
      : Object.prototype.toString.call(error);
  }
  return String(error);
}

function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === "function") return "a function";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object" && value !== null) return "an object";
  return String(value);
}
