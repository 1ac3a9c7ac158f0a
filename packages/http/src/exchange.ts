import {
  type Attempt,
  type CallOptions,
  type Client,
  type Endpoint,
  type Instance,
  InvalidOptionError,
  isDiscoveryError,
} from "@rollcall/core";
import type { Dispatcher } from "undici";
import { classify, isIdempotent } from "./failure.ts";
import type { InstancePool } from "./instance-pool.ts";
import { type PreparedBody, type RequestBody, prepareBody } from "./request-body.ts";
import { type RequestHeaders, mergeHeaders } from "./request-headers.ts";
import { type Query, requestTarget } from "./request-target.ts";
import { ReplayStream } from "./replay-stream.ts";
import { type ResponseHeaders, StatusError, waitAfter } from "./status-error.ts";
import { Transfer, type TransferOptions } from "./transfer.ts";
import { dumpBody } from "./unread-body.ts";

/** One request, as {@link HttpClient.request} is told. */
export interface RequestOptions extends CallOptions {
  /** Default `GET`. */
  readonly method?: string | undefined;
  /** Added to the client's `headers`; the same name replaces the client's. */
  readonly headers?: RequestHeaders | undefined;
  /** Appended to the path's own query. */
  readonly query?: Query | undefined;
  readonly body?: RequestBody;
  /**
   * Whether doing it twice has the effect of doing it once, so that it may be sent again after bytes have left.
   * Default: by the method (`GET HEAD OPTIONS TRACE PUT DELETE` as in RFC 9110, and `QUERY`).
   */
  readonly idempotent?: boolean | undefined;
  /** Replaces the client's, for this request. */
  readonly headersTimeoutMs?: number | undefined;
  /** Replaces the client's, for this request. 0 for none. */
  readonly bodyTimeoutMs?: number | undefined;
}

/** undici's response, and who gave it. */
export interface HttpResponse {
  readonly statusCode: number;
  readonly statusText: string;
  readonly headers: ResponseHeaders;
  /** Read it, `dump()` it or `destroy()` it, as with undici: until then it may hold a connection and a slot. */
  readonly body: Dispatcher.ResponseData["body"];
  /** Filled when the body has ended. */
  readonly trailers: Record<string, string>;
  readonly instance: Instance;
}

/** What a client knows that all its exchanges need. */
export interface ExchangeRules {
  readonly client: Client<InstancePool>;
  /** A flat list of names and values. */
  readonly headers: readonly string[];
  readonly failureStatuses: ReadonlySet<number>;
  readonly maxReplayBytes: number;
  /** The client's own predicate, if it has one. */
  readonly retryable: ((error: unknown, attempt: number) => boolean) | undefined;
  /** Likewise. */
  readonly unsent: ((error: unknown) => boolean) | undefined;
}

/**
 * One request and all that is done to get it answered: its attempts, what may be repeated, and the last response.
 *
 * An answer with a failing status is kept until it is known what becomes of it: the next attempt dumps it, and without
 * one it is what the caller gets.
 */
export class Exchange {
  readonly #rules: ExchangeRules;
  readonly #options: RequestOptions;
  readonly #request: TransferOptions;
  readonly #body: PreparedBody["content"];
  readonly #idempotent: boolean;
  #transfer: Transfer | undefined;
  #refused: { readonly error: StatusError; readonly response: HttpResponse } | undefined;
  #failedAt: Set<Endpoint> | undefined;

