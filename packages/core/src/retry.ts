import { RETRY_BACKOFF, fullJitter } from "./backoff.ts";
import type { Balancer } from "./balancer.ts";
import { type Scope, bounded } from "./bounded.ts";
import { channels } from "./channels.ts";
import type { Endpoint } from "./endpoint.ts";
import { type Env, resolveEnv } from "./env.ts";
import { RetryError, type RetryReason, TimeoutError, isDiscoveryError } from "./errors.ts";
import { address } from "./instance.ts";
import { Latch } from "./latch.ts";
import type { Abortable } from "./lifecycle.ts";
import type { LoadReport } from "./load-report.ts";
import { checkOptions, is, required } from "./options.ts";
import { CANCELLED, type Outcome, type PickRequest, type PickResult, SUCCESS } from "./pick.ts";
import { type RetryBudget, retryBudget } from "./retry-budget.ts";

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
  readonly unsent?: ((error: unknown) => boolean) | undefined;
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
  readonly unsent?: ((error: unknown) => boolean) | undefined;
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
  env: is.env,
};

/**
 * Makes a {@link Call} over a balancer: picks, calls, and on failure picks another endpoint after a back-off, within a
 * deadline and a budget. Knows nothing of policies: it tells the balancer which endpoints this call has tried already.
 * Nothing to close.
 */
export function retry<C>(balancer: Balancer<C>, options: RetryOptions = {}): Call<C> {
  return retryUntil(balancer, options, new Latch());
}

/** As {@link retry}; when `closed` opens, no call stays in its back-off any longer: its next pick says why. */
export function retryUntil<C>(balancer: Balancer<C>, options: RetryOptions, closed: Latch): Call<C> {
  checkOptions("", { balancer }, { balancer: required(is.balancer) });
  checkOptions("", options, RETRY_CHECKS);
  const rules = new RetryRules(options, closed);
  return (fn, callOptions = {}) => new RetriedCall(balancer, rules, callOptions).run(fn);
}

/** The options with their defaults; shared by all calls. */
class RetryRules {
  readonly env: Env;
  readonly maxAttempts: number;
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number;
  readonly budget: RetryBudget | undefined;
  readonly backoff: (attempt: number, error: unknown) => number;
  readonly retryable: (error: unknown, attempt: number) => boolean;
  readonly unsent: (error: unknown) => boolean;
  readonly closed: Latch;

  constructor(options: RetryOptions, closed: Latch) {
    this.closed = closed;
    this.env = resolveEnv(options.env);
    this.maxAttempts = Math.max(1, options.maxAttempts ?? 3);
    this.timeoutMs = options.timeoutMs ?? 10_000;
    this.attemptTimeoutMs = options.attemptTimeoutMs ?? Infinity;
    this.budget = options.budget === false ? undefined : (options.budget ?? retryBudget({ env: this.env }));
    this.backoff = options.backoff ?? fullJitter(this.env, RETRY_BACKOFF);
    this.retryable = options.retryable ?? (() => true);
    this.unsent = options.unsent ?? (() => false);
  }
}

/** One call on its way through its attempts. */
class RetriedCall<C> {
  readonly #balancer: Balancer<C>;
  readonly #rules: RetryRules;
  readonly #options: CallOptions;
  readonly #timeoutMs: number;
  readonly #deadline: number;
  readonly #errors: unknown[] = [];
  /** What to pick by; `avoid` holds the caller's and those that failed. Made anew, as a balancer may keep what it got. */
  #request: PickRequest;
  /** The deadline has come, and this is the error for it. */
  #expired: TimeoutError | undefined;

  constructor(balancer: Balancer<C>, rules: RetryRules, options: CallOptions) {
    this.#balancer = balancer;
    this.#rules = rules;
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? rules.timeoutMs;
    this.#deadline = rules.env.now() + this.#timeoutMs;
    this.#request = { key: options.key, avoid: options.avoid };
  }

