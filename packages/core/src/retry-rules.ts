import { RETRY_BACKOFF, fullJitter } from "./backoff.ts";
import { type Env, isOneClock, resolveEnv } from "./env.ts";
import { Hedging } from "./hedging.ts";
import type { Latch } from "./latch.ts";
import { type RetryBudget, retryBudget } from "./retry-budget.ts";
import type { RetryOptions } from "./retry.ts";
import { TimeoutQueue } from "./timeout-queue.ts";

/** So many retries may be made for one that helps: with fewer good ones they are more load than use. */
const FRUIT = 3;
/** What a call that goes well at once leaves of the retries that brought nothing: it says little about the next one. */
const SOLACE = 0.98;

/** The options of {@link retry} with their defaults; shared by all calls. */
export class RetryRules {
  readonly env: Env;
  readonly maxAttempts: number;
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number;
  readonly budget: RetryBudget | undefined;
  readonly backoff: (attempt: number, error: unknown) => number;
  readonly retryable: (error: unknown, attempt: number) => boolean;
  readonly unsent: (error: unknown, attempt: number) => boolean;
  /** Only if calls are hedged. */
  readonly hedging: Hedging | undefined;
  readonly closed: Latch;
  /** For first attempts, which all have the same time, unless time and timers are of two clocks. */
  readonly queue: TimeoutQueue | undefined;
  /** Retries and hedges that brought nothing, less what has gone well since. */
  #fruitless = 0;

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
    const attemptMs = Math.min(this.timeoutMs, this.attemptTimeoutMs);
    const queues = attemptMs !== Infinity && isOneClock(options.env);
    this.queue = queues ? new TimeoutQueue(attemptMs, this.env) : undefined;
    const { hedge = false } = options;
    this.hedging =
      hedge === false ? undefined : new Hedging(hedge === true ? {} : hedge, this.env, isOneClock(options.env));
  }

  /** Whether the budget allows one more retry or hedge now; if so, it is charged. */
  withdraw(): boolean {
    const { budget } = this;
    if (budget === undefined) return true;
    if (!budget.withdraw(this.#fruitless)) return false;
    this.#fruitless++;
    return true;
  }

  /** Notes that a call went well, after so many attempts. */
  succeeded(attempts: number): void {
    if (this.#fruitless === 0) return;
    if (attempts > 1) this.#fruitless = Math.max(0, this.#fruitless - FRUIT);
    else this.#fruitless *= SOLACE;
  }
}
