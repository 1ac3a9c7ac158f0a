import { getEventListeners } from "node:events";
import { manualClock } from "@rollcall/testing";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { drivenInstancer } from "../test/driven-instancer.ts";
import { lorems } from "../test/lorem.ts";
import { createBalancer } from "./balancer.ts";
import type { Endpoint } from "./endpoint.ts";
import { createEndpointer } from "./endpointer.ts";
import { roundRobin } from "./policies/round-robin.ts";
import { RetryError, type RetryReason, isDiscoveryError } from "./errors.ts";
import { type Attempt, retry } from "./retry.ts";

/** What the called function does in one attempt. `afterMs` 0 is at once, without a timer. */
interface Act {
  readonly ends: "well" | "badly" | "never";
  readonly afterMs: number;
  /** Whether it reacts to its signal, and then how. */
  readonly heeds: "ignores" | "rejects" | "resolves";
  /** Throws or returns instead of answering with a promise, where it answers at once. */
  readonly sync: boolean;
}

interface Script {
  readonly endpoints: number;
  /** When the service becomes known; `undefined`: before the call. */
  readonly knownAtMs: number | undefined;
  readonly acts: readonly Act[];
  readonly maxAttempts: number;
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number | undefined;
  /** Cycled. */
  readonly delays: readonly number[];
  /** Which attempts may be tried again; cycled. */
  readonly retryable: readonly boolean[];
  readonly budget: number | false;
  /** When the caller aborts; 0: before the call. */
  readonly abortAtMs: number | undefined;
}

const act: fc.Arbitrary<Act> = fc.record({
  ends: fc.oneof(
    { weight: 2, arbitrary: fc.constant("well" as const) },
    { weight: 6, arbitrary: fc.constant("badly" as const) },
    { weight: 1, arbitrary: fc.constant("never" as const) },
  ),
  afterMs: fc.oneof(fc.constant(0), fc.nat(120)),
  heeds: fc.constantFrom("ignores" as const, "rejects" as const, "resolves" as const),
  sync: fc.boolean(),
});

const maybe = (arbitrary: fc.Arbitrary<number>): fc.Arbitrary<number | undefined> =>
  fc.option(arbitrary, { nil: undefined, freq: 2 });

const script: fc.Arbitrary<Script> = fc.record({
  endpoints: fc.nat(4),
  knownAtMs: maybe(fc.nat(200)),
  acts: fc.array(act, { minLength: 8, maxLength: 8 }),
  maxAttempts: fc.integer({ min: -1, max: 7 }),
  timeoutMs: fc.oneof(fc.nat(300), fc.constant(10_000)),
  attemptTimeoutMs: maybe(fc.integer({ min: 0, max: 150 })),
  delays: fc.array(fc.constantFrom(0, 0, 1, 10, 60, 250, Number.NaN, -5, Infinity), { minLength: 1, maxLength: 4 }),
  retryable: fc.array(fc.boolean(), { minLength: 1, maxLength: 4 }).map((all) => (all.some(Boolean) ? all : [true])),
  budget: fc.oneof(fc.constant(false as const), fc.nat(6)),
  abortAtMs: maybe(fc.nat(300)),
});

type Expected =
  | { readonly kind: "well"; readonly atMs: number; readonly starts: readonly number[] }
  | { readonly kind: "aborted"; readonly atMs: number; readonly starts: readonly number[]; readonly inAttempt: boolean }
  | {
      readonly kind: RetryReason;
      readonly atMs: number;
      readonly starts: readonly number[];
      readonly errors: readonly string[];
    };

