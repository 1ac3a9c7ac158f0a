import { BoundedWork } from "./bounded-work.ts";
import { channels } from "./channels.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Env } from "./env.ts";
import { TimeoutError } from "./errors.ts";
import { address } from "./instance.ts";
import type { LoadReport } from "./load-report.ts";
import { type Outcome, type PickResult, SUCCESS } from "./pick.ts";
import type { OpenAttempt } from "./open-call.ts";
import type { Attempt } from "./retry.ts";

/** For an attempt beside which there may be others. */
export interface Racer {
  readonly hedge: boolean;
  /** Ends it at once, as its signal would, with this reason. Does nothing when it has ended. Put in when it begins. */
  cut?: (reason: unknown) => void;
}

/** The call that an attempt belongs to. */
interface Caller {
  readonly rules: { readonly env: Env };
  /** What the endpoint is to learn from this error. */
  outcomeOf(error: unknown): Outcome;
  /** Hears that the time of the whole call is over. */
  expired(error: TimeoutError): void;
}

/** Hears how an attempt ended, once. */
export interface AttemptEnds<T> {
  resolve(value: T): void;
  reject(reason: unknown, endpoint: Endpoint, number: number): unknown;
}

/** What is called: once per attempt. */
export type Called<C, T> = (client: C, attempt: Attempt) => T | PromiseLike<T>;

/** An attempt that has begun: what its function gets to see of it, and what its endpoint learns from it. */
export class RunningAttempt<C, T> extends BoundedWork<T> implements OpenAttempt<T> {
  readonly endpoint: Endpoint;
  readonly number: number;
  readonly #call: Caller;
  readonly #lease: PickResult<C>;
  readonly #fn: Called<C, T>;
  readonly #ends: AttemptEnds<T>;
  readonly #timeoutMs: number;
  readonly #endsCall: boolean;
  readonly #isHedge: boolean;
  /** Only if somebody wants to know how long it took. */
  readonly #startedAt: number | undefined;
  #held = false;

  /** `endsCall`: whether the time of the call is over with that of the attempt. */
  constructor(
    call: Caller,
    lease: PickResult<C>,
    number: number,
    fn: Called<C, T>,
    ends: AttemptEnds<T>,
    timeoutMs: number,
    endsCall: boolean,
    racer?: Racer,
  ) {
    super();
    this.endpoint = lease.endpoint;
    this.number = number;
    this.#call = call;
    this.#lease = lease;
    this.#fn = fn;
    this.#ends = ends;
    this.#timeoutMs = timeoutMs;
    this.#endsCall = endsCall;
    this.#isHedge = racer?.hedge === true;
    this.#startedAt = channels.attemptEnded.hasSubscribers ? call.rules.env.now() : undefined;
    if (racer !== undefined) racer.cut = (reason) => this.cut(reason);
  }

  /** Bound, so that it may be taken out. */
  get hold(): () => (outcome: Outcome) => void {
    return this.#hold.bind(this);
  }

  #hold(): (outcome: Outcome) => void {
    this.#held = true;
    const lease = this.#lease;
    // Bound to nothing but the lease: the attempt has the promise, and so its result, which must not live as long.
    return lease.done.bind(lease);
  }

  get report(): ((report: LoadReport) => void) | undefined {
    return this.#lease.report;
  }

  protected override work(): T | PromiseLike<T> {
    return this.#fn(this.#lease.endpoint.client, this);
  }

  protected override tooLate(): TimeoutError {
    const error = timedOut(this.number, this.endpoint, this.#timeoutMs);
    if (this.#endsCall) this.#call.expired(error);
    return error;
  }

  protected override succeeded(value: T): void {
    try {
      this.#end(SUCCESS);
    } catch (error) {
      this.#reject(error);
      return;
    }
    this.#ends.resolve(value);
  }

  protected override failed(error: unknown): void {
    try {
      this.#end(this.#call.outcomeOf(error));
    } catch (thrown) {
      this.#reject(thrown);
      return;
    }
    this.#reject(error);
  }

  #reject(reason: unknown): void {
    this.#ends.reject(reason, this.endpoint, this.number);
  }

  /** What a policy throws when it is told is what comes of the attempt. */
  #end(outcome: Outcome): void {
    if (!this.#held || outcome.kind !== "success") this.#lease.done(outcome);
    if (this.#startedAt === undefined) return;
    const { number } = this;
    const { instance } = this.endpoint;
    const latencyMs = this.#call.rules.env.now() - this.#startedAt;
    const hedge = this.#isHedge;
    channels.attemptEnded.publish({ service: instance.service, instance, number, hedge, outcome, latencyMs });
  }
}

/** The error of an attempt that has used up its time. */
export function timedOut(number: number, endpoint: Endpoint, timeoutMs: number): TimeoutError {
  return new TimeoutError(`attempt ${number} at ${address(endpoint.instance)}`, timeoutMs);
}
