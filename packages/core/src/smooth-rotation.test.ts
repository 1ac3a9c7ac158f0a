import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Lettered, lettered, numbered } from "../test/lettered.ts";
import type { Endpoint } from "./endpoint.ts";
import { SmoothRotation } from "./smooth-rotation.ts";

/** nginx's algorithm as it stands there: O(n) per pick. */
class Naive {
  readonly credit: Map<Endpoint, number>;
  readonly #endpoints: readonly Endpoint[];
  constructor(endpoints: readonly Endpoint[], before?: Naive) {
    this.#endpoints = endpoints;
    const sum = endpoints.reduce((total, { instance }) => total + instance.weight, 0);
    this.credit = new Map(endpoints.map((e) => [e, Math.max(-sum, Math.min(sum, before?.credit.get(e) ?? 0))]));
  }
  next(avoid: ReadonlySet<Endpoint> = new Set()): Endpoint {
    let best: Endpoint | undefined;
    let sum = 0;
    for (const endpoint of this.#endpoints) {
      const { weight } = endpoint.instance;
      sum += weight;
      this.credit.set(endpoint, (this.credit.get(endpoint) ?? 0) + weight);
    }
    const others = this.#endpoints.filter((endpoint) => !avoid.has(endpoint));
    for (const endpoint of others.length > 0 ? others : this.#endpoints) {
      if (best === undefined || (this.credit.get(endpoint) ?? 0) > (this.credit.get(best) ?? 0)) best = endpoint;
    }
    const picked = best as Endpoint;
    this.credit.set(picked, (this.credit.get(picked) ?? 0) - sum);
    return picked;
  }
}

const letters = (weights: Readonly<Record<string, number>>, count: number): string => {
  const rotation = new SmoothRotation<Lettered>(lettered(weights));
  return Array.from({ length: count }, () => rotation.next().client).join("");
};

describe("SmoothRotation", () => {
  it.each([
    [{ a: 5, b: 1, c: 1 }, "aabacaaaabacaa"],
    [{ a: 1, b: 1, c: 1 }, "abcabc"],
    [{ a: 2, b: 1 }, "abaaba"],
    [{ a: 0.5, b: 0.25 }, "abaaba"],
    [{ a: 4, b: 3, c: 2 }, "abcabacba"],
    [{ a: 7 }, "aaa"],
  ])("has the sequence of nginx: %o → %s", (weights, expected) => {
    expect(letters(weights as Record<string, number>, expected.length)).toBe(expected);
  });

  const weights = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 60 });

  it("has the very sequence of the naive algorithm, for any weights, also with more weights than it scans", () => {
    fc.assert(
      fc.property(weights, (each) => {
        const set = numbered(each.length, (index) => ({ weight: each[index] }));
        const [smooth, naive] = [new SmoothRotation<Endpoint>(set), new Naive(set)];
        for (let n = 0; n < 300; n++) expect(smooth.next()).toBe(naive.next());
      }),
      { numRuns: 200 },
    );
  });

  it("has it with updates of the set and with endpoints to avoid, too", () => {
    const set = numbered(40, (index) => ({ weight: 1 + ((index * 7) % 23) }));
    const some = fc.subarray([...set], { minLength: 1 });
    const step = fc.record({ set: some, avoid: fc.subarray([...set], { maxLength: 3 }), picks: fc.nat(30) });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 10 }), (steps) => {
        let smooth: SmoothRotation<Endpoint> | undefined;
        let naive: Naive | undefined;
        for (const { set: endpoints, avoid, picks } of steps) {
          smooth = new SmoothRotation<Endpoint>(endpoints, smooth);
          naive = new Naive(endpoints, naive);
          expect(smooth.next(new Set(avoid))).toBe(naive.next(new Set(avoid)));
          for (let n = 0; n < picks; n++) expect(smooth.next()).toBe(naive.next());
        }
      }),
      { numRuns: 300 },
    );
  });

  it("gives each exactly its weight in every cycle of integer weights", () => {
    fc.assert(
      fc.property(weights, fc.integer({ min: 1, max: 3 }), (each, cycles) => {
        const set = numbered(each.length, (index) => ({ weight: each[index] }));
        const rotation = new SmoothRotation(set);
        const counts = each.map(() => 0);
        const sum = each.reduce((total, weight) => total + weight, 0);
        for (let n = 0; n < sum * cycles; n++) {
          const { client } = rotation.next();
          counts[client] = (counts[client] ?? 0) + 1;
        }
        expect(counts).toEqual(each.map((weight) => weight * cycles));
      }),
      { numRuns: 100 },
    );
  });

  it("floods nobody when a fleet shrinks", () => {
    const set = numbered(1_000);
    const before = new SmoothRotation<Endpoint>(set);
    before.skip(500);
    // One that has waited longest, and one that has just been served.
    const after = new SmoothRotation<Endpoint>([set[0], set[999] as Endpoint], before);
    const picks = Array.from({ length: 10 }, () => after.next());
    expect(picks.filter((endpoint) => endpoint === set[0]).length).toBeGreaterThanOrEqual(4);
  });
});
