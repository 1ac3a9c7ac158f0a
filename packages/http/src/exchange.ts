import {
  type Attempt,
  CANCELLED,
  type CallOptions,
  type Endpoint,
  type Ends,
  OPEN_CALL,
  type OpenAttempt,
  type OpenClient,
  TOLD,
  isDiscoveryError,
} from "@rollcall/core";
import {
  ATTEMPT_HEADER,
  DEADLINE_HEADER,
  type IncomingRequest,
  isRetried,
  remainingMs,
  servedBy,
} from "./call-chain.ts";
import { type Failure, isIdempotent } from "./failure.ts";
import type { ExchangeRules } from "./exchange-rules.ts";
import { hearReport } from "./hear-report.ts";
import { type ResponseHeaders, StatusError, waitAfter } from "./status-error.ts";

/** The head of a response: all that an exchange has to know of it. */
export interface Answer {
  readonly statusCode: number;
  readonly headers: ResponseHeaders;
}

/** One request, as far as it matters for its attempts. */
export interface ExchangeOptions extends CallOptions {
  /** Default: by the method. */
  readonly idempotent?: boolean | undefined;
  /** The request that is being served by this one. Default: that of the surrounding `whileServing`. */
  readonly incoming?: IncomingRequest | false | undefined;
}

/** Who waits for the head of an answer: hears of it, or of what was in its way, in the async context of the attempt. */
export interface Receiver<A> {
  answered(answer: A, attempt: Attempt): void;
  failed(error: unknown, attempt: Attempt): void;
}

/**
 * One request and all that is done to get it answered: its attempts, what may be repeated, and the last response. How
 * it is sent, and what can be known of that, is for those who extend it.
 *
 * An answer with a failing status is kept until it is known what becomes of it: the next attempt drops it, and without
 * one it is what the caller gets.
 *
 * It is itself what core is told of the call, who hears of its end, and of that of each attempt: every further object
 * for each request would be more work than all of the balancing.
 */
export abstract class Exchange<C, A extends Answer> implements CallOptions, Ends<A | Invalid>, Receiver<A> {
  readonly signal: AbortSignal | undefined;
  readonly key: CallOptions["key"];
  readonly avoid: CallOptions["avoid"];
  readonly timeoutMs: number | undefined;
  readonly attemptTimeoutMs: number | undefined;
  /** Whether attempts may run at the same time. */
  hedge = false;
  readonly #rules: ExchangeRules<C>;
  readonly #options: ExchangeOptions;
  readonly #method: string;
  readonly #path: string;
  readonly #idempotent: boolean;
  /** Only what has not left may be sent again. */
  readonly #onlyOnce: boolean;
  /** When the caller will have given up, if instances are told. */
  readonly #endsAt: number | undefined;
  /** Attempts that a server may have seen, be it for the request that is being served: the mark travels on. */
  #seen: number;
  #refused: { readonly error: StatusError; readonly answer: A } | undefined;
  #failedAt: Set<Endpoint> | undefined;
  /** Attempts that run, without the one that begins. Counted only if hedged. */
  #underWay = 0;
  #ends: Ends<A> | undefined;

  /** `path` is the request target, for messages. */
  constructor(
    rules: ExchangeRules<C>,
    method: string,
    path: string,
    options: ExchangeOptions,
    signal: AbortSignal | undefined,
  ) {
    this.#rules = rules;
    this.#options = options;
    this.#method = method;
    this.#path = path;
    this.#idempotent = options.idempotent ?? isIdempotent(method);
    this.signal = signal;
    this.key = options.key;
    this.avoid = options.avoid;
    this.attemptTimeoutMs = options.attemptTimeoutMs;
    const { timeoutMs } = options;
    const incoming = servedBy(options.incoming);
    this.#onlyOnce = incoming !== undefined && isRetried(incoming);
    this.#seen = this.#onlyOnce ? 1 : 0;
    const leftMs = incoming === undefined ? Infinity : remainingMs(incoming);
    this.timeoutMs = leftMs === Infinity ? timeoutMs : Math.min(timeoutMs ?? rules.timeoutMs, leftMs);
    if (rules.sendDeadline) this.#endsAt = rules.env.now() + (this.timeoutMs ?? rules.timeoutMs);
  }

