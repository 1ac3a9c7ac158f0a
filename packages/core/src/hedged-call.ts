import type { Endpoint } from "./endpoint.ts";
import type { RetryReason } from "./errors.ts";
import type { Hedging } from "./hedging.ts";
import { type Outcome, type PickResult, SUPERSEDED } from "./pick.ts";
import { RetriedCall } from "./retried-call.ts";
import { type AttemptEnds, type Called, type Racer, timedOut } from "./running-attempt.ts";

/** A timer that comes later than this says that the process stood still, and that answers may lie unread. */
const LATE_MS = 10;

/** One of the attempts that run at the same time. */
interface Runner extends Racer {
  readonly number: number;
  readonly endpoint: Endpoint;
  readonly startedAt: number;
}

/**
 * A {@link RetriedCall} that does not put all on one endpoint: an attempt that takes long is joined by another one
 * elsewhere, and the first good answer counts. As long as one of them runs, a failure is nothing but noted; one that must
 * not be repeated ends them all.
 */
export class HedgedCall<C, T> extends RetriedCall<C, T> {
  /** Calls are hedged only by rules that have it. */
  readonly #hedging = this.rules.hedging as Hedging;
  readonly #racing = new Set<Runner>();
  #hedges = 0;
  /** How many times the usual delay to wait. */
  #patience = 1;
  #cancelTimer: (() => void) | undefined;
  #winner: Runner | undefined;
  /** Why those who were overtaken were aborted. */
  #overtaken: DOMException | undefined;
  /** What the last failure means for the call. */
  #verdict: RetryReason | undefined;
  /** What the caller's own rule threw when it was asked: the call fails with it. */
  #thrown: { readonly error: unknown } | undefined;

  override begin(): void {
    this.#hedging.deposit();
    super.begin();
  }

  /** Fails with the last error, when all have failed, or with the first that must not be repeated. */
  protected override ask(first: PickResult<C>, number: number, fn: Called<C, T>, ends: AttemptEnds<T>): void {
    const { watch } = this.#hedging;
    watch.started(watch.now());
    const race = new Promise<T>((resolve, reject) => {
      const start = (lease: PickResult<C>, number: number, hedge: boolean): void => {
        const racer: Runner = { hedge, number, endpoint: lease.endpoint, startedAt: this.rules.env.now() };
        this.#racing.add(racer);
        const raced: Called<C, T> = async (client, attempt) => {
          const value = await fn(client, attempt);
          this.#arrive(racer);
          return value;
        };
        const running = new Promise<T>((settle, reject) =>
          super.ask(lease, number, raced, { resolve: settle, reject }, racer),
        );
        running.then(resolve, (error: unknown) => {
          if (racer === this.#winner || (this.#racing.delete(racer) && this.#isLost(error, racer))) reject(error);
        });
      };
      const hedge = (): void => {
        const lease = this.#pickOther();
        // Asked again when twice as late: what the budget has for few is to go to the slowest.
        if (lease === undefined) this.#patience *= 2;
        else {
          this.#hedges++;
          start(lease, ++this.attempts, true);
        }
        this.#await(hedge);
      };
      start(first, number, false);
      this.#await(hedge);
    });
    race
      .finally(() => watch.ended())
      .then(
        (value) => ends.resolve(value),
        (error: unknown) => ends.reject(error, first.endpoint, number),
      );
  }

  protected override judge(error: unknown, number: number, endpoint: Endpoint | undefined): RetryReason | undefined {
    if (this.#thrown !== undefined) throw this.#thrown.error;
    // The others have been judged when they failed.
    return endpoint === undefined ? super.judge(error, number, endpoint) : this.#verdict;
  }

  override outcomeOf(error: unknown): Outcome {
    return error === this.#overtaken && error !== undefined ? SUPERSEDED : super.outcomeOf(error);
  }

  /** Has `hedge` run when most attempts would have been answered, unless this one has ended by then. */
  #await(hedge: () => void): void {
    const { env, maxAttempts } = this.rules;
    const { maxHedges } = this.#hedging;
    const delayMs = this.#hedging.delayMs * this.#patience;
    if (this.#racing.size === 0 || this.#hedges >= maxHedges || this.attempts >= maxAttempts) return;
    if (delayMs >= this.leftMs()) return;
    const dueAt = env.now() + delayMs;
    this.#cancelTimer = env.after(
      delayMs,
      () => {
        if (env.now() - dueAt > LATE_MS) this.#await(hedge);
        else hedge();
      },
      { keepAlive: true },
    );
  }

  /** An endpoint that this call has not asked yet, if there is one and it may be asked. */
  #pickOther(): PickResult<C> | undefined {
    const { key, avoid } = this.request;
    const asked = new Set(avoid);
    for (const { endpoint } of this.#racing) asked.add(endpoint);
    let lease: PickResult<C> | undefined;
    try {
      lease = this.balancer.pick({ key, avoid: asked });
      if (!asked.has(lease.endpoint) && this.#hedging.withdraw() && this.rules.withdraw()) return lease;
    } catch {
      // No hedge then: the attempt that runs may do well. If not, a retry meets the same error, and fails with it.
    }
    lease?.[Symbol.dispose]();
    return undefined;
  }

  /**
   * The first one wins, in the very moment in which its answer is there: another answer may be no more than a promise
   * away, and is then still cut off, so that whoever waits for the abort can give it up.
   */
  #arrive(racer: Runner): void {
    if (!this.#racing.delete(racer)) return;
    this.#winner = racer;
    this.#learn(racer);
    this.#overtake();
  }

  /** Whether the race ends with this failure. */
  #isLost(error: unknown, { number, endpoint }: Runner): boolean {
    // The caller's own abort ends all of them, and says nothing.
    if (this.options.signal?.aborted === true) return this.#stop();
    try {
      this.#verdict = super.judge(error, number, endpoint);
    } catch (thrown) {
      this.#thrown = { error: thrown };
      this.#overtake();
      return true;
    }
    if (this.#verdict === "deadline") this.#expire();
    else if (this.#verdict !== undefined) this.#overtake();
    return this.#racing.size === 0 && this.#stop();
  }

  /** Ends those who are still running, as being of no use any more. */
  #overtake(): void {
    this.#stop();
    for (const racer of this.#racing) {
      this.#learn(racer);
      racer.cut?.((this.#overtaken ??= new DOMException("decided by another attempt", "AbortError")));
    }
    this.#racing.clear();
  }

  /** Ends those who are still running, as being too late. */
  #expire(): void {
    const { env } = this.rules;
    for (const { number, endpoint, startedAt, cut } of this.#racing) {
      const error = timedOut(number, endpoint, env.now() - startedAt);
      this.errors.push(error);
      cut?.(error);
    }
    this.#racing.clear();
  }

  /** Takes the time of attempts that nobody has waited for before they began, unless the process itself stood still. */
  #learn({ hedge, startedAt }: Runner): void {
    const { watch } = this.#hedging;
    const nowMs = watch.now();
    if (!hedge && startedAt >= watch.wokeAt) this.#hedging.learn(nowMs - startedAt, nowMs);
  }

  #stop(): true {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    return true;
  }
}
