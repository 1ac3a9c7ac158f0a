import { getEventListeners } from "node:events";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lorems } from "../test/lorem.ts";
import { retryWorld } from "../test/retry-world.ts";
import { roundRobin } from "./policies/round-robin.ts";
import type { Policy } from "./policy.ts";
import type { Outcome } from "./pick.ts";
import { type Attempt, type CallOptions, retry } from "./retry.ts";

/** What the called function does in one attempt. */
interface Act {
  readonly ends: "well" | "badly" | "fatally" | "never";
  readonly afterMs: number;
  readonly heeds: "ignores" | "rejects" | "resolves";
  /** Keeps the slot, and lets it go so much later, if it is the winner. */
  readonly holdsMs: number | undefined;
}

interface Script {
  readonly endpoints: number;
  readonly calls: readonly {
    readonly acts: readonly Act[];
    readonly atMs: number;
    readonly abortAfterMs: number | undefined;
  }[];
  readonly maxAttempts: number;
  readonly maxHedges: number;
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number | undefined;
  readonly backoffMs: number;
  readonly tokens: number;
}

const act: fc.Arbitrary<Act> = fc.record({
  ends: fc.constantFrom(
    "well" as const,
    "well" as const,
    "well" as const,
    "badly" as const,
    "badly" as const,
    "fatally" as const,
    "never" as const,
  ),
  // 10 is when answers are late, 20 when a hedge that answers like all others does so.
  afterMs: fc.oneof(fc.constantFrom(0, 5, 10, 11, 20, 21), fc.nat(60)),
  heeds: fc.constantFrom("ignores" as const, "rejects" as const, "resolves" as const),
  holdsMs: fc.option(fc.nat(40), { nil: undefined, freq: 2 }),
});

const script: fc.Arbitrary<Script> = fc.record({
  endpoints: fc.integer({ min: 1, max: 4 }),
  calls: fc.array(
    fc.record({
      acts: fc.array(act, { minLength: 6, maxLength: 6 }),
      atMs: fc.nat(30),
      abortAfterMs: fc.option(fc.nat(60), { nil: undefined, freq: 3 }),
    }),
    { minLength: 1, maxLength: 5 },
  ),
  maxAttempts: fc.integer({ min: 1, max: 5 }),
  maxHedges: fc.integer({ min: 1, max: 3 }),
  timeoutMs: fc.oneof(fc.integer({ min: 1, max: 80 }), fc.constant(10_000)),
  attemptTimeoutMs: fc.option(fc.integer({ min: 1, max: 50 }), { nil: undefined, freq: 2 }),
  backoffMs: fc.constantFrom(0, 0, 7),
  tokens: fc.nat(8),
});

class Fatal extends Error {}

