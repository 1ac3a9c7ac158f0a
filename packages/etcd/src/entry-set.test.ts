import { type Reading, createInstance } from "@rollcall/core";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EntrySet } from "./entry-set.ts";

const good = (port: number, ...tags: string[]): Reading => ({
  instance: createInstance({ service: "lorem", host: "10.0.0.1", port, tags }),
});
const bad = (reason: string, foreign = false): Reading => ({ record: {}, error: new Error(reason), foreign });

/** The same, found in the plainest way. */
function plainly(entries: ReadonlyMap<string, Reading>, tags: readonly string[]): unknown {
  const all = [...entries.values()];
  const instances = all.flatMap(({ instance }) => instance ?? []);
  const errors = all.filter((entry) => "error" in entry && entry.foreign !== true);
  if (instances.length === 0 && errors.length > 0) return `none of ${errors.length}`;
  return new Set(instances.filter((instance) => tags.every((tag) => instance.tags.includes(tag))));
}

describe("EntrySet", () => {
  it("says after any changes what its records say", () => {
    const entry = fc.oneof(
      fc.tuple(fc.integer({ min: 1, max: 99 }), fc.subarray(["a", "b"])).map(([port, tags]) => good(port, ...tags)),
      fc.constantFrom(bad("junk"), bad("another program's", true)),
    );
    const command = fc.oneof(
      { arbitrary: fc.record({ key: fc.constantFrom("k", "l", "m", "n"), entry }), weight: 4 },
      { arbitrary: fc.record({ key: fc.constantFrom("k", "l", "m", "n"), entry: fc.constant(undefined) }), weight: 3 },
      { arbitrary: fc.constant("clear" as const), weight: 1 },
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 30 }), fc.subarray(["a", "b"]), (commands, tags) => {
        const set = new EntrySet("lorem", tags);
        const entries = new Map<string, Reading>();
        for (const one of commands) {
          if (one === "clear") {
            set.replace([]);
            entries.clear();
          } else if (one.entry === undefined) {
            set.delete(one.key);
            entries.delete(one.key);
          } else {
            set.set(one.key, one.entry);
            entries.set(one.key, one.entry);
          }
          const expected = plainly(entries, tags);
          if (typeof expected === "string") expect(() => set.instances()).toThrow(expected);
          else {
            const instances = set.instances();
            expect(new Set(instances)).toEqual(expected);
            expect(instances.length).toBe((expected as Set<unknown>).size);
          }
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it("is filled anew, in whatever order", () => {
    const set = new EntrySet("lorem", []);
    set.set("a", good(9));
    set.replace([
      ["l", good(2)],
      ["k", good(1)],
    ]);
    set.set("k", good(3));
    expect(set.instances().map(({ port }) => port)).toEqual([3, 2]);
  });

  it("gives a list that later changes do not reach", () => {
    const set = new EntrySet("lorem", []);
    set.set("k", good(1));
    const before = set.instances();
    set.delete("k");
    expect([before.length, set.instances().length]).toEqual([1, 0]);
  });

  it("names the first error when nothing is usable", () => {
    const set = new EntrySet("lorem", []);
    set.set("j", bad("another program's", true));
    set.set("k", bad("junk"));
    set.set("l", bad("more junk"));
    expect(() => set.instances()).toThrow('none of 2 records of service "lorem" is usable: junk');
  });
});
