import { manualClock, seededRandom } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { xorshift } from "./xorshift.ts";

const draws = (random: () => number, count: number, bound: number): number[] => {
  const draw = xorshift(manualClock({ random }).env);
  return Array.from({ length: count }, () => draw(bound));
};

describe("xorshift", () => {
  it("asks the environment once, and repeats itself for the same answer", () => {
    let asked = 0;
    const seed = (): number => {
      asked++;
      return 0.5;
    };
    expect(draws(seed, 100, 1_000)).toEqual(draws(seed, 100, 1_000));
    expect(asked).toBe(2);
    expect(draws(() => 0.25, 100, 1_000)).not.toEqual(draws(seed, 100, 1_000));
  });

  it.each([0, 2 ** -32, 0.5, 1 - 2 ** -53])("runs from every seed, also %s", (seed) => {
    expect(new Set(draws(() => seed, 200, 2 ** 30)).size).toBe(200);
  });

  it("stays below its bound", () => {
    for (const bound of [1, 2, 3, 7, 10_000, 2 ** 31]) {
      for (const drawn of draws(seededRandom(5), 2_000, bound)) {
        expect(drawn).toBeGreaterThanOrEqual(0);
        expect(drawn).toBeLessThan(bound);
        expect(Number.isInteger(drawn)).toBe(true);
      }
    }
  });

  it("is uniform, and its neighbours are independent", () => {
    const cells = new Map<string, number>();
    const drawn = draws(seededRandom(9), 100_000, 4);
    for (let n = 1; n < drawn.length; n++) {
      const cell = `${drawn[n - 1]}${drawn[n]}`;
      cells.set(cell, (cells.get(cell) ?? 0) + 1);
    }
    expect(cells.size).toBe(16);
    // Five standard deviations of a binomial with p = 1/16.
    for (const count of cells.values()) expect(Math.abs(count - 6_250)).toBeLessThan(5 * 77);
  });

  it("parts seeds that lie next to each other from the first draw on", () => {
    const first = Array.from({ length: 1_000 }, (_, n) => draws(() => n / 1_000, 1, 10)[0] ?? -1);
    for (let value = 0; value < 10; value++) {
      expect(Math.abs(first.filter((drawn) => drawn === value).length - 100)).toBeLessThan(5 * 9.5);
    }
  });
});