  /** Makes an attempt, and tells when the head of its response is here, or that there will be none. */
  protected abstract send(client: C, attempt: Attempt, receiver: Receiver<A>): void;
  /** What an error of this attempt means. */
  protected abstract classify(error: unknown, attempt: number): Failure;
  /** Whether the request's body can be sent once more from its beginning. */
  protected abstract get replayable(): boolean;
  /** Whether two attempts can send it at the same time, and their answers be told apart. */
  protected abstract get mayOverlap(): boolean;
  /** Keeps the attempt's slot until the body of the answer has ended. */
  protected abstract hold(attempt: Attempt, answer: A): void;
  /** Gives up an answer that nobody gets. */
  protected abstract drop(answer: A): void;
  /** This attempt is over, or else the last one, be it from outside: whatever has no answer yet ends now. */
  protected abstract cut(reason: unknown, attempt?: number): void;
  /** Ends an answer that came too late: another attempt's was taken. */
  protected abstract lose(answer: A): void;
  /** There will be no further attempt: this answer is the caller's, or, without one, the exchange has failed. */
  protected abstract end(answer?: A): void;

  /** Runs it to its end. Resolves with a response of any status, rejects as `Client.call` does. */
  run(): Promise<A> {
    const ends = Promise.withResolvers<A>();
    this.begin(ends);
    return ends.promise;
  }

