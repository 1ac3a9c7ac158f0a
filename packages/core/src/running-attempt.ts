import { BoundedWork } from "./bounded-work.ts";
import { channels } from "./channels.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Env } from "./env.ts";
import { TimeoutError } from "./errors.ts";
import { address } from "./instance.ts";
import type { LoadReport } from "./load-report.ts";
import { type Outcome, type PickResult, SUCCESS } from "./pick.ts";
import type { Attempt } from "./retry.ts";

/** For an attempt beside which there may be others. */
export interface Racer {
  readonly hedge: boolean;
  /** Ends it at once, as its signal would, with this reason. Does nothing when it has ended. Put in when it begins. */
  cut?: (reason: unknown) => void;
}

/** The call that an attempt belongs to. */
interface Caller {
  readonly env: Env;
  /** What the endpoint is to learn from this error. */
  outcomeOf(error: unknown): Outcome;
  /** Hears that the time of the whole call is over. */
  expired(error: TimeoutError): void;
}

/** What is known of an attempt when it begins. */
interface Beginning<C, T> {
  readonly fn: (client: C, attempt: Attempt) => T | PromiseLike<T>;
  readonly lease: PickResult<C>;
  readonly number: number;
  readonly racer: Racer | undefined;
  readonly timeoutMs: number;
  /** Whether the time of the call is over with that of the attempt. */
  readonly endsCall: boolean;
}

/**
 * What a called function may use instead of a promise, where one for each call is too much: it returns {@link TOLD}, and
 * says by these how it has ended. They are to be called in the async context of the function. Not where calls are hedged.
 */
export interface OpenAttempt<T> extends Attempt {
  /** It has ended well. Does nothing when it has ended before, be it by its deadline. */
  succeed(value: T): void;
  /** Likewise, with an error. */
  fail(error: unknown): void;
}

/** An attempt that has begun: what its function gets to see of it, and what its endpoint learns from it. */
export class RunningAttempt<C, T> extends BoundedWork<T> implements Attempt {
  readonly endpoint: Endpoint;
  readonly number: number;
  readonly #call: Caller;
  readonly #beginning: Beginning<C, T>;
  /** Only if somebody wants to know how long it took. */
  readonly #startedAt: number | undefined;
  #held = false;

  constructor(
    call: Caller,
    beginning: Beginning<C, T>,
    resolve: (value: T) => void,
    reject: (reason: unknown) => void,
  ) {
    super(resolve, reject);
    const { lease, number, racer } = beginning;
    this.endpoint = lease.endpoint;
    this.number = number;
    this.#call = call;
    this.#beginning = beginning;
    this.#startedAt = channels.attemptEnded.hasSubscribers ? call.env.now() : undefined;
    if (racer !== undefined) racer.cut = (reason) => this.cut(reason);
  }

  /** Bound, so that it may be taken out. */
  get hold(): () => (outcome: Outcome) => void {
    return this.#hold.bind(this);
  }

  #hold(): (outcome: Outcome) => void {
    this.#held = true;
    const { lease } = this.#beginning;
    // Bound to nothing but the lease: the attempt has the promise, and so its result, which must not live as long.
    return lease.done.bind(lease);
  }

  get report(): ((report: LoadReport) => void) | undefined {
    return this.#beginning.lease.report;
  }

  protected override work(): T | PromiseLike<T> {
    const { fn, lease } = this.#beginning;
    return fn(lease.endpoint.client, this);
  }

  protected override tooLate(): TimeoutError {
    const { number, timeoutMs, endsCall } = this.#beginning;
    const error = timedOut(number, this.endpoint, timeoutMs);
    if (endsCall) this.#call.expired(error);
    return error;
  }

  protected override succeeded(): void {
    this.#end(SUCCESS);
  }

  protected override failed(error: unknown): void {
    this.#end(this.#call.outcomeOf(error));
  }

  #end(outcome: Outcome): void {
    const { lease, number, racer } = this.#beginning;
    if (!this.#held || outcome.kind !== "success") lease.done(outcome);
    if (this.#startedAt === undefined) return;
    const { instance } = this.endpoint;
    const latencyMs = this.#call.env.now() - this.#startedAt;
    const hedge = racer?.hedge === true;
    channels.attemptEnded.publish({ service: instance.service, instance, number, hedge, outcome, latencyMs });
  }
}

/** The error of an attempt that has used up its time. */
export function timedOut(number: number, endpoint: Endpoint, timeoutMs: number): TimeoutError {
  return new TimeoutError(`attempt ${number} at ${address(endpoint.instance)}`, timeoutMs);
}
