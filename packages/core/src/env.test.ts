import { getEventListeners } from "node:events";
import { manualClock } from "@rollcall/testing";
import { describe, expect, it, vi } from "vitest";
import { resolveEnv, sleep, systemEnv } from "./env.ts";

describe("systemEnv", () => {
  it("has a monotonic clock in milliseconds and dice in [0, 1)", async () => {
    const before = systemEnv.now();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(systemEnv.now() - before).toBeGreaterThan(15);
    for (let throwing = 0; throwing < 1_000; throwing++) {
      const dice = systemEnv.random();
      expect(dice >= 0 && dice < 1).toBe(true);
    }
  });

  it("runs once after the delay", async () => {
    const begin = systemEnv.now();
    await new Promise<void>((resolve) => void systemEnv.after(20, resolve));
    expect(systemEnv.now() - begin).toBeGreaterThan(15);
  });

  it("does not run what was cancelled, and cancelling again or later is no error", async () => {
    let runs = 0;
    const cancel = systemEnv.after(1, () => runs++);
    cancel();
    cancel();
    const late = systemEnv.after(1, () => runs++);
    await new Promise((resolve) => setTimeout(resolve, 20));
    late();
    expect(runs).toBe(1);
  });

  it("takes a negative delay for none", async () => {
    await new Promise<void>((resolve) => void systemEnv.after(-5, resolve, { keepAlive: true }));
  });

  it.each([
    ["an unref'ed timer", undefined, false],
    ["an unref'ed timer if keepAlive is false", { keepAlive: false }, false],
    ["one that keeps the process alive if asked to", { keepAlive: true }, true],
  ])("makes %s", (_what, options, kept) => {
    const set = vi.spyOn(globalThis, "setTimeout");
    const cancel = systemEnv.after(1_000, () => undefined, options);
    const timer = set.mock.results[0]?.value as NodeJS.Timeout;
    set.mockRestore();
    expect(timer.hasRef()).toBe(kept);
    cancel();
  });

  it("waits longer than a system timer can hold, instead of firing at once", () => {
    vi.useFakeTimers();
    try {
      const days = 24 * 60 * 60 * 1_000;
      let runs = 0;
      systemEnv.after(60 * days, () => runs++);
      const cancel = systemEnv.after(60 * days, () => (runs += 100));
      systemEnv.after(Infinity, () => (runs += 1_000));
      vi.advanceTimersByTime(60 * days - 1);
      expect(runs).toBe(0);
      cancel();
      vi.advanceTimersByTime(1);
      expect(runs).toBe(1);
      vi.advanceTimersByTime(600 * days);
      expect(runs).toBe(1);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("resolveEnv", () => {
  it("is the system's own without a partial one", () => {
    expect(resolveEnv(undefined)).toBe(systemEnv);
    const { now, random, after } = resolveEnv({});
    expect([now, random, after]).toEqual([systemEnv.now, systemEnv.random, systemEnv.after]);
  });

  it("completes a partial one, and methods keep their this", () => {
    class Clock {
      #nowMs = 7;
      now(): number {
        return this.#nowMs++;
      }
    }
    const { now, random } = resolveEnv(new Clock());
    expect([now(), now()]).toEqual([7, 8]);
    expect(random).toBe(systemEnv.random);
  });

  it("does not change what it was given", () => {
    const partial = Object.freeze({ random: () => 0.25 });
    expect(resolveEnv(partial).random()).toBe(0.25);
    expect(Object.keys(partial)).toEqual(["random"]);
  });
});

describe("sleep", () => {
  it("resolves after the delay, and leaves neither timer nor listener", async () => {
    const clock = manualClock();
    const { signal } = new AbortController();
    let awake = false;
    void sleep(clock.env, 100, signal).then(() => (awake = true));
    await clock.advance(99);
    expect([awake, clock.pending, getEventListeners(signal, "abort").length]).toEqual([false, 1, 1]);
    await clock.advance(1);
    expect([awake, clock.pending, getEventListeners(signal, "abort").length]).toEqual([true, 0, 0]);
  });

  it("resolves at once when the signal aborts, and leaves neither timer nor listener", async () => {
    const clock = manualClock();
    const controller = new AbortController();
    const sleeping = sleep(clock.env, 100, controller.signal);
    controller.abort();
    await sleeping;
    expect([clock.pending, getEventListeners(controller.signal, "abort").length]).toEqual([0, 0]);
  });

  it("does not begin when the signal was aborted before", async () => {
    const clock = manualClock();
    const signal = AbortSignal.abort();
    await sleep(clock.env, 100, signal);
    expect([clock.pending, getEventListeners(signal, "abort").length]).toEqual([0, 0]);
  });

  it("keeps the process alive only if asked to", () => {
    const clock = manualClock();
    const { signal } = new AbortController();
    void sleep(clock.env, 100, signal);
    void sleep(clock.env, 100, signal, { keepAlive: true });
    expect([clock.pending, clock.keptAlive]).toEqual([2, 1]);
  });
});
