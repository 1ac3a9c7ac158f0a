import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { aliasTable, pickAlias } from "./alias-table.ts";

/** The exact chance of each index, read from the table. */
function chances(weights: readonly number[]): number[] {
  const { threshold, alias } = aliasTable(weights);
  const chance = weights.map(() => 0);
  for (const [slot, own] of threshold.entries()) {
    const other = alias[slot] ?? slot;
    chance[slot] = (chance[slot] ?? 0) + own / 2 ** 31 / weights.length;
    chance[other] = (chance[other] ?? 0) + (1 - own / 2 ** 31) / weights.length;
  }
  return chance;
}

describe("aliasTable", () => {
  it("gives every index exactly its share, for any weights", () => {
    const weight = fc.oneof(fc.integer({ min: 1, max: 100 }), fc.double({ min: 1e-6, max: 1e6, noNaN: true }));
    fc.assert(
      fc.property(fc.array(weight, { minLength: 1, maxLength: 50 }), (weights) => {
        const sum = weights.reduce((total, each) => total + each, 0);
        for (const [index, chance] of chances(weights).entries()) {
          expect(chance).toBeCloseTo((weights[index] ?? 0) / sum, 8);
        }
      }),
    );
  });

  it("bears weights whose sum is not finite", () => {
    expect(chances([Number.MAX_VALUE, Number.MAX_VALUE])).toEqual([0.5, 0.5]);
  });
});

describe("pickAlias", () => {
  it("takes a slot, then its owner or the other one", () => {
    const table = aliasTable([1, 3]);
    const scripted =
      (...numbers: number[]) =>
      (): number =>
        numbers.shift() ?? 0;
    expect(pickAlias(table, scripted(0, 0))).toBe(0);
    expect(pickAlias(table, scripted(0, 2 ** 30))).toBe(1);
    expect(pickAlias(table, scripted(1, 2 ** 31 - 1))).toBe(1);
  });
});
