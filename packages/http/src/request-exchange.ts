import type { Attempt, CallOptions, Instance } from "@rollcall/core";
import { type Dispatcher, errors } from "undici";
import type { IncomingRequest } from "./call-chain.ts";
import type { Answer, Receiver } from "./exchange.ts";
import type { ExchangeRules } from "./exchange-rules.ts";
import type { InstancePool } from "./instance-pool.ts";
import { normalizeMethod } from "./method.ts";
import { PoolExchange } from "./pool-exchange.ts";
import { ReceivedAnswer } from "./received-answer.ts";
import { type RequestBody, prepareBody } from "./request-body.ts";
import { type RequestHeaders, mergeHeaders } from "./request-headers.ts";
import { type Query, requestTarget } from "./request-target.ts";
import { destroyBody, dumpBody } from "./unread-body.ts";

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
  /**
   * The request that is being served by this one. Its deadline then bounds this one too, and if it is a repeated one,
   * this one is not: only what has not left is sent elsewhere. Default: that of the surrounding `whileServing`; `false`
   * for none.
   */
  readonly incoming?: IncomingRequest | false | undefined;
  /** Replaces the client's, for this request. */
  readonly headersTimeoutMs?: number | undefined;
  /** Replaces the client's, for this request. 0 for none. */
  readonly bodyTimeoutMs?: number | undefined;
}

/** A response as undici's, and who gave it. */
export interface HttpResponse extends Answer {
  readonly statusText: string;
  /** Read it, `dump()` it or `destroy()` it, as with undici: until then it may hold a connection and a slot. */
  readonly body: Dispatcher.ResponseData["body"];
  /** Filled when the body has ended. */
  readonly trailers: Record<string, string>;
  readonly instance: Instance;
}

/** What a client knows that all its requests need. */
export interface RequestRules extends ExchangeRules<InstancePool> {
  /** Sent with every request that does not set them: a flat list of names and values. */
  readonly headers: readonly string[];
}

/**
 * Sends a request as undici's `request()` does, by all the rules of {@link Exchange}.
 *
 * @throws what is wrong about the request, at once
 */
export function requestBalanced(rules: RequestRules, path: string, options: RequestOptions): Promise<HttpResponse> {
  const { content, contentType } = prepareBody(options.body, rules.maxReplayBytes);
  const defaults = contentType === undefined ? rules.headers : [...rules.headers, "content-type", contentType];
  const method = normalizeMethod(options.method);
  if (method === "CONNECT") throw new errors.InvalidArgumentError("CONNECT has no response to wait for: dispatch it");
  const request: Dispatcher.DispatchOptions = {
    path: requestTarget(path, options.query),
    method,
    // undici sends more kinds of bodies than its types admit.
    body: content as NonNullable<Dispatcher.DispatchOptions["body"]>,
    headers: mergeHeaders(defaults, options.headers) ?? null,
    headersTimeout: options.headersTimeoutMs ?? null,
    bodyTimeout: options.bodyTimeoutMs ?? null,
  };
  return new RequestExchange(rules, options, options.signal, request, content).run();
}

class RequestExchange extends PoolExchange<HttpResponse> {
  protected override handler(method: string, attempt: Attempt, receiver: Receiver<HttpResponse>): ReceivedAnswer {
    return new ReceivedAnswer(method, attempt, receiver);
  }

  protected override drop(answer: HttpResponse): void {
    dumpBody(answer.body);
  }

  protected override lose(answer: HttpResponse): void {
    destroyBody(answer.body);
  }

  protected override end(answer?: HttpResponse): void {
    if (answer !== undefined && this.signal !== undefined) this.transferOf(answer)?.follow(this.signal, answer.body);
    super.end(answer);
  }
}