  async run<T>(fn: (client: C, attempt: Attempt) => T | PromiseLike<T>): Promise<T> {
    const { signal, timeoutMs, attemptTimeoutMs } = this.#options;
    if (timeoutMs !== undefined) is.durationMs(timeoutMs, "timeoutMs");
    if (attemptTimeoutMs !== undefined) is.durationMs(attemptTimeoutMs, "attemptTimeoutMs");
    signal?.throwIfAborted();
    this.#rules.budget?.deposit();
    for (let number = 1; ; number++) {
      // A timer that came late may have eaten what the back-off left.
      if (this.#leftMs() === 0) throw this.#tooLate();
      let lease: PickResult<C> | undefined;
      try {
        const picked = this.#pick();
        lease = picked instanceof Promise ? await picked : picked;
        return await this.#attempt(lease, number, fn);
      } catch (error) {
        signal?.throwIfAborted();
        if (lease === undefined && isDiscoveryError(error, "CLOSED")) throw error;
        this.#errors.push(error);
        if (lease !== undefined) this.#avoid(lease.endpoint);
        const next = this.#next(error, number);
        // The caller's own functions were asked: they may have aborted.
        signal?.throwIfAborted();
        if ("reason" in next) throw new RetryError(this.#errors, next.reason);
        await this.#pause(next.delayMs);
      }
    }
  }

  /** Picks at once, or as soon as the service is known and there is a first client. */
  #pick(): PickResult<C> | Promise<PickResult<C>> {
    try {
      return this.#balancer.pick(this.#request);
    } catch (error) {
      if (!isDiscoveryError(error, "NO_ENDPOINTS")) throw error;
      return this.#pickLater();
    }
  }

  async #pickLater(): Promise<PickResult<C>> {
    const expire = (): TimeoutError =>
      (this.#expired = new TimeoutError("waiting for endpoints", this.#timeoutMs, this.#whyNone()));
    await bounded(
      this.#rules.env,
      { timeoutMs: this.#leftMs(), onTimeout: expire, signal: this.#options.signal, keepAlive: true },
      ({ signal }) => this.#balancer.ready({ signal, any: true }),
    );
    // It may have come in the very moment of the deadline.
    if (this.#leftMs() === 0) throw expire();
    // Outside of what is bounded: nobody would end a pick that is made after the call has.
    return this.#balancer.pick(this.#request);
  }

  /** Why there is nothing to pick now: the registry may have failed while the call waited. */
  #whyNone(): unknown {
    try {
      this.#balancer.pick(this.#request)[Symbol.dispose]();
      return undefined;
    } catch (error) {
      return error;
    }
  }

  #avoid(endpoint: Endpoint): void {
    const { key, avoid } = this.#request;
    this.#request = { key, avoid: new Set(avoid).add(endpoint) };
  }

  /** Runs the function with the picked endpoint; whatever comes of it, the pick is ended or in the function's hands. */
  async #attempt<T>(
    lease: PickResult<C>,
    number: number,
    fn: (client: C, attempt: Attempt) => T | PromiseLike<T>,
  ): Promise<T> {
    const { endpoint } = lease;
    const { env } = this.#rules;
    const { attemptTimeoutMs = this.#rules.attemptTimeoutMs } = this.#options;
    const leftMs = this.#leftMs();
    const timeoutMs = Math.min(leftMs, attemptTimeoutMs);
    let held = false;
    const hold = (): ((outcome: Outcome) => void) => {
      held = true;
      return (outcome) => lease.done(outcome);
    };
    const startedAt = channels.attemptEnded.hasSubscribers ? env.now() : undefined;
    const end = (outcome: Outcome): void => {
      if (!held || outcome.kind !== "success") lease.done(outcome);
      if (startedAt === undefined) return;
      const { instance } = endpoint;
      const latencyMs = env.now() - startedAt;
      channels.attemptEnded.publish({ service: instance.service, instance, number, outcome, latencyMs });
    };
    try {
      const result = await bounded(
        env,
        {
          timeoutMs,
          onTimeout: () => {
            const error = new TimeoutError(`attempt ${number} at ${address(endpoint.instance)}`, timeoutMs);
            if (timeoutMs === leftMs) this.#expired = error;
            return error;
          },
          signal: this.#options.signal,
          keepAlive: true,
        },
        (scope) => fn(endpoint.client, new ScopedAttempt(scope, lease, number, hold)),
      );
      end(SUCCESS);
      return result;
    } catch (error) {
      end(this.#options.signal?.aborted === true ? CANCELLED : { kind: "failure", error });
      throw error;
    }
  }

  /** What follows a failed attempt: a pause, or the end and its reason. */
  #next(error: unknown, number: number): { readonly delayMs: number } | { readonly reason: RetryReason } {
    const { budget, maxAttempts, backoff } = this.#rules;
    if (this.#expired !== undefined && error === this.#expired) return { reason: "deadline" };
    const retryable = this.#options.retryable ?? this.#rules.retryable;
    if (!retryable(error, number)) return { reason: "not-retryable" };
    if (number >= maxAttempts) return { reason: "attempts" };
    const delayMs = Math.max(0, backoff(number, error) || 0);
    if (delayMs >= this.#leftMs()) return { reason: "deadline" };
    const unsent = this.#options.unsent ?? this.#rules.unsent;
    if (budget !== undefined && !unsent(error) && !budget.withdraw()) return { reason: "budget" };
    return { delayMs };
  }

  async #pause(delayMs: number): Promise<void> {
    const { signal } = this.#options;
    const { env, closed } = this.#rules;
    if (delayMs > 0) {
      const bounds = { timeoutMs: delayMs, onTimeout: () => undefined, signal, keepAlive: true };
      await bounded(env, bounds, (scope) => closed.wait(scope.signal)).catch(() => undefined);
    }
    signal?.throwIfAborted();
  }

  #tooLate(): RetryError {
    const errors = this.#errors.length > 0 ? this.#errors : [new TimeoutError("the call", this.#timeoutMs)];
    return new RetryError(errors, "deadline");
  }

  #leftMs(): number {
    return Math.max(0, this.#deadline - this.#rules.env.now());
  }
}

class ScopedAttempt implements Attempt {
  readonly endpoint: Endpoint;
  readonly number: number;
  readonly hold: () => (outcome: Outcome) => void;
  readonly #scope: Scope;
  readonly #lease: PickResult<unknown>;

  constructor(scope: Scope, lease: PickResult<unknown>, number: number, hold: () => (outcome: Outcome) => void) {
    this.#scope = scope;
    this.#lease = lease;
    this.endpoint = lease.endpoint;
    this.number = number;
    this.hold = hold;
  }

  get signal(): AbortSignal {
    return this.#scope.signal;
  }

  get report(): ((report: LoadReport) => void) | undefined {
    return this.#lease.report;
  }
}
