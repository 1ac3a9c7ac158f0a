import type { Balancer } from "./balancer.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Env } from "./env.ts";
import { HedgedCall } from "./hedged-call.ts";
import { type HedgeOptions, checkHedge } from "./hedging.ts";
import { Latch } from "./latch.ts";
import type { Abortable } from "./lifecycle.ts";
import type { LoadReport } from "./load-report.ts";
import type { OpenCall } from "./open-call.ts";
import { checkOptions, is, required } from "./options.ts";
import type { Outcome, PickRequest } from "./pick.ts";
import { RetriedCall } from "./retried-call.ts";
import type { RetryBudget } from "./retry-budget.ts";
import { RetryRules } from "./retry-rules.ts";
import type { Called } from "./running-attempt.ts";

/** What a called function is told about its attempt. */
export interface Attempt {
  /** Aborts when the attempt is over from outside: its time, the call's time, or the caller. Made when asked for. */
  readonly signal: AbortSignal;
  /** 1 for the first attempt of the call. */
  readonly number: number;
  readonly endpoint: Endpoint;
  /**
   * Keeps the endpoint's slot after the function has returned, until the returned function is called: for an answer
   * whose body is still coming. If the attempt fails after all, that counts and the returned function does nothing.
   */
  hold(): (outcome: Outcome) => void;
  /**
   * Tells the policy what the endpoint said of its load, as soon as that is known. Left out where the policy does not
   * want to know: then there is no need to read it. Never throws.
   */
  readonly report?: ((report: LoadReport) => void) | undefined;
}

/** What one call can be told. */
export interface CallOptions extends Abortable, PickRequest {
  /** Replaces the client's `retryable` for this call. */
  readonly retryable?: ((error: unknown, attempt: number) => boolean) | undefined;
  /** Replaces the client's `unsent` for this call. */
  readonly unsent?: ((error: unknown, attempt: number) => boolean) | undefined;
  /** `false`: this call is not hedged, though the client's others are. `true` changes nothing. */
  readonly hedge?: boolean | undefined;
  /** Replaces the client's `timeoutMs` for this call. */
  readonly timeoutMs?: number | undefined;
  /** Replaces the client's `attemptTimeoutMs` for this call. */
  readonly attemptTimeoutMs?: number | undefined;
}

/**
 * Calls a function with the client of a picked endpoint, again and again if need be.
 *
 * @throws RetryError when it gave up: `errors` and `reason` say why. The caller's own abort rejects with `signal.reason`
 * and a closed client with `ClosedError`, both unwrapped.
 */
export type Call<C> = <T>(fn: (client: C, attempt: Attempt) => T | PromiseLike<T>, options?: CallOptions) => Promise<T>;

/** What {@link retry} can be told. */
export interface RetryOptions {
  /** All attempts, the first one included. Default 3; below 1 means 1. */
  readonly maxAttempts?: number | undefined;
  /** Bounds the whole call: waiting, attempts and back-off. Default 10 s. */
  readonly timeoutMs?: number | undefined;
  /** Bounds each attempt. Default: only by `timeoutMs`. */
  readonly attemptTimeoutMs?: number | undefined;
  /** Bounds what retries add to the load. Default: 20 % of the calls + 10 per second, at least 3; `false` for no bound. */
  readonly budget?: RetryBudget | false | undefined;
  /** The delay in ms after this attempt (from 1) failed with this error. Default: full jitter, 25 ms base, 1 s cap. */
  readonly backoff?: ((attempt: number, error: unknown) => number) | undefined;
  /** Whether to try again after this error of this attempt (from 1). Default: always. */
  readonly retryable?: ((error: unknown, attempt: number) => boolean) | undefined;
  /**
   * Whether this error proves that nothing was sent. To try again then adds no load, and is not charged to the budget:
   * otherwise one dead copy that the registry still lists would use the budget up for all calls that the others can
   * take. Default: never. (gRPC calls such retries transparent: proposal A6.)
   */
  readonly unsent?: ((error: unknown, attempt: number) => boolean) | undefined;
  /**
   * Whether a call that has no answer when most others have one is also made at another endpoint, for what comes first.
   * The function is then called while it still runs, and has to bear that: default `false`. A hedge is one of
   * `maxAttempts`, and is charged to `budget`. The attempt that is overtaken is aborted and counts as cancelled.
   */
  readonly hedge?: HedgeOptions | boolean | undefined;
  readonly env?: Partial<Env> | undefined;
}

export const RETRY_CHECKS = {
  maxAttempts: is.number(-Infinity),
  timeoutMs: is.durationMs,
  attemptTimeoutMs: is.durationMs,
  budget: is.budget,
  backoff: is.function,
  retryable: is.function,
  unsent: is.function,
  hedge: checkHedge,
  env: is.env,
};

/**
 * Makes a {@link Call} over a balancer: picks, calls, and on failure picks another endpoint after a back-off, within a
 * deadline and a budget. Knows nothing of policies: it tells the balancer which endpoints this call has tried already.
 * Nothing to close.
 */
export function retry<C>(balancer: Balancer<C>, options: RetryOptions = {}): Call<C> {
  return promising(retryUntil(balancer, options, new Latch()));
}

/** As {@link retry}; when `closed` opens, no call stays in its back-off any longer: its next pick says why. */
export function retryUntil<C>(balancer: Balancer<C>, options: RetryOptions, closed: Latch): OpenCall<C> {
  checkOptions("", { balancer }, { balancer: required(is.balancer) });
  checkOptions("", options, RETRY_CHECKS);
  const rules = new RetryRules(options, closed);
  return (fn, callOptions, ends) => {
    const CallKind = rules.hedging === undefined || callOptions.hedge === false ? RetriedCall : HedgedCall;
    new CallKind(balancer, rules, callOptions, fn, ends).begin();
  };
}

/** The same call with a promise. */
export function promising<C>(open: OpenCall<C>): Call<C> {
  return <T>(fn: Called<C, T>, options: CallOptions = {}) => {
    const ends = Promise.withResolvers<T>();
    open(fn, options, ends);
    return ends.promise;
  };
}
