import { getEventListeners } from "node:events";
import { manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { rejection, settlement } from "../test/settlement.ts";
import type { Scope } from "./bounded-work.ts";
import { type Bounds, bounded } from "./bounded.ts";

const late = new Error("too late");
const bounds = (more: Partial<Bounds> = {}): Bounds => ({ timeoutMs: 100, onTimeout: () => late, ...more });

describe("bounded", () => {
  it("settles as the work does, and leaves no timer", async () => {
    const clock = manualClock();
    await expect(bounded(clock.env, bounds(), () => 7)).resolves.toBe(7);
    await expect(bounded(clock.env, bounds(), async () => 8)).resolves.toBe(8);
    const error = new Error("no");
    expect(await rejection(bounded(clock.env, bounds(), () => Promise.reject(error)))).toBe(error);
    expect(clock.pending).toBe(0);
  });

  it("gives back what it took once, also when the work ends after it was given up", async () => {
    const taken: string[] = [];
    const signal = Object.assign(aborter().signal, {
      addEventListener: () => void taken.push("listener"),
      removeEventListener: () => void taken.push("no listener"),
    });
    let give: (() => void) | undefined;
    const after = (_: number, run: () => void): (() => void) => {
      give = run;
      taken.push("timer");
      return () => void taken.push("no timer");
    };
    const { env } = manualClock();
    const work = Promise.withResolvers<void>();
    const seen = settlement(bounded({ ...env, after }, bounds({ signal }), () => work.promise));
    give?.();
    work.reject(new Error("the work's own"));
    await rejection(work.promise);
    await Promise.resolve();
    expect(seen.error).toBe(late);
    expect(taken.toSorted()).toEqual(["listener", "no listener", "no timer", "timer"]);
  });

  it("starts the work in the same turn", () => {
    let started = false;
    void bounded(manualClock().env, bounds(), () => (started = true));
    expect(started).toBe(true);
  });

  it("takes what the work throws synchronously as its rejection", async () => {
    const clock = manualClock();
    const error = new Error("at once");
    const run = (): Promise<never> =>
      bounded(clock.env, bounds(), () => {
        throw error;
      });
    expect(await rejection(run())).toBe(error);
    expect(clock.pending).toBe(0);
  });

  it("takes any thenable, also one that throws in its then", async () => {
    const clock = manualClock();
    // oxlint-disable-next-line unicorn/no-thenable -- the thenable is the subject
    const good: PromiseLike<string> = { then: (resolve) => Promise.resolve("good").then(resolve) };
    const error = new Error("bad then");
    const bad: PromiseLike<string> = {
      // oxlint-disable-next-line unicorn/no-thenable -- the thenable is the subject
      then: () => {
        throw error;
      },
    };
    await expect(bounded(clock.env, bounds(), () => good)).resolves.toBe("good");
    expect(await rejection(bounded(clock.env, bounds(), () => bad))).toBe(error);
    expect(clock.pending).toBe(0);
  });

  it("rejects when the time is over, at exactly that time, with the error it is told", async () => {
    const clock = manualClock();
    const seen = settlement(bounded(clock.env, bounds(), () => new Promise(() => undefined)));
    await clock.advance(99);
    expect(seen.state).toBe("pending");
    await clock.advance(1);
    expect(seen).toEqual({ state: "rejected", error: late });
    expect(clock.pending).toBe(0);
  });

  it("has no timer at all without a limit", async () => {
    const clock = manualClock();
    const seen = settlement(bounded(clock.env, bounds({ timeoutMs: Infinity }), () => new Promise(() => undefined)));
    expect(clock.pending).toBe(0);
    await clock.advance(1e9);
    expect(seen.state).toBe("pending");
  });

  it("keeps the process alive only if it is told to", () => {
    const clock = manualClock();
    const wait = (): Promise<never> => new Promise(() => undefined);
    void settlement(bounded(clock.env, bounds(), wait));
    expect(clock.keptAlive).toBe(0);
    void settlement(bounded(clock.env, bounds({ keepAlive: true }), wait));
    expect(clock.keptAlive).toBe(1);
  });

  it("rejects with the signal's reason as soon as it aborts, and leaves neither timer nor listener", async () => {
    const clock = manualClock();
    const { signal, abort } = aborter();
    const seen = settlement(bounded(clock.env, bounds({ signal }), () => new Promise(() => undefined)));
    expect(getEventListeners(signal, "abort")).toHaveLength(1);
    const reason = new Error("enough");
    abort(reason);
    await clock.advance(0);
    expect(seen).toEqual({ state: "rejected", error: reason });
    expect(clock.pending).toBe(0);
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
  });

  it("leaves no listener when the work ends by itself", async () => {
    const { signal } = aborter();
    await bounded(manualClock().env, bounds({ signal }), async () => 1);
    await rejection(bounded(manualClock().env, bounds({ signal }), () => Promise.reject(new Error("no"))));
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
  });

  it("does not start the work when the signal has aborted before", async () => {
    const clock = manualClock();
    const reason = new Error("before");
    let started = false;
    const work = (): boolean => (started = true);
    expect(await rejection(bounded(clock.env, bounds({ signal: AbortSignal.abort(reason) }), work))).toBe(reason);
    expect([started, clock.pending]).toEqual([false, 0]);
  });

  it("rejects with the reason when the work itself aborts the signal and then returns", async () => {
    const clock = manualClock();
    const { signal, abort } = aborter();
    const reason = new Error("inside");
    const run = bounded(clock.env, bounds({ signal }), () => {
      abort(reason);
      return "done";
    });
    expect(await rejection(run)).toBe(reason);
    expect(clock.pending).toBe(0);
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
  });

  it("ignores what the work does after it was cut", async () => {
    const clock = manualClock();
    const work = Promise.withResolvers<string>();
    const seen = settlement(bounded(clock.env, bounds(), () => work.promise));
    await clock.advance(100);
    work.reject(new Error("nobody hears this"));
    await clock.advance(0);
    expect(seen).toEqual({ state: "rejected", error: late });
  });

  describe("the work's signal", () => {
    it("aborts with the time-out's error", async () => {
      const clock = manualClock();
      let scope: Scope | undefined;
      void settlement(
        bounded(clock.env, bounds(), (given) => {
          scope = given;
          return given.signal.aborted ? "aborted" : new Promise(() => undefined);
        }),
      );
      expect(scope?.signal.aborted).toBe(false);
      await clock.advance(100);
      expect(scope?.signal.aborted).toBe(true);
      expect(scope?.signal.reason).toBe(late);
    });

    it("aborts with the caller's reason, and the work's own answer to that comes too late", async () => {
      const clock = manualClock();
      const { signal, abort } = aborter();
      const seen = settlement(
        bounded(
          clock.env,
          bounds({ signal }),
          (scope) =>
            new Promise((_, reject) => {
              scope.signal.addEventListener("abort", () => reject(new Error("the work's own")));
            }),
        ),
      );
      const reason = new Error("enough");
      abort(reason);
      await clock.advance(0);
      expect(seen.error).toBe(reason);
    });

    it("is aborted already when it is first read after the cut", async () => {
      const clock = manualClock();
      let scope: Scope | undefined;
      void settlement(
        bounded(clock.env, bounds(), (given) => {
          scope = given;
          return new Promise(() => undefined);
        }),
      );
      await clock.advance(100);
      expect(scope?.signal.aborted).toBe(true);
      expect(scope?.signal.reason).toBe(late);
    });

    it("is one signal, and stays quiet when the work ended by itself", async () => {
      const clock = manualClock();
      let scope: Scope | undefined;
      await bounded(clock.env, bounds(), (given) => void (scope = given));
      expect(scope?.signal).toBe(scope?.signal);
      await clock.advance(1_000);
      expect(scope?.signal.aborted).toBe(false);
    });
  });
});

function aborter(): { signal: AbortSignal; abort: (reason: unknown) => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: (reason) => controller.abort(reason) };
}