/** What the contract says must come of it, worked out with arithmetic alone. */
function expected({ acts, delays, retryable, ...given }: Script): Expected {
  const starts: number[] = [];
  const errors: string[] = [];
  const abortAt = given.abortAtMs ?? Infinity;
  const deadline = given.timeoutMs;
  const maxAttempts = Math.max(1, given.maxAttempts);
  let budget = given.budget === false ? Infinity : given.budget;
  let now = 0;
  const give = (kind: RetryReason): Expected => ({ kind, atMs: now, starts, errors });

  const abort = (inAttempt: boolean): Expected => ({ kind: "aborted", atMs: abortAt, starts, inAttempt });

  if (abortAt === 0) return abort(false);
  if (deadline === 0) return { kind: "deadline", atMs: 0, starts, errors: ["TIMEOUT"] };
  if (given.knownAtMs !== undefined) {
    const until = Math.min(given.knownAtMs, deadline);
    if (abortAt <= until) return abort(false);
    now = until;
    if (now === deadline) {
      errors.push("TIMEOUT");
      return give("deadline");
    }
  }
  for (let number = 1; ; number++) {
    const leftMs = deadline - now;
    let atDeadline = false;
    if (given.endpoints === 0) {
      errors.push("NO_ENDPOINTS");
    } else {
      starts.push(now);
      const { ends, afterMs } = acts[number - 1] ?? { ends: "badly", afterMs: 0 };
      const limitMs = Math.min(leftMs, given.attemptTimeoutMs ?? Infinity);
      // Timers that are due together run in the order of arming: the abort, the limit, the function's own.
      const answers = ends !== "never" && (afterMs === 0 || afterMs < limitMs);
      const endsAt = now + (answers ? afterMs : limitMs);
      // What ends in the very turn it began has no timer; all else has, if only one of 0 ms.
      if (abortAt <= endsAt && !(answers && afterMs === 0)) return abort(true);
      now = endsAt;
      if (answers && ends === "well") return { kind: "well", atMs: now, starts };
      errors.push(answers ? `error ${number}` : "TIMEOUT");
      atDeadline = !answers && limitMs === leftMs;
    }
    if (atDeadline) return give("deadline");
    if (retryable[(number - 1) % retryable.length] !== true) return give("not-retryable");
    if (number >= maxAttempts) return give("attempts");
    const delayMs = Math.max(0, (delays[(number - 1) % delays.length] ?? 0) || 0);
    if (delayMs >= deadline - now) return give("deadline");
    if (budget < 1) return give("budget");
    budget--;
    if (delayMs > 0 && abortAt <= now + delayMs) return abort(false);
    now += delayMs;
  }
}