  /** The same without a promise: `ends` may be told before this returns. */
  begin(ends: Ends<A>): void {
    const { client, hedges } = this.#rules;
    this.#ends = ends;
    this.hedge = hedges && this.#options.hedge !== false && this.#idempotent && !this.#onlyOnce && this.mayOverlap;
    (client as OpenClient<C>)[OPEN_CALL]((instance, attempt) => this.#attempt(instance, attempt), this, this);
  }

  /** The call has an answer, or has found that there can be none. */
  resolve(outcome: A | Invalid): void {
    if (this.hedge) this.#dropRefused();
    if ("invalid" in outcome) {
      this.end();
      this.#ends?.reject(outcome.invalid);
    } else {
      this.end(outcome);
      this.#ends?.resolve(outcome);
    }
  }

  /** The call has failed. The last answer is the caller's, if that is what it failed with. */
  reject(error: unknown): void {
    if (!this.hedge) this.cut(error);
    const refused = this.#refused;
    if (refused !== undefined && isDiscoveryError(error, "RETRY") && error instanceof AggregateError) {
      if (error.errors.at(-1) === refused.error) {
        this.end(refused.answer);
        this.#ends?.resolve(refused.answer);
        return;
      }
    }
    this.#dropRefused();
    this.end();
    this.#ends?.reject(error);
  }

  /** An attempt has an answer. */
  answered(answer: A, attempt: Attempt): void {
    const open = attempt as OpenAttempt<A>;
    try {
      open.succeed(this.#receive(attempt, answer));
    } catch (error) {
      open.fail(error);
    }
  }

  /** An attempt has failed, or cannot be made at all. */
  failed(error: unknown, attempt: Attempt): void {
    const open = attempt as OpenAttempt<Invalid>;
    try {
      open.succeed(this.#fail(attempt, error));
    } catch (failure) {
      open.fail(failure);
    }
  }

  retryable(error: unknown, attempt: number): boolean {
    // Before the pause, not when the next attempt begins. Where there may be others, its signal does it.
    if (!this.hedge) this.cut(error);
    const unsent = this.classify(error, attempt) === "unsent";
    if (!unsent) this.#seen++;
    if (!this.replayable || (this.#onlyOnce && !unsent)) return false;
    const rule = this.#options.retryable ?? this.#rules.retryable;
    if (rule !== undefined) return rule(error, attempt);
    return unsent || (this.#idempotent && waitAfter(error) <= MAX_RETRY_AFTER_MS);
  }

  unsent(error: unknown, attempt: number): boolean {
    const rule = this.#options.unsent ?? this.#rules.unsent;
    return rule === undefined ? this.classify(error, attempt) === "unsent" : rule(error, attempt);
  }

  /** What the next attempt says of itself: a flat list of names and values, or nothing. */
  protected chainHeaders(): string[] | undefined {
    // Those that run may have been seen, too.
    const seen = this.#seen + this.#underWay;
    if (seen === 0 && this.#endsAt === undefined) return undefined;
    const headers: string[] = [];
    if (seen > 0) headers.push(ATTEMPT_HEADER, String(seen + 1));
    const { env } = this.#rules;
    const { attemptTimeoutMs = this.#rules.attemptTimeoutMs ?? Infinity } = this;
    // This request is given up with its attempt, even if another one follows.
    const leftMs = this.#endsAt === undefined ? Infinity : Math.min(attemptTimeoutMs, this.#endsAt - env.now());
    if (leftMs !== Infinity) headers.push(DEADLINE_HEADER, String(Math.max(0, Math.floor(leftMs))));
    return headers;
  }

  /** Without a promise where it can be, as without `async` on all of the way: each would allocate some hundred bytes. */
  #attempt(client: C, attempt: Attempt): Promise<A | Invalid> {
    this.#dropRefused();
    if (this.hedge) {
      return this.#race(client, attempt).then(
        (answer) => this.#receive(attempt, answer),
        (error: unknown) => this.#fail(attempt, error),
      );
    }
    try {
      this.send(client, attempt, this);
    } catch (error) {
      this.failed(error, attempt);
    }
    return TOLD as never;
  }

  #receive(attempt: Attempt, answer: A): A {
    hearReport(attempt, answer);
    if (this.#rules.failureStatuses.has(answer.statusCode)) throw this.#refuse(answer, attempt.endpoint);
    this.hold(attempt, answer);
    return answer;
  }

  #fail({ endpoint, number, hold }: Attempt, error: unknown): Invalid {
    if (this.classify(error, number) !== "invalid") {
      this.#failedAt = (this.#failedAt ?? new Set()).add(endpoint);
      throw error;
    }
    // Thrown, it would count against the endpoint.
    hold()(CANCELLED);
    return { invalid: error };
  }

  /** An attempt beside which there may be others: its signal says when it has lost, and then nothing is left of it. */
  async #race(client: C, attempt: Attempt): Promise<A> {
    const { signal, number } = attempt;
    let answer: A | undefined;
    signal.addEventListener("abort", () => {
      if (answer === undefined) this.cut(signal.reason, number);
      else this.lose(answer);
    });
    const sending = new Promise<A>((answered, failed) => this.send(client, attempt, { answered, failed }));
    this.#underWay++;
    try {
      answer = await sending;
    } finally {
      this.#underWay--;
    }
    if (signal.aborted) this.lose(answer);
    signal.throwIfAborted();
    return answer;
  }

  #refuse(answer: A, endpoint: Endpoint): StatusError {
    this.#failedAt = (this.#failedAt ?? new Set()).add(endpoint);
    const error = new StatusError(this.#method, this.#path, answer.statusCode, answer.headers, this.#allAsked());
    // Of an attempt that ran at the same time.
    this.#dropRefused();
    this.#refused = { error, answer };
    return error;
  }

  /** Whether every endpoint that could be asked next has been asked already, to no avail. */
  #allAsked(): boolean {
    return this.#rules.client.endpoints.every(
      (endpoint) =>
        endpoint.instance.weight === 0 || this.#failedAt?.has(endpoint) === true || this.avoid?.has(endpoint) === true,
    );
  }

  #dropRefused(): void {
    if (this.#refused !== undefined) this.drop(this.#refused.answer);
    this.#refused = undefined;
  }
}

/** A request that cannot be sent: the caller's mistake, or his stream's failure. */
interface Invalid {
  readonly invalid: unknown;
}

/** A longer `Retry-After` is not waited for, whatever the deadline: the answer is passed on instead. */
const MAX_RETRY_AFTER_MS = 30_000;
