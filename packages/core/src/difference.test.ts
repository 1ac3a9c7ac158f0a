import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { difference } from "./difference.ts";

const items = Array.from({ length: 40 }, (_, name) => ({ name }));
const pick = (...names: number[]) => names.map((name) => items[name]);
const names = (list: readonly ({ name: number } | undefined)[]) => list.map((item) => item?.name);

describe("difference", () => {
  it.each([
    ["nothing of two lists that say the same", [1, 2, 3], [1, 2, 3], [], []],
    ["one that is new in the place of another", [1, 2, 3], [1, 4, 3], [2], [4]],
    ["one that is gone", [1, 2, 3], [2, 3], [1], []],
    ["one that is gone from the end", [1, 2, 3], [1, 2], [3], []],
    ["one that came", [1, 2, 3], [1, 4, 2, 3], [], [4]],
    ["one that came at the end", [1, 2], [1, 2, 3], [], [3]],
    ["some that came and some that went", [1, 2, 3, 4, 5], [6, 7, 1, 4, 8, 5], [2, 3], [6, 7, 8]],
    ["everything that came", [], [1, 2], [], [1, 2]],
    ["everything that went", [1, 2], [], [1, 2], []],
    ["one that is there again", [1, 2], [1, 1, 2], [], [1]],
  ])("names %s", (_, before, after, gone, come) => {
    const found = difference(pick(...before), pick(...after));
    expect([names(found.gone), names(found.come)]).toEqual([gone, come]);
  });

  it("names what was never an item, too", () => {
    expect(difference([], [undefined])).toEqual({ gone: [], come: [undefined] });
    expect(difference(pick(1), [items[1], undefined])).toEqual({ gone: [], come: [undefined] });
  });

  it("keeps step with many that were replaced in a row", () => {
    const after = items.with(0, { name: 100 }).map((item, at) => (at > 3 && at < 30 ? { name: 200 + at } : item));
    const found = difference(items, after);
    expect([found.gone.length, found.come.length]).toEqual([27, 27]);
  });

  it("leaves nothing out, whatever the lists are", () => {
    const list = fc.array(fc.nat(39), { maxLength: 40 }).map((some) => pick(...some));
    fc.assert(
      fc.property(list, list, (before, after) => {
        const { gone, come } = difference(before, after);
        expect(gone.length + after.length).toBe(come.length + before.length);
        // What is in neither part is in both lists, in the same order.
        expect(longestCommon(before, after)).toBeGreaterThanOrEqual(before.length - gone.length);
        for (const item of items) {
          const count = (some: readonly unknown[]): number => some.filter((other) => other === item).length;
          expect(count(before) - count(gone)).toBe(count(after) - count(come));
        }
      }),
      { numRuns: 500 },
    );
  });
});

/** The length of the longest common subsequence, in the plainest way. */
function longestCommon(a: readonly unknown[], b: readonly unknown[]): number {
  let row = Array.from({ length: b.length + 1 }, () => 0);
  for (const item of a) {
    const next = [0];
    for (const [at, other] of b.entries()) {
      next.push(item === other ? (row[at] ?? 0) + 1 : Math.max(next[at] ?? 0, row[at + 1] ?? 0));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
