import type { Balancer } from "./balancer.ts";
import { bounded } from "./bounded.ts";
import type { Endpoint } from "./endpoint.ts";
import { RetryError, type RetryReason, TimeoutError, isDiscoveryError } from "./errors.ts";
import type { Ends } from "./open-call.ts";
import { is } from "./options.ts";
import { CANCELLED, type Outcome, type PickRequest, type PickResult } from "./pick.ts";
import type { RetryRules } from "./retry-rules.ts";
import type { CallOptions } from "./retry.ts";
import { type AttemptEnds, type Called, type Racer, RunningAttempt } from "./running-attempt.ts";

/**
 * One call on its way through its attempts. Settled by its attempt itself where that goes well: a call is made for each
 * request, and each promise on its way would cost a turn.
 */
export class RetriedCall<C, T> implements AttemptEnds<T> {
  readonly rules: RetryRules;
  protected readonly options: CallOptions;
  protected readonly fn: Called<C, T>;
  /** Attempts that were begun, those included for which nothing could be picked. */
  protected attempts = 0;
  /** What to pick by; `avoid` holds the caller's and those that failed. Made anew, as a balancer may keep what it got. */
  protected request: PickRequest;
  protected readonly errors: unknown[] = [];
  protected readonly balancer: Balancer<C>;
  readonly #ends: Ends<T>;
  readonly #timeoutMs: number;
  readonly #startedAt: number;
  /** Whether it has waited for anything: until then, no time has passed. */
  #waited = false;
  /** The deadline has come, and these are the errors for it: one for each attempt that was running. */
  #expired: TimeoutError[] | undefined;

  constructor(balancer: Balancer<C>, rules: RetryRules, options: CallOptions, fn: Called<C, T>, ends: Ends<T>) {
    this.balancer = balancer;
    this.rules = rules;
    this.options = options;
    this.fn = fn;
    this.#ends = ends;
    this.#timeoutMs = options.timeoutMs ?? rules.timeoutMs;
    this.#startedAt = rules.env.now();
    this.request = options;
  }

  begin(): void {
    const { signal, timeoutMs, attemptTimeoutMs, hedge } = this.options;
    try {
      if (timeoutMs !== undefined) is.durationMs(timeoutMs, "timeoutMs");
      if (attemptTimeoutMs !== undefined) is.durationMs(attemptTimeoutMs, "attemptTimeoutMs");
      if (hedge !== undefined) is.boolean(hedge, "hedge");
      signal?.throwIfAborted();
      this.rules.budget?.deposit();
      this.#try();
    } catch (error) {
      this.#ends.reject(error);
    }
  }

  /** An attempt went well. */
  resolve(value: T): void {
    this.rules.succeeded(this.attempts);
    this.#ends.resolve(value);
  }

