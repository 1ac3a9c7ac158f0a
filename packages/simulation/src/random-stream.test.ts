import { describe, expect, it } from "vitest";
import { randomStream } from "./random-stream.ts";

function draw(seed: number, name: string, count: number): number[] {
  const random = randomStream(seed, name);
  return Array.from({ length: count }, random);
}

describe("randomStream", () => {
  it("repeats itself for the same seed and name, and for no other", () => {
    expect(draw(1, "work", 20)).toEqual(draw(1, "work", 20));
    const all = [draw(1, "work", 20), draw(2, "work", 20), draw(1, "luck", 20)].flat();
    expect(new Set(all).size).toBe(60);
  });

  it("is uniform, and neighbouring seeds have nothing to do with each other", () => {
    const bins = Array.from({ length: 10 }, () => 0);
    for (const value of draw(1, "work", 100_000)) {
      expect(value >= 0 && value < 1).toBe(true);
      const bin = Math.floor(value * 10);
      bins[bin] = (bins[bin] ?? 0) + 1;
    }
    expect(Math.max(...bins)).toBeLessThan(10_300);
    expect(Math.min(...bins)).toBeGreaterThan(9_700);
    const [one, two] = [draw(1, "work", 10_000), draw(2, "work", 10_000)];
    const product = one.reduce((sum, value, place) => sum + (value - 0.5) * ((two[place] ?? 0) - 0.5), 0);
    // Independent ones: 0 ± 1/12 · √10,000.
    expect(Math.abs(product)).toBeLessThan(4 * (100 / 12));
  });
});
