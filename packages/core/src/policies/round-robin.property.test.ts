import { manualClock } from "@rollcall/testing";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lorem } from "../../test/lorem.ts";
import { LiveEndpoint } from "../endpoint.ts";
import type { NonEmpty } from "../policy.ts";
import { roundRobin } from "./round-robin.ts";

type Numbered = LiveEndpoint<number>;

const COUNT = 6;
const all = Array.from({ length: COUNT }, (_, index) => new LiveEndpoint(lorem(index + 1), index));

/** A set in its order: some of all the endpoints. */
const someSet = fc
  .subarray(all, { minLength: 1 })
  .map((endpoints): NonEmpty<Numbered> => endpoints as unknown as NonEmpty<Numbered>);

const steps = fc.array(fc.record({ set: someSet, picks: fc.nat(15) }), { minLength: 1, maxLength: 12 });
const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe("roundRobin, for any sequence of sets and picks", () => {
  it("keeps any two endpoints at most one pick apart, at any time, for as long as both are there", () => {
    fc.assert(
      fc.property(chance, steps, (random, sequence) => {
        const state = roundRobin().create(manualClock({ random: () => random }).env);
        // For each pair: how far the first is ahead of the second, and how far it was ahead or behind at most.
        const pairs = new Map<string, { ahead: number; most: number; least: number }>();
        let furthest = 0;
        for (const { set, picks } of sequence) {
          const picker = state.picker(set);
          for (const a of all) {
            for (const b of all) {
              if (a.client >= b.client) continue;
              const key = `${a.client} ${b.client}`;
              if (!set.includes(a) || !set.includes(b)) pairs.delete(key);
              else if (!pairs.has(key)) pairs.set(key, { ahead: 0, most: 0, least: 0 });
            }
          }
          for (let pick = 0; pick < picks; pick++) {
            const { client } = picker({});
            for (const [key, pair] of pairs) {
              const [a, b] = key.split(" ").map(Number);
              pair.ahead += client === a ? 1 : client === b ? -1 : 0;
              pair.most = Math.max(pair.most, pair.ahead);
              pair.least = Math.min(pair.least, pair.ahead);
              // In every window of time, not only since the two met.
              furthest = Math.max(furthest, pair.most - pair.least);
            }
          }
        }
        expect(furthest).toBeLessThanOrEqual(1);
      }),
      { numRuns: 500 },
    );
  });

  it("gives each endpoint of a set exactly k of n·k picks, whatever came before", () => {
    fc.assert(
      fc.property(chance, steps, someSet, fc.integer({ min: 1, max: 5 }), (random, sequence, last, k) => {
        const state = roundRobin().create(manualClock({ random: () => random }).env);
        for (const { set, picks } of sequence) {
          const picker = state.picker(set);
          const strangers = Array.from({ length: picks }, () => picker({})).filter(
            (endpoint) => !set.includes(endpoint),
          );
          expect(strangers).toEqual([]);
        }
        const picker = state.picker(last);
        const counts = new Map<Numbered, number>();
        for (let pick = 0; pick < last.length * k; pick++) {
          const endpoint = picker({});
          counts.set(endpoint, (counts.get(endpoint) ?? 0) + 1);
        }
        expect(last.map((endpoint) => counts.get(endpoint))).toEqual(last.map(() => k));
      }),
      { numRuns: 500 },
    );
  });
});
