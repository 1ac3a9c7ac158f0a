import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InstanceSet } from "./instance-set.ts";
import { type Instance, address, createInstance, sameInstance } from "./instance.ts";

const instance = (id: number, more: { port?: number; weight?: number } = {}): Instance =>
  createInstance({ service: "lorem", host: `10.0.0.${id % 256}`, port: 80 + (id >> 8), id: `${id}`, ...more });
const many = Array.from({ length: 300 }, (_, id) => instance((id * 7919) % 300));

/** The canonical form of a set, found in the plainest way. */
function canonical(given: readonly Instance[]): Instance[] {
  const unique = given.filter((each, index) => given.findIndex((other) => other.id === each.id) === index);
  const before = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  return unique.toSorted((a, b) => before(address(a), address(b)) || before(a.id, b.id));
}

describe("InstanceSet", () => {
  it("keeps its array when the same is said in another order, by other objects", () => {
    const set = new InstanceSet();
    set.take(many);
    const before = set.instances;
    set.take(many.toReversed());
    set.take(many.map((each) => createInstance(each)));
    set.take(many.with(5, createInstance(many[5] as Instance)));
    expect(set.instances).toBe(before);
  });

  it("does not trust an object that its owner may have changed since", () => {
    const set = new InstanceSet();
    const own = structuredClone(many[0] as Instance);
    set.take([own, ...many.slice(1)]);
    Object.assign(own, { weight: 7 });
    set.take([own, ...many.slice(1)]);
    expect(set.instances.find(({ id }) => id === own.id)?.weight).toBe(7);
  });

  it("does not trust the array either", () => {
    const set = new InstanceSet();
    const given = [...many];
    set.take(given);
    given.pop();
    set.take(given);
    expect(set.instances.length).toBe(299);
  });

  it("stays as it was if one of the given is no instance", () => {
    const set = new InstanceSet();
    set.take(many);
    const before = set.instances;
    const bad: unknown[][] = [[...many, undefined], many.with(3, null as never), [{ ...many[0], port: 0 }]];
    for (const given of bad) expect(() => set.take(given as Instance[])).toThrow("invalid option");
    expect(() => new InstanceSet().take([undefined as never])).toThrow("invalid option");
    expect(set.instances).toBe(before);
    set.take(many);
    expect(set.instances).toBe(before);
  });

  it("is as if it were made anew, after any changes", () => {
    const change = fc.record({
      kind: fc.constantFrom("remove", "add", "replace", "move", "repeat"),
      at: fc.nat(400),
      to: fc.nat(400),
      isOpen: fc.boolean(),
      port: fc.constantFrom(80, 81),
      weight: fc.constantFrom(1, 2),
    });
    const rounds = fc.array(fc.array(change, { maxLength: 8 }), { maxLength: 8 });
    fc.assert(
      fc.property(rounds, fc.constantFrom(3, 20, 300), (changes, size) => {
        const set = new InstanceSet();
        const given = many.slice(0, size);
        set.take(given);
        for (const round of changes) {
          for (const { kind, at, to, isOpen, port, weight } of round) {
            const fresh = instance(to, { port, weight });
            const other = isOpen ? structuredClone(fresh) : fresh;
            if (kind === "remove") given.splice(at, 1);
            else if (kind === "add") given.splice(at, 0, other);
            else if (kind === "replace") given.splice(at, 1, other);
            else if (kind === "move") given.splice(to, 0, ...given.splice(at, 1));
            else given.splice(to, 0, ...given.slice(at, at + 1));
          }
          const before = set.instances;
          set.take(given);
          expect(set.instances).toEqual(canonical(given));
          expect([set.instances, ...set.instances].every(Object.isFrozen)).toBe(true);
          const kept = new Map(before.map((each) => [each.id, each]));
          for (const each of set.instances) {
            const old = kept.get(each.id);
            if (old !== undefined && sameInstance(old, each)) expect(each).toBe(old);
          }
          const isEqual = before.length === set.instances.length && before.every((old, n) => old === set.instances[n]);
          if (isEqual) expect(set.instances).toBe(before);
        }
      }),
      { numRuns: 200 },
    );
  });
});
