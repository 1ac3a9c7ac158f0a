import { type Abortable, type Closable, type Endpoint, closable, is } from "@rollcall/core";
import type { Dispatcher } from "undici";
import { type BalanceOptions, dispatchBalanced } from "./dispatch-exchange.ts";
import { type FetchInit, fetchBalanced } from "./fetch-balanced.ts";
import type { HttpClientOptions } from "./http-options.ts";
import { type HttpResponse, type RequestOptions, requestBalanced } from "./request-exchange.ts";
import { requestRules } from "./request-rules.ts";
import { RunningRelays } from "./running-relays.ts";

/**
 * HTTP to a service, whichever of its instances answers.
 *
 * What is sent again, and what is not:
 * - A request of which no byte has left (refused, unreachable, unresolvable, TLS failed, connection lost while it
 *   waited) is tried elsewhere, whatever its method.
 * - Once bytes have left, only idempotent requests are: by their method, or because the caller says so (`idempotent`).
 *   That holds for broken connections and time-outs as well as for the failing statuses (429, 502, 503, 504).
 * - A body that is a stream can be sent again only from memory (`maxReplayBytes`); other bodies always can.
 * - `Retry-After` is honoured when no other instance is left to ask, unless it is longer than the deadline or 30 s.
 *
 * When there is no further attempt, the caller gets the last response, whatever its status; if the last attempt got
 * none, core's `RetryError`, whose `errors` are undici's. A request that cannot be sent at all (a bad header) rejects with
 * undici's own error. The deadline (`retry.timeoutMs`, `timeoutMs`) holds until the response's head is here; the
 * caller's signal holds for the body too.
 */
export interface HttpClient extends Closable {
  /**
   * undici's `request()`, balanced: the fast path. `path` starts with one slash. Redirects and compressed bodies come as
   * they are. The body has to be read, dumped or destroyed: it counts as load of its instance until it has arrived.
   */
  request(path: string, options?: RequestOptions): Promise<HttpResponse>;
  /**
   * The same with a standard `Response`: `input` is a path or a URL whose host is the service's name. Decompresses;
   * follows redirects that stay within the service, and hands over any other as the response.
   */
  fetch(input: string | URL, init?: FetchInit): Promise<Response>;
  /**
   * undici's `dispatch()`, balanced: for those who pass an answer on as it comes, such as gateways. Nothing is made of
   * it in between. The handler gets a `RelayController`, and is told of everything, once: the only thing that is thrown is
   * that there is none.
   */
  dispatch(options: DispatchRequest, handler: Dispatcher.DispatchHandler): void;
  /** Bounds each call that does not say otherwise, until its answer begins (`retry.timeoutMs`). */
  readonly timeoutMs: number;
  readonly endpoints: readonly Endpoint[];
  /** Resolves when the service is known. Requests wait by themselves; this is for those who want to know before. */
  ready(options?: Abortable): Promise<void>;
}

/** A request as undici's `dispatch` takes it, without the origin, which the balancer chooses, and how it is balanced. */
export interface DispatchRequest
  extends
    Omit<Dispatcher.DispatchOptions, "origin" | "idempotent" | "body">,
    Pick<RequestOptions, keyof BalanceOptions | "body"> {}

/**
 * Makes an {@link HttpClient}: one undici pool per instance. Starts to discover at once, connects at the first request.
 * The caller closes it, which lets running requests end for at most `drainMs`.
 *
 * @throws InvalidOptionError
 */
export function httpClient(options: HttpClientOptions): HttpClient {
  const rules = requestRules(options);
  const { client, timeoutMs } = rules;
  const { service } = options.instancer;
  const dispatchRules = { ...rules, once: false };
  const running = new RunningRelays();
  const request = (path: string, requestOptions: RequestOptions = {}): Promise<HttpResponse> => {
    try {
      return requestBalanced(rules, path, requestOptions);
    } catch (error) {
      return Promise.reject(error);
    }
  };
  return {
    request,
    fetch: async (input, init = {}) => fetchBalanced(service, request, input, init),
    dispatch: (request, handler) => {
      is.object(handler, "handler");
      dispatchBalanced(dispatchRules, request as Dispatcher.DispatchOptions, handler, running);
    },
    timeoutMs,
    get endpoints() {
      return client.endpoints;
    },
    ready: (readyOptions) => client.ready(readyOptions),
    ...closable(() => client.close()),
  };
}
