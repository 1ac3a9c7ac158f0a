import type { Dispatcher } from "undici";
import { retryAfterMs } from "./retry-after.ts";

/** Response headers as undici gives them: lower-case names. */
export type ResponseHeaders = Dispatcher.ResponseData["headers"];

/**
 * An endpoint answered with one of the statuses that count as its failure (`failureStatuses`).
 *
 * It is what `retryable` predicates, diagnostics channels and the `errors` of a `RetryError` see of such an answer. The
 * caller of `request` or `fetch` does not get it: when there is no further attempt, he gets the response itself.
 */
export class StatusError extends Error {
  override readonly name = "StatusError";
  readonly code = "HTTP_STATUS";
  readonly statusCode: number;
  readonly headers: ResponseHeaders;
  /** What `Retry-After` asked for, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** Whether the next attempt has to go to an endpoint that was asked before: `Retry-After` counts only then. */
  readonly exhausted: boolean;

  constructor(method: string, path: string, statusCode: number, headers: ResponseHeaders, exhausted: boolean) {
    // The query stays out of messages: they end up in logs, and queries hold secrets.
    super(`${method} ${path.split("?", 1)[0] ?? path} was answered with status ${statusCode}`);
    this.statusCode = statusCode;
    this.headers = headers;
    this.exhausted = exhausted;
    this.retryAfterMs = retryAfterMs(headers["retry-after"], headers["date"]);
  }
}

/** How long to leave the service alone because of this error: nothing, unless it says so and nobody else is left. */
export function waitAfter(error: unknown): number {
  return isStatusError(error) && error.exhausted ? (error.retryAfterMs ?? 0) : 0;
}

/** Whether `error` is a {@link StatusError}, also one of another copy of this package. */
export function isStatusError(error: unknown): error is StatusError {
  return error instanceof Error && "code" in error && error.code === "HTTP_STATUS" && "statusCode" in error;
}
