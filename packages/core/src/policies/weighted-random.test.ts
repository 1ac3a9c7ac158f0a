import { manualClock, seededRandom } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { lettered } from "../../test/lettered.ts";
import { weightedRandom } from "./weighted-random.ts";

const start = (weights: Readonly<Record<string, number>>) => {
  const state = weightedRandom().create(manualClock({ random: seededRandom(3) }).env);
  const endpoints = lettered(weights);
  return { endpoints, picker: state.picker(endpoints) };
};

describe("weightedRandom", () => {
  it("is one constant with a name, and keeps no outcomes", () => {
    expect(weightedRandom()).toBe(weightedRandom());
    expect(weightedRandom().name).toBe("weighted-random");
    expect(weightedRandom().create(manualClock().env).observe).toBeUndefined();
  });

  it("chooses in proportion to weight", () => {
    const { picker } = start({ a: 5, b: 1, c: 0.5 });
    const counts: Record<string, number> = {};
    for (let n = 0; n < 65_000; n++) {
      const { client } = picker({});
      counts[client] = (counts[client] ?? 0) + 1;
    }
    // Five standard deviations.
    expect(Math.abs((counts["a"] ?? 0) - 50_000)).toBeLessThan(5 * 107);
    expect(Math.abs((counts["b"] ?? 0) - 10_000)).toBeLessThan(5 * 92);
    expect(Math.abs((counts["c"] ?? 0) - 5_000)).toBeLessThan(5 * 68);
  });

  it("leaves the others their proportions when one is avoided, and ignores it when all are", () => {
    const { picker, endpoints } = start({ a: 100, b: 3, c: 1 });
    const avoid = new Set(endpoints.slice(0, 1));
    const counts: Record<string, number> = {};
    for (let n = 0; n < 40_000; n++) {
      const { client } = picker({ avoid });
      counts[client] = (counts[client] ?? 0) + 1;
    }
    expect(Object.keys(counts).toSorted()).toEqual(["b", "c"]);
    expect(Math.abs((counts["b"] ?? 0) - 30_000)).toBeLessThan(5 * 87);
    expect("abc").toContain(picker({ avoid: new Set(endpoints) }).client);
  });
});
