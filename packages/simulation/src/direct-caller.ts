import {
  type Balancer,
  type Outcome,
  type PickRequest,
  type PickResult,
  SUCCESS,
  isDiscoveryError,
} from "@rollcall/core";
import { Attempt, type AttemptOwner, type Result, type SimulatedCall } from "./attempt.ts";
import { AttemptError } from "./attempt-error.ts";
import type { Server } from "./server.ts";
import type { Tally } from "./tally.ts";

/** What a caller has around it. */
export interface CallerParts {
  readonly tally: Tally;
  now(): number;
  /** Puts an attempt on its way. */
  send(attempt: Attempt): void;
  /** Ends an attempt with `timeout`, when it is time. */
  limit(attempt: Attempt): void;
}

const ANY: PickRequest = Object.freeze({});

/** Makes calls of one attempt each, with no promise on the way: that is what makes it quick. */
export class DirectCaller implements AttemptOwner {
  readonly #balancers: readonly Balancer<Server>[];
  readonly #parts: CallerParts;
  /** Calls that have not ended. */
  open = 0;

  constructor(balancers: readonly Balancer<Server>[], parts: CallerParts) {
    this.#balancers = balancers;
    this.#parts = parts;
  }

  call(call: SimulatedCall): void {
    const { client, key } = call;
    const { tally, now } = this.#parts;
    let lease: PickResult<Server> | undefined;
    try {
      lease = this.#balancers[client]?.pick(key === undefined ? ANY : { key });
    } catch (error) {
      if (!isDiscoveryError(error, "NO_ENDPOINTS")) throw error;
    }
    if (lease === undefined) return tally.ended(call, "none", now());
    this.begin(new Attempt(call, 1, lease.endpoint.client, this, lease));
  }

  begin(attempt: Attempt): void {
    this.open++;
    this.#parts.tally.sent(attempt.call, attempt.server);
    this.#parts.limit(attempt);
    this.#parts.send(attempt);
  }

  ended({ call, server, lease, reported }: Attempt, result: Result): void {
    const { tally, now } = this.#parts;
    this.open--;
    if (reported >= 0 && result !== "timeout") lease?.report?.({ inFlight: reported });
    lease?.done(result === "ok" ? SUCCESS : FAILURES[result]);
    if (result !== "ok") tally.failed(call, server);
    tally.ended(call, result, now());
  }
}

const FAILURES = Object.fromEntries(
  (["failed", "full", "refused", "timeout", "none"] as const).map((result) => [
    result,
    Object.freeze({ kind: "failure", error: new AttemptError(result) }),
  ]),
) as Record<Exclude<Result, "ok">, Outcome>;