describe("hedged calls, for any script of outcomes, latencies, aborts and deadlines", () => {
  it("end every lease once, stay within attempts and budget, and leave nothing behind", async () => {
    const unhandled: unknown[] = [];
    const onUnhandled = (error: unknown): void => void unhandled.push(error);
    process.on("unhandledRejection", onUnhandled);
    let [races, overtaken] = [0, 0];
    await fc.assert(
      fc.asyncProperty(script, async (given) => {
        const ended: Outcome[] = [];
        let leases = 0;
        const policy: Policy = {
          name: "watching",
          create: (env) => ({
            ...roundRobin().create(env),
            started: () => void leases++,
            observe: (_, outcome) => void ended.push(outcome),
          }),
        };
        const { balancer, clock, inFlight } = retryWorld({}, lorems(given.endpoints), policy);
        let tokens = Infinity;
        let spent = 0;
        const call = retry(balancer, {
          env: clock.env,
          hedge: { maxHedges: given.maxHedges, ratio: 1 },
          maxAttempts: given.maxAttempts,
          timeoutMs: given.timeoutMs,
          attemptTimeoutMs: given.attemptTimeoutMs,
          backoff: () => given.backoffMs,
          retryable: (error) => !(error instanceof Fatal),
          budget: {
            deposit: () => undefined,
            withdraw: () => {
              if (spent >= tokens) return false;
              spent++;
              return true;
            },
          },
        });
        const own = (delayMs: number, run: () => void): void => void clock.env.after(delayMs, run);
        // Enough to know that answers take 10 ms; the given deadline may be shorter than that.
        const warm = Array.from({ length: 120 }, () =>
          call(() => new Promise<void>((resolve) => own(10, resolve)), { timeoutMs: 1_000, attemptTimeoutMs: 1_000 }),
        );
        await clock.advance(10);
        await Promise.all(warm);
        [tokens, spent, leases, ended.length] = [given.tokens, 0, 0, 0];

        // What is thrown in a called function would only be one more failure of an attempt.
        const broken = new Set<string>();
        const hold = (rule: string, isKept: boolean): void => void (isKept || broken.add(rule));
        let [settled, starts, successes, errors, listeners] = [0, 0, 0, 0, 0];
        let repeats = 0;
        for (const { acts, atMs, abortAfterMs } of given.calls) {
          own(atMs, () => {
            const controller = new AbortController();
            const options: CallOptions = { signal: controller.signal };
            if (abortAfterMs !== undefined) own(abortAfterMs, () => controller.abort(new Error("enough")));
            const running = new Set<Attempt>();
            let last = 0;
            const fn = (_: string, attempt: Attempt): Promise<number> => {
              starts++;
              // In order, without a gap.
              hold("in order", attempt.number > last);
              if (attempt.number > 1) repeats++;
              last = attempt.number;
              hold("no more than allowed", last <= given.maxAttempts);
              // Never twice at the same time at one endpoint.
              hold("elsewhere", ![...running].some(({ endpoint }) => endpoint === attempt.endpoint));
              running.add(attempt);
              hold("no more than allowed at once", running.size <= 1 + given.maxHedges);
              if (running.size > 1) races++;
              const { ends, afterMs, heeds, holdsMs } = acts[attempt.number - 1] ?? {
                ends: "badly",
                afterMs: 0,
                heeds: "ignores",
                holdsMs: undefined,
              };
              const release = holdsMs === undefined ? undefined : attempt.hold();
              return new Promise<number>((resolve, reject) => {
                attempt.signal.addEventListener("abort", () => {
                  running.delete(attempt);
                  if (heeds === "rejects") reject(new Error("heeded"));
                  if (heeds === "resolves") resolve(-1);
                });
                if (ends === "never") return;
                own(afterMs, () => {
                  running.delete(attempt);
                  if (ends !== "well") {
                    reject(ends === "fatally" ? new Fatal("no") : new Error("down"));
                    return;
                  }
                  resolve(attempt.number);
                  if (release !== undefined && holdsMs !== undefined) own(holdsMs, () => release({ kind: "success" }));
                });
              });
            };
            const startedAt = clock.now();
            call(fn, options)
              .then(
                (value) => {
                  successes++;
                  // Not what an aborted one has still said.
                  hold("a winner's", value > 0);
                },
                () => void errors++,
              )
              .finally(() => {
                settled++;
                hold("in time", clock.now() - startedAt <= given.timeoutMs);
                listeners += getEventListeners(controller.signal, "abort").length;
              })
              .catch(onUnhandled);
          });
        }
        for (let turns = 0; clock.pending > 0 && turns < 500; turns++) await clock.runNext();
        expect([...broken]).toEqual([]);
        expect([settled, successes + errors, listeners]).toEqual([given.calls.length, given.calls.length, 0]);
        expect([inFlight(), clock.pending]).toEqual([0, 0]);
        expect(ended.length).toBe(leases);
        // A hedge that was refused by the budget has begun nothing, and took a lease for no time at all.
        expect(starts).toBeLessThanOrEqual(leases);
        const count = (kind: Outcome["kind"]): number => ended.filter((outcome) => outcome.kind === kind).length;
        expect(count("success")).toBe(successes);
        expect(count("failure")).toBeLessThanOrEqual(starts - successes);
        expect(repeats).toBeLessThanOrEqual(spent);
        expect(spent).toBeLessThanOrEqual(given.tokens);
        overtaken += ended.filter((outcome) => "superseded" in outcome).length;
      }),
      { numRuns: 600 },
    );
    process.off("unhandledRejection", onUnhandled);
    expect(unhandled).toEqual([]);
    // It has been about races, not about calls that happen to be alone.
    expect([races > 100, overtaken > 100]).toEqual([true, true]);
  });
});
