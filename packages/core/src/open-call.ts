import type { Client } from "./client.ts";
import type { Attempt, CallOptions } from "./retry.ts";

// For libraries that make a call of each of their requests: where one has to be quick, each promise on its way counts.

/** Hears how something ended, once. */
export interface Ends<T> {
  resolve(value: T): void;
  reject(reason: unknown): void;
}

/** A `Call` that tells its end to `ends`, at once or later. Never throws. */
export type OpenCall<C> = <T>(
  fn: (client: C, attempt: Attempt) => T | PromiseLike<T>,
  options: CallOptions,
  ends: Ends<T>,
) => void;

/** Where a client has its {@link OpenCall}. */
export const OPEN_CALL: unique symbol = Symbol();

/** What `createClient` really makes. */
export interface OpenClient<C> extends Client<C> {
  readonly [OPEN_CALL]: OpenCall<C>;
}

/** Returned by a called function that tells by its {@link OpenAttempt} how it has ended. */
export const TOLD: unique symbol = Symbol();

/**
 * What a called function may use instead of a promise: it returns {@link TOLD}, and says by these how it has ended, in
 * its own async context. Not where calls are hedged.
 */
export interface OpenAttempt<T> extends Attempt {
  /** It has ended well. Does nothing when it has ended before, be it by its deadline. */
  succeed(value: T): void;
  /** Likewise, with an error. */
  fail(error: unknown): void;
}
