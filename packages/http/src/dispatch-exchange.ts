import type { Attempt } from "@rollcall/core";
import type { Dispatcher } from "undici";
import type { Receiver } from "./exchange.ts";
import { normalizeMethod } from "./method.ts";
import { onlyError } from "./only-error.ts";
import { PoolExchange } from "./pool-exchange.ts";
import { Relay } from "./relay.ts";
import { RelayedAnswer } from "./relayed-answer.ts";
import { prepareBody } from "./request-body.ts";
import type { RequestOptions, RequestRules } from "./request-exchange.ts";
import { mergeHeaders } from "./request-headers.ts";
import { requestTarget } from "./request-target.ts";
import type { RunningRelays } from "./running-relays.ts";

/**
 * What a single request can be told of how it is balanced: beside undici's own options, wherever those reach the
 * dispatcher whole (`request`, `stream`, `pipeline`, `dispatch`; not `fetch`, which takes standard ones only). undici's
 * types know nothing of them, but let them be spread in:
 *
 * ```ts
 * import { memoryRegistry } from "@rollcall/core";
 * import { type BalanceOptions, discoveryDispatcher } from "@rollcall/http";
 * import { request } from "undici";
 *
 * const dispatcher = discoveryDispatcher({ registry: memoryRegistry() });
 * const balance: BalanceOptions = { key: "user-7", timeoutMs: 500, idempotent: true };
 * await request("http://lorem/word", { dispatcher, method: "POST", ...balance });
 * ```
 */
export interface BalanceOptions extends Pick<
  RequestOptions,
  "key" | "avoid" | "timeoutMs" | "attemptTimeoutMs" | "incoming"
> {
  /** As of {@link RequestOptions}. undici has this one too, and its types take no `undefined`. */
  readonly idempotent?: boolean;
}

/** What a dispatcher knows of a service that all requests to it need. */
export interface DispatchRules extends RequestRules {
  /** Whether there is one attempt only: then its own error is passed on, for whoever repeats it. */
  readonly once: boolean;
}

/**
 * Sends what was dispatched to the service, by all the rules of {@link Exchange}, and passes the answer on to `handler`.
 * Never throws; the relay is in `running` until its end.
 */
export function dispatchBalanced(
  rules: DispatchRules,
  options: Dispatcher.DispatchOptions,
  handler: Dispatcher.DispatchHandler,
  running: RunningRelays,
): void {
  const relay = new Relay(handler, running);
  try {
    handler.onRequestStart?.(relay, null);
    new DispatchExchange(rules, options, relay).begin({
      resolve() {},
      // Not before who dispatches has the stream that is to fail: undici's pipeline returns it only after this.
      reject: (error) => queueMicrotask(() => relay.fail(rules.once ? onlyError(error) : error)),
    });
  } catch (error) {
    queueMicrotask(() => relay.fail(error));
  }
}

class DispatchExchange extends PoolExchange<RelayedAnswer> {
  readonly #rules: DispatchRules;
  readonly #relay: Relay;

  constructor(rules: DispatchRules, options: Dispatcher.DispatchOptions, relay: Relay) {
    const { content, contentType } = prepareBody(options.body, rules.maxReplayBytes);
    const defaults = contentType === undefined ? rules.headers : [...rules.headers, "content-type", contentType];
    const method = normalizeMethod(options.method);
    // A tunnel names the host it leads to.
    if (method !== "CONNECT") requestTarget(options.path);
    const headers = mergeHeaders(defaults, options.headers);
    const asItIs = method === options.method && content === options.body && headers === options.headers;
    // undici sends more kinds of bodies than its types admit.
    const body = content as NonNullable<Dispatcher.DispatchOptions["body"]>;
    const request = asItIs ? options : { ...options, method, body, headers: headers ?? null };
    // It has all that core uses of a signal.
    super(rules, options, relay.signal as unknown as AbortSignal, request, content);
    this.#rules = rules;
    this.#relay = relay;
    relay.exchange = this;
  }

  /** Ends an answer that is on its way. */
  abort(reason: unknown): void {
    this.transferOf()?.abort(reason);
  }

  protected override handler(_: string, attempt: Attempt, receiver: Receiver<RelayedAnswer>): RelayedAnswer {
    return new RelayedAnswer(this.#relay, this.#rules.failureStatuses, attempt, receiver);
  }

  protected override get replayable(): boolean {
    return !this.#relay.expired && super.replayable;
  }

  /** An answer is passed on as it comes, to one handler: there is no taking it back for another one. */
  protected override get mayOverlap(): boolean {
    return false;
  }

  protected override lose(answer: RelayedAnswer): void {
    answer.drop();
  }

  protected override drop(answer: RelayedAnswer): void {
    answer.drop();
  }

  protected override end(answer?: RelayedAnswer): void {
    answer?.release();
    // A stream that was not touched is as good as new: whoever dispatched it may want to send it elsewhere.
    if (answer !== undefined || this.body?.touched === true) super.end(answer);
  }
}
