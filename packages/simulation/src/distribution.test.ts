import { describe, expect, it } from "vitest";
import { type Distribution, meanOf, quantileOf } from "./distribution.ts";
import { normalQuantile, normalShare } from "./normal.ts";

const STEPS = 200_000;

/** By numbers, not by formulas: the middle of each of many equal shares. */
function meanByNumbers(distribution: Distribution): number {
  const quantile = quantileOf(distribution);
  let sum = 0;
  for (let step = 0; step < STEPS; step++) sum += quantile((step + 0.5) / STEPS);
  return sum / STEPS;
}

describe("distributions", () => {
  it.each<[Distribution, number]>([
    [7, 7],
    [{ kind: "exponential", meanMs: 10 }, 10],
    [{ kind: "lognormal", meanMs: 10, sigma: 1 }, 10],
    [{ kind: "normal", meanMs: 167, deviationMs: 5 }, 167],
    // Of a normal with a deviation of its mean, what is above 0 has a mean of 1 + φ(1) / Φ(1).
    [{ kind: "normal", meanMs: 20, deviationMs: 20 }, 20 * (1 + 0.24197072 / 0.84134475)],
  ])("of %j have the mean that they say", (distribution, mean) => {
    expect(meanOf(distribution)).toBeCloseTo(mean, 4);
    expect(meanByNumbers(distribution) / mean).toBeCloseTo(1, 3);
  });

  it("have the quantiles of the tables", () => {
    expect(quantileOf({ kind: "exponential", meanMs: 10 })(0.99)).toBeCloseTo(46.0517, 4);
    expect(quantileOf({ kind: "lognormal", meanMs: Math.exp(0.5), sigma: 1 })(0.5)).toBeCloseTo(1, 6);
    expect(normalQuantile(0.975)).toBeCloseTo(1.959964, 6);
    expect(normalQuantile(0.001)).toBeCloseTo(-3.090232, 6);
    expect(normalShare(-1)).toBeCloseTo(0.15865525, 6);
    expect(normalShare(2.5)).toBeCloseTo(0.99379033, 6);
  });

  it("never give anything but a finite time, not even at the ends", () => {
    for (const distribution of [
      { kind: "exponential", meanMs: 10 },
      { kind: "lognormal", meanMs: 10, sigma: 2 },
      { kind: "normal", meanMs: 0, deviationMs: 20 },
    ] satisfies Distribution[]) {
      for (const share of [0, 2 ** -32, 1 - 2 ** -32]) {
        expect(quantileOf(distribution)(share)).toBeGreaterThanOrEqual(0);
        expect(quantileOf(distribution)(share)).toBeLessThan(Infinity);
      }
    }
  });
});