describe("retry, for any script of outcomes, latencies, aborts and deadlines", () => {
  it("ends when and as the contract says, and leaves nothing behind", async () => {
    const unhandled: unknown[] = [];
    const onUnhandled = (error: unknown): void => void unhandled.push(error);
    process.on("unhandledRejection", onUnhandled);
    await fc.assert(
      fc.asyncProperty(script, async (given) => {
        const { acts, delays, retryable, endpoints, knownAtMs, abortAtMs, budget } = given;
        const clock = manualClock({ random: () => 0 });
        const instancer = drivenInstancer(clock.env);
        const endpointer = createEndpointer(instancer, ({ id }) => id, { env: clock.env });
        const balancer = createBalancer(endpointer, roundRobin(), { env: clock.env });
        let [tokens, deposits, ownTimers] = [budget === false ? Infinity : budget, 0, 0];
        const own = (delayMs: number, run: () => void): void => {
          ownTimers++;
          clock.env.after(delayMs, () => {
            ownTimers--;
            run();
          });
        };

        const controller = new AbortController();
        const reason = { the: "caller's reason" };
        if (abortAtMs === 0) controller.abort(reason);
        else if (abortAtMs !== undefined) own(abortAtMs, () => controller.abort(reason));
        const know = (): void => instancer.update(lorems(endpoints));
        if (knownAtMs === undefined) know();
        else own(knownAtMs, know);

        const call = retry(balancer, {
          env: clock.env,
          maxAttempts: given.maxAttempts,
          timeoutMs: given.timeoutMs,
          attemptTimeoutMs: given.attemptTimeoutMs,
          backoff: (attempt) => delays[(attempt - 1) % delays.length] ?? 0,
          retryable: (_, attempt) => retryable[(attempt - 1) % retryable.length] === true,
          budget: budget !== false && { deposit: () => void deposits++, withdraw: () => tokens-- > 0 },
        });

        const starts: number[] = [];
        const attempts: Attempt[] = [];
        const fn = (_: string, attempt: Attempt): unknown => {
          starts.push(clock.now());
          attempts.push(attempt);
          const { ends, afterMs, heeds, sync } = acts[attempt.number - 1] ?? {
            ends: "badly",
            afterMs: 0,
            heeds: "ignores",
            sync: false,
          };
          const error = new Error(`error ${attempt.number}`);
          if (ends !== "never" && afterMs === 0) {
            if (ends === "well") return sync ? "well" : Promise.resolve("well");
            if (sync) throw error;
            return Promise.reject(error);
          }
          return new Promise((resolve, reject) => {
            if (ends === "well") own(afterMs, () => resolve("well"));
            if (ends === "badly") own(afterMs, () => reject(error));
            if (heeds === "ignores") return;
            const heed = heeds === "rejects" ? reject : resolve;
            attempt.signal.addEventListener("abort", () => heed(new Error("heeded")));
          });
        };

        let settledAt = -1;
        let result: { readonly value: unknown } | { readonly error: unknown } | undefined;
        call(fn, { signal: controller.signal }).then(
          (value) => {
            result = { value };
            settledAt = clock.now();
          },
          (error: unknown) => {
            result = { error };
            settledAt = clock.now();
          },
        );
        await clock.advance(0);
        for (let turns = 0; result === undefined && turns < 100; turns++) await clock.runNext();

        // Nothing of it is left, the function's own timers apart.
        expect(clock.pending).toBe(ownTimers);
        expect(getEventListeners(controller.signal, "abort")).toEqual([]);
        const inFlight = (endpoint: Endpoint<string>): number => endpoint.stats.inFlight;
        expect(endpointer.endpoints.map(inFlight).filter((slots) => slots !== 0)).toEqual([]);

        const wanted = expected(given);
        expect([settledAt, starts]).toEqual([wanted.atMs, wanted.starts]);
        if (wanted.kind === "well") {
          expect(result).toEqual({ value: "well" });
        } else if (wanted.kind === "aborted") {
          expect(result).toEqual({ error: reason });
          expect((result as { error: unknown }).error).toBe(reason);
        } else {
          const { error } = result as { error: RetryError };
          expect(error).toBeInstanceOf(RetryError);
          const errors = error.errors.map((each: Error) =>
            isDiscoveryError(each) ? (each as unknown as { code: string }).code : each.message,
          );
          expect([error.reason, errors]).toEqual([wanted.kind, wanted.errors]);
          expect(error.cause).toBe(error.errors.at(-1));
        }
        expect(deposits).toBe(budget === false || abortAtMs === 0 ? 0 : 1);

        // What it learnt: each start ended once, and an abort teaches nothing.
        const sum = (key: "successes" | "failures"): number =>
          endpointer.endpoints.reduce((total, { stats }) => total + stats[key], 0);
        const successes = wanted.kind === "well" ? 1 : 0;
        const cancelled = wanted.kind === "aborted" && wanted.inAttempt ? 1 : 0;
        expect([sum("successes"), sum("failures")]).toEqual([successes, starts.length - successes - cancelled]);

        // No endpoint twice while there is another one that this call has not tried.
        const tried = attempts.map(({ endpoint }) => endpoint).slice(0, endpoints);
        expect(new Set(tried).size).toBe(tried.length);
        expect(attempts.map(({ number }) => number)).toEqual(starts.map((_, index) => index + 1));

        // Whatever the functions still do, nobody notices.
        for (let turns = 0; clock.pending > 0 && turns < 100; turns++) await clock.runNext();
        expect([clock.pending, settledAt]).toEqual([0, wanted.atMs]);
        await endpointer.close();
      }),
      { numRuns: 1_000 },
    );
    process.off("unhandledRejection", onUnhandled);
    expect(unhandled).toEqual([]);
  });
});