  #try(): void {
    const number = ++this.attempts;
    // A timer that came late may have eaten what the back-off left.
    if (this.leftMs() === 0) throw this.#tooLate();
    let picked: PickResult<C> | Promise<PickResult<C>>;
    try {
      picked = this.#pick();
    } catch (error) {
      void this.reject(error, undefined, number);
      return;
    }
    if (picked instanceof Promise) {
      this.#waited = true;
      picked.then(
        (lease) => this.#ask(number, lease),
        (error: unknown) => this.reject(error, undefined, number),
      );
    } else this.#ask(number, picked);
  }

  #ask(number: number, lease: PickResult<C>): void {
    const limitMs = this.options.attemptTimeoutMs ?? this.rules.attemptTimeoutMs;
    // A timer that ends an attempt, but not the call, has the async context of whoever armed it; what follows, the caller's.
    if (limitMs < this.leftMs()) {
      new Promise<T>((resolve, reject) => this.ask(lease, number, this.fn, { resolve, reject })).then(
        (value) => this.resolve(value),
        (error: unknown) => this.reject(error, lease.endpoint, number),
      );
    } else this.ask(lease, number, this.fn, this);
    this.#waited = true;
  }

  /** An attempt failed, or found nothing to pick: tries again, or gives up. Never rejects. */
  async reject(error: unknown, endpoint: Endpoint | undefined, number: number): Promise<void> {
    try {
      // Not within the attempt, which has just ended and tells who listens to its signal.
      await Promise.resolve();
      const { signal } = this.options;
      signal?.throwIfAborted();
      if (endpoint === undefined && isDiscoveryError(error, "CLOSED")) throw error;
      const verdict = this.judge(error, number, endpoint);
      const next = verdict === undefined ? this.#next(error, number) : { reason: verdict };
      // The caller's own functions were asked: they may have aborted.
      signal?.throwIfAborted();
      if ("reason" in next) throw new RetryError(this.errors, next.reason);
      await this.#pause(next.delayMs);
      this.#try();
    } catch (failure) {
      this.#ends.reject(failure);
    }
  }

  /** Notes that an attempt failed, and where, if anywhere; returns why there must be none after this one, if so. */
  protected judge(error: unknown, number: number, endpoint: Endpoint | undefined): RetryReason | undefined {
    this.errors.push(error);
    if (endpoint !== undefined) {
      const { key, avoid } = this.request;
      this.request = { key, avoid: new Set(avoid).add(endpoint) };
    }
    if (this.#expired?.includes(error as TimeoutError) === true) return "deadline";
    const { options, rules } = this;
    // As a method: the options may be an object of some class.
    const again = (options.retryable ?? rules.retryable).call(options, error, number);
    return again ? undefined : "not-retryable";
  }

  /** Picks at once, or as soon as the service is known and there is a first client. */
  #pick(): PickResult<C> | Promise<PickResult<C>> {
    try {
      return this.balancer.pick(this.request);
    } catch (error) {
      if (!isDiscoveryError(error, "NO_ENDPOINTS")) throw error;
      return this.#pickLater();
    }
  }

  async #pickLater(): Promise<PickResult<C>> {
    const expire = (): TimeoutError => {
      const error = new TimeoutError("waiting for endpoints", this.#timeoutMs, this.#whyNone());
      this.expired(error);
      return error;
    };
    await bounded(
      this.rules.env,
      { timeoutMs: this.leftMs(), onTimeout: expire, signal: this.options.signal, keepAlive: true },
      ({ signal }) => this.balancer.ready({ signal, any: true }),
    );
    // It may have come in the very moment of the deadline.
    if (this.leftMs() === 0) throw expire();
    // Outside of what is bounded: nobody would end a pick that is made after the call has.
    return this.balancer.pick(this.request);
  }

  /** Why there is nothing to pick now: the registry may have failed while the call waited. */
  #whyNone(): unknown {
    try {
      this.balancer.pick(this.request)[Symbol.dispose]();
      return undefined;
    } catch (error) {
      return error;
    }
  }

  /**
   * Runs the function with the picked endpoint; whatever comes of it, the pick is ended or in the function's hands, and
   * `ends` are told. `racer` is given for attempts that race.
   */
  protected ask(lease: PickResult<C>, number: number, fn: Called<C, T>, ends: AttemptEnds<T>, racer?: Racer): void {
    const { rules, options } = this;
    const leftMs = this.leftMs();
    const timeoutMs = Math.min(leftMs, options.attemptTimeoutMs ?? rules.attemptTimeoutMs);
    const attempt = new RunningAttempt<C, T>(this, lease, number, fn, ends, timeoutMs, timeoutMs === leftMs, racer);
    if (!attempt.watch(options.signal)) return;
    // Retries end with the call, each in its own time.
    if (timeoutMs === rules.queue?.timeoutMs) {
      attempt.queueUp(rules.queue, this.#waited ? rules.env.now() : this.#startedAt);
    } else if (timeoutMs !== Infinity) attempt.limit(rules.env, timeoutMs, true);
    attempt.begin();
  }

  /** Notes that the deadline has come, and which error stands for it. */
  expired(error: TimeoutError): void {
    (this.#expired ??= []).push(error);
  }

  /** What the endpoint is to learn from an attempt that ended with this error. */
  outcomeOf(error: unknown): Outcome {
    return this.options.signal?.aborted === true ? CANCELLED : { kind: "failure", error };
  }

  /** What follows a failed attempt that may be repeated: a pause, or the end and its reason. */
  #next(error: unknown, number: number): { readonly delayMs: number } | { readonly reason: RetryReason } {
    const { maxAttempts, backoff } = this.rules;
    if (this.attempts >= maxAttempts) return { reason: "attempts" };
    const delayMs = Math.max(0, backoff(this.attempts, error) || 0);
    if (delayMs >= this.leftMs()) return { reason: "deadline" };
    const { options, rules } = this;
    const unsent = (options.unsent ?? rules.unsent).call(options, error, number);
    if (!unsent && !rules.withdraw()) return { reason: "budget" };
    return { delayMs };
  }

  async #pause(delayMs: number): Promise<void> {
    const { signal } = this.options;
    const { env, closed } = this.rules;
    if (delayMs > 0) {
      const bounds = { timeoutMs: delayMs, onTimeout: () => undefined, signal, keepAlive: true };
      await bounded(env, bounds, (scope) => closed.wait(scope.signal)).catch(() => undefined);
    }
    signal?.throwIfAborted();
  }

  #tooLate(): RetryError {
    const errors = this.errors.length > 0 ? this.errors : [new TimeoutError("the call", this.#timeoutMs)];
    return new RetryError(errors, "deadline");
  }

  protected leftMs(): number {
    return this.#waited ? Math.max(0, this.#startedAt + this.#timeoutMs - this.rules.env.now()) : this.#timeoutMs;
  }
}
