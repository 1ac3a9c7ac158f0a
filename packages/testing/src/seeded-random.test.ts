import { describe, expect, it } from "vitest";
import { seededRandom } from "./seeded-random.ts";

describe("seededRandom", () => {
  // Computed with the author's C code, compiled: the 32-bit integers before the division.
  it.each([
    [0, [1144304738, 1416247, 958946056, 627933444, 2007157716]],
    [42, [2581720956, 1925393290, 3661312704, 2876485805, 750819978]],
    [-1, [3850105811, 813802916, 3073704848, 4054706436, 3630262831]],
  ])("agrees with the reference implementation for seed %i", (seed, expected) => {
    const random = seededRandom(seed);
    expect(expected.map(() => random() * 2 ** 32)).toEqual(expected);
  });

  it("gives the same sequence for the same seed, independently of other sequences", () => {
    const [first, second, other] = [seededRandom(7), seededRandom(7), seededRandom(8)];
    const draw = (random: () => number): number[] => Array.from({ length: 20 }, random);
    const drawn = draw(first);
    draw(other);
    expect(draw(second)).toEqual(drawn);
    expect(draw(seededRandom(8))).not.toEqual(drawn);
  });

  it("is uniform enough for a test of shares: ten bins of 100,000 draws differ by less than 2 %", () => {
    const random = seededRandom(1);
    const bins = Array.from({ length: 10 }, () => 0);
    for (let draw = 0; draw < 100_000; draw++) {
      const value = random();
      const bin = Math.floor(value * 10);
      bins[bin] = (bins[bin] ?? 0) + 1;
    }
    expect(bins).toHaveLength(10);
    expect(Math.max(...bins)).toBeLessThan(10_200);
    expect(Math.min(...bins)).toBeGreaterThan(9_800);
  });

  it("refuses a seed that is no integer", () => {
    expect(() => seededRandom(Number.NaN)).toThrow("expected an integer");
    expect(() => seededRandom(0.5)).toThrow("expected an integer");
  });
});
