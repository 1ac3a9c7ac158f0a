import {
  type Attempt as CallAttempt,
  type Balancer,
  type Call,
  type Env,
  InvalidOptionError,
  type RetryError,
  type RetryOptions,
  isDiscoveryError,
  retry,
} from "@rollcall/core";
import { Attempt, type AttemptOwner, type Result, type SimulatedCall } from "./attempt.ts";
import { AttemptError } from "./attempt-error.ts";
import type { CallerParts } from "./direct-caller.ts";
import type { Server } from "./server.ts";

/** Makes calls through the real `retry` of core, one per client, each with its budget. */
export class RetryingCaller implements AttemptOwner {
  readonly #calls: readonly Call<Server>[];
  readonly #parts: CallerParts;
  readonly #waiting = new Map<Attempt, Waiting>();
  /** Calls that have not ended. */
  open = 0;
  /** Promises may be under way: let them run before time goes on. */
  stirred = false;
  /** What no call should throw: a policy or an option is broken. */
  broken: { readonly error: unknown } | undefined;

  /** The client with number n lives in `envs[n]`. */
  constructor(balancers: readonly Balancer<Server>[], envs: readonly Env[], options: RetryOptions, parts: CallerParts) {
    try {
      this.#calls = balancers.map((balancer, client) =>
        retry(balancer, Object.assign({}, options, { env: envs[client] })),
      );
    } catch (error) {
      if (!(error instanceof InvalidOptionError)) throw error;
      throw new InvalidOptionError(`retry.${error.path}`, error.expected, error.got);
    }
    this.#parts = parts;
  }

  call(call: SimulatedCall): void {
    const { tally, now } = this.#parts;
    const its = this.#calls[call.client];
    if (its === undefined) return;
    this.open++;
    this.stirred = true;
    void its((server, attempt) => this.#attempt(call, server, attempt), { key: call.key }).then(
      () => {
        this.open--;
        tally.ended(call, "ok", now());
      },
      (error: unknown) => {
        this.open--;
        const result = resultOf(error);
        if (result === undefined) this.broken ??= { error };
        else tally.ended(call, result, now());
      },
    );
  }

  ended(attempt: Attempt, result: Result): void {
    const waiting = this.#waiting.get(attempt);
    if (waiting === undefined) return;
    this.#waiting.delete(attempt);
    this.stirred = true;
    if (attempt.reported >= 0) waiting.report?.({ inFlight: attempt.reported });
    if (result === "ok") return waiting.resolve();
    this.#parts.tally.failed(attempt.call, attempt.server);
    waiting.reject(new AttemptError(result));
  }

  #attempt(call: SimulatedCall, server: Server, { number, signal, report }: CallAttempt): Promise<void> {
    const attempt = new Attempt(call, number, server, this, undefined);
    this.#parts.tally.sent(call, server);
    this.#parts.send(attempt);
    return new Promise((resolve, reject) => {
      this.#waiting.set(attempt, { resolve, reject, report });
      // Its time is over, or another attempt was quicker: what comes of it now is nobody's business.
      signal.addEventListener("abort", () => {
        if (attempt.isOver) return;
        attempt.isOver = true;
        this.#waiting.delete(attempt);
        if (isDiscoveryError(signal.reason, "TIMEOUT")) this.#parts.tally.failed(call, server);
      });
    });
  }
}

/** Who waits for an attempt. */
interface Waiting {
  resolve(): void;
  reject(error: AttemptError): void;
  readonly report: CallAttempt["report"];
}

/** How the last attempt ended; undefined: as no attempt should. */
function resultOf(error: unknown): Result | undefined {
  if (!isDiscoveryError(error, "RETRY")) return undefined;
  const last: unknown = (error as RetryError).errors.at(-1);
  if (last instanceof AttemptError) return last.result;
  if (isDiscoveryError(last, "NO_ENDPOINTS")) return "none";
  return isDiscoveryError(last, "TIMEOUT") ? "timeout" : undefined;
}