  constructor(rules: ExchangeRules, path: string, options: RequestOptions) {
    const { content, contentType } = prepareBody(options.body, rules.maxReplayBytes);
    const defaults = contentType === undefined ? rules.headers : [...rules.headers, "content-type", contentType];
    const method = normalizeMethod(options.method);
    this.#rules = rules;
    this.#options = options;
    this.#body = content;
    this.#idempotent = options.idempotent ?? isIdempotent(method);
    this.#request = {
      path: requestTarget(path, options.query),
      method,
      // undici sends more kinds of bodies than its types admit.
      body: content as NonNullable<Dispatcher.DispatchOptions["body"]>,
      headers: mergeHeaders(defaults, options.headers) ?? null,
      headersTimeout: options.headersTimeoutMs ?? null,
      bodyTimeout: options.bodyTimeoutMs ?? null,
    };
  }

  /** Runs it to its end. Resolves with a response of any status, rejects as `Client.call` does. */
  async run(): Promise<HttpResponse> {
    const { signal, key, avoid, timeoutMs } = this.#options;
    const options: CallOptions = {
      signal,
      key,
      avoid,
      timeoutMs,
      retryable: (error, number) => this.#retryable(error, number),
      unsent: this.#options.unsent ?? this.#rules.unsent ?? ((error) => this.#unsent(error)),
    };
    let outcome: HttpResponse | Invalid;
    try {
      outcome = await this.#rules.client.call((pool, attempt) => this.#attempt(pool, attempt), options);
    } catch (error) {
      outcome = this.#giveUp(error);
    }
    if ("invalid" in outcome) {
      this.#closeBody();
      throw outcome.invalid;
    }
    if (signal !== undefined) this.#transfer?.follow(signal, outcome.body);
    if (this.#body instanceof ReplayStream) this.#transfer?.whenEnded(() => this.#closeBody());
    return outcome;
  }

  async #attempt(pool: InstancePool, attempt: Attempt): Promise<HttpResponse | Invalid> {
    this.#dropRefused();
    const transfer = new Transfer();
    this.#transfer = transfer;
    this.#request.transfer = transfer;
    const { signal, endpoint } = attempt;
    signal.addEventListener("abort", transfer);
    let data: Dispatcher.ResponseData;
    try {
      data = await pool.request(this.#request);
    } catch (error) {
      if (!this.#isOwnFault(error, transfer)) {
        this.#failedAt = (this.#failedAt ?? new Set()).add(endpoint);
        throw error;
      }
      // Thrown, it would count against the endpoint.
      attempt.hold()({ kind: "cancelled" });
      return { invalid: error };
    } finally {
      signal.removeEventListener("abort", transfer);
    }
    const { statusCode, statusText, headers, body, trailers } = data;
    const response = { statusCode, statusText, headers, body, trailers, instance: endpoint.instance };
    if (this.#rules.failureStatuses.has(statusCode)) throw this.#refuse(response, endpoint);
    transfer.hold(attempt);
    return response;
  }

  #isOwnFault(error: unknown, transfer: Transfer): boolean {
    if (this.#body instanceof ReplayStream && this.#body.failedWith(error)) return true;
    return classify(error, transfer.started) === "invalid";
  }

  #refuse(response: HttpResponse, endpoint: Endpoint): StatusError {
    this.#failedAt = (this.#failedAt ?? new Set()).add(endpoint);
    const { method, path } = this.#request;
    const error = new StatusError(method, path, response.statusCode, response.headers, this.#allAsked());
    this.#refused = { error, response };
    return error;
  }

  /** Whether every endpoint that could be asked next has been asked already, to no avail. */
  #allAsked(): boolean {
    const { avoid } = this.#options;
    return this.#rules.client.endpoints.every(
      (endpoint) =>
        endpoint.instance.weight === 0 || this.#failedAt?.has(endpoint) === true || avoid?.has(endpoint) === true,
    );
  }

  #retryable(error: unknown, attempt: number): boolean {
    if (this.#body instanceof ReplayStream && !this.#body.replayable) return false;
    const rule = this.#options.retryable ?? this.#rules.retryable;
    if (rule !== undefined) return rule(error, attempt);
    return this.#unsent(error) || (this.#idempotent && waitAfter(error) <= MAX_RETRY_AFTER_MS);
  }

  #unsent(error: unknown): boolean {
    return classify(error, this.#transfer?.started === true) === "unsent";
  }

  /** The last answer, if it is what the call failed with; otherwise the error stands. */
  #giveUp(error: unknown): HttpResponse {
    const refused = this.#refused;
    if (refused !== undefined && isDiscoveryError(error, "RETRY") && error instanceof AggregateError) {
      if (error.errors.at(-1) === refused.error) return refused.response;
    }
    this.#dropRefused();
    this.#closeBody();
    throw error;
  }

  #dropRefused(): void {
    if (this.#refused !== undefined) dumpBody(this.#refused.response.body);
    this.#refused = undefined;
  }

  /** A stream that nobody will read on is given up. */
  #closeBody(): void {
    if (this.#body instanceof ReplayStream) this.#body.close();
  }
}

/** A request that cannot be sent: the caller's mistake, or his stream's failure. */
interface Invalid {
  readonly invalid: unknown;
}

/** A longer `Retry-After` is not waited for, whatever the deadline: the answer is passed on instead. */
const MAX_RETRY_AFTER_MS = 30_000;

const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]);

/** Upper case for the usual methods, as `fetch` does; the others are case-sensitive and stay as they are. */
export function normalizeMethod(method = "GET"): string {
  if (METHODS.has(method)) return method;
  if (typeof method !== "string") throw new InvalidOptionError("method", "an HTTP method", method);
  const upper = method.toUpperCase();
  return METHODS.has(upper) ? upper : method;
}
