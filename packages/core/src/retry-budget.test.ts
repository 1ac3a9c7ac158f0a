import { manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { InvalidOptionError } from "./errors.ts";
import { type RetryBudget, type RetryBudgetOptions, retryBudget } from "./retry-budget.ts";

function start(options: RetryBudgetOptions = {}) {
  const clock = manualClock();
  return { clock, budget: retryBudget({ env: clock.env, ...options }) };
}

function deposit(budget: RetryBudget, calls: number): void {
  for (let call = 0; call < calls; call++) budget.deposit();
}

/** Takes retries until there are none left; says how many there were. */
function drain(budget: RetryBudget): number {
  let taken = 0;
  while (budget.withdraw()) taken++;
  return taken;
}

describe("retryBudget", () => {
  it.each([
    [0, 3],
    [1, 3],
    [15, 3],
    [19, 3],
    [20, 4],
    [24, 4],
    [25, 5],
    [100, 20],
    [1_000, 200],
  ])("allows a fifth of the calls and at least 3: after %i calls in one moment, %i retries", (calls, retries) => {
    const { budget } = start();
    deposit(budget, calls);
    expect(drain(budget)).toBe(retries);
    expect(budget.withdraw()).toBe(false);
  });

  it("gives back what a refused retry did not take", () => {
    const { budget } = start();
    expect(drain(budget)).toBe(3);
    for (let refused = 0; refused < 100; refused++) expect(budget.withdraw()).toBe(false);
    deposit(budget, 20);
    expect(drain(budget)).toBe(1);
  });

  it("allows 10 more for each second since the first call, whatever the traffic", () => {
    const { budget, clock } = start();
    deposit(budget, 100);
    clock.advanceSync(1_000);
    expect(drain(budget)).toBe(20 + 10);
    clock.advanceSync(500);
    expect(drain(budget)).toBe(5);
    clock.advanceSync(100);
    expect(drain(budget)).toBe(1);
  });

  it("counts the seconds from the first call, not from when it was made", () => {
    const { budget, clock } = start();
    clock.advanceSync(60_000);
    expect(drain(budget)).toBe(3);
  });

  it("forgets calls and retries after ten seconds", () => {
    const { budget, clock } = start({ perSecond: 0 });
    deposit(budget, 1_000);
    expect(drain(budget)).toBe(200);
    clock.advanceSync(9_999);
    expect(drain(budget)).toBe(0);
    clock.advanceSync(1);
    expect(drain(budget)).toBe(3);
  });

  it("never allows more than its ten seconds' worth after a long silence", () => {
    const { budget, clock } = start();
    deposit(budget, 1);
    clock.advanceSync(3_600_000);
    expect(drain(budget)).toBe(100);
  });

  it("holds in the long run: under total failure the load grows by 20 % and 10 a second, not more", () => {
    const { budget, clock } = start();
    let [calls, retries] = [0, 0];
    // A hundred seconds of 200 calls a second that all want two retries.
    for (let tick = 0; tick < 10_000; tick++) {
      clock.advanceSync(10);
      for (let n = 0; n < 2; n++) {
        calls++;
        budget.deposit();
        for (let retry = 0; retry < 2; retry++) if (budget.withdraw()) retries++;
      }
    }
    const allowed = 0.2 * calls + 10 * 100;
    // The window is nine to ten of its slots long, so it may be generous by a ninth.
    expect(retries).toBeGreaterThan(allowed * 0.95);
    expect(retries).toBeLessThan(allowed * 1.12);
  });

  it("allows few retries in a row that bring nothing, and more again as soon as a call goes well", () => {
    const { budget, clock } = start();
    for (let second = 0; second < 10; second++) {
      deposit(budget, 200);
      clock.advanceSync(1_000);
    }
    deposit(budget, 200);
    let taken = 0;
    while (budget.withdraw(taken)) taken++;
    // A twentieth of the calls of the last two seconds.
    expect(taken).toBe(20);
    expect(budget.withdraw(0)).toBe(true);
  });

  it("leaves a quiet client ten in a row", () => {
    const { budget, clock } = start();
    deposit(budget, 1);
    clock.advanceSync(10_000);
    let taken = 0;
    while (budget.withdraw(taken)) taken++;
    expect(taken).toBe(10);
  });

  it("allows as many as it must at least, also in an outage", () => {
    const { budget } = start();
    let taken = 0;
    for (let fruitless = 100; fruitless < 200; fruitless++) if (budget.withdraw(fruitless)) taken++;
    expect(taken).toBe(3);
  });

  it("takes each of its three numbers from the options", () => {
    expect(drain(start({ least: 0 }).budget)).toBe(0);
    expect(drain(start({ least: 7 }).budget)).toBe(7);
    const half = start({ ratio: 0.5, least: 0, perSecond: 0 });
    deposit(half.budget, 9);
    expect(drain(half.budget)).toBe(4);
    const steady = start({ ratio: 0, least: 0, perSecond: 2 });
    deposit(steady.budget, 50);
    steady.clock.advanceSync(3_000);
    expect(drain(steady.budget)).toBe(6);
  });

  it.each([
    [0.2, 35, 7],
    [0.29, 100, 29],
    [0.57, 100, 57],
    [0.07, 100, 7],
  ])("is exact where binary fractions are not: %d of %i calls is %i", (ratio, calls, retries) => {
    const { budget } = start({ ratio, least: 0 });
    deposit(budget, calls);
    expect(drain(budget)).toBe(retries);
  });

  it("holds no timer", () => {
    const { budget, clock } = start();
    deposit(budget, 10);
    drain(budget);
    expect(clock.pending).toBe(0);
  });

  it.each([
    [{ ratio: -0.1 }, "ratio"],
    [{ ratio: Number.NaN }, "ratio"],
    [{ perSecond: -1 }, "perSecond"],
    [{ least: -1 }, "least"],
    [{ env: { now: 5 } }, "env"],
    [{ rate: 0.2 }, "rate"],
  ])("refuses %o", (options, path) => {
    expect(() => retryBudget(options as RetryBudgetOptions)).toThrow(InvalidOptionError);
    expect(() => retryBudget(options as RetryBudgetOptions)).toThrow(expect.objectContaining({ path }));
  });
});
