import type { Result } from "./attempt.ts";

/** What an attempt that failed throws: in the outcome for policies, and for `retryable` and `unsent` of the retry options. */
export class AttemptError extends Error {
  override readonly name = "AttemptError";
  readonly result: Result;

  constructor(result: Result) {
    super(`the attempt ended: ${result}`);
    this.result = result;
  }
}
