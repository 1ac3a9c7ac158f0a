import { describe, expect, it } from "vitest";
import { paragraph, type Random, sentence, word, WORD_LETTERS } from "./lorem.ts";
import { WORDS } from "./words.ts";

/** A small generator with a seed (mulberry32), so that a failure can be repeated. */
function seeded(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const lowest: Random = () => 0;
const highest: Random = () => 1 - Number.EPSILON / 2;
const seeds = Array.from({ length: 300 }, (_, seed) => seed);

describe("the words", () => {
  it("are lower-case letters only, as long as their place says, from 1 to 13, and none is listed twice", () => {
    expect(WORD_LETTERS).toEqual({ min: 1, max: 13 });
    expect(WORDS[0]).toEqual([]);
    for (let letters = 1; letters <= 13; letters++) {
      expect(WORDS[letters]?.length).toBeGreaterThan(0);
      for (const entry of WORDS[letters] ?? []) expect(entry).toMatch(new RegExp(`^[a-z]{${letters}}$`));
    }
    expect(new Set(WORDS.flat()).size).toBe(WORDS.flat().length);
  });
});

describe("word", () => {
  it("has a length within the bounds, and reaches both of them, for every pair of bounds", () => {
    for (let min = 1; min <= 13; min++) {
      for (let max = min; max <= 13; max++) {
        const lengths = seeds.map((seed) => word({ min, max }, seeded(seed)).length);
        expect(Math.min(...lengths)).toBe(min);
        expect(Math.max(...lengths)).toBe(max);
        expect(word({ min, max }, lowest)).toHaveLength(min);
        expect(word({ min, max }, highest)).toHaveLength(max);
      }
    }
  });

  it("is as often short as long", () => {
    const random = seeded(7);
    const counts = new Map<number, number>();
    for (let n = 0; n < 8_000; n++) {
      const { length } = word({ min: 3, max: 6 }, random);
      counts.set(length, (counts.get(length) ?? 0) + 1);
    }
    for (const length of [3, 4, 5, 6]) expect(counts.get(length)).toSatisfy((n: number) => n > 1_850 && n < 2_150);
  });
});

/** Asserts everything that makes a sentence one, and returns the number of its words. */
function wordsOf(text: string): number {
  expect(text).toMatch(/^[A-Z][a-z]*(,? [a-z]+)*\.$/);
  expect(text.split(",").length - 1).toBeLessThanOrEqual(2);
  return text.split(" ").length;
}

describe("sentence", () => {
  it("has its number of words within the bounds, one capital, at most two commas, and a full stop", () => {
    for (const [min, max] of [
      [1, 1],
      [1, 2],
      [2, 3],
      [3, 9],
      [40, 50],
    ] as const) {
      const counts = seeds.map((seed) => wordsOf(sentence({ min, max }, seeded(seed))));
      expect(Math.min(...counts)).toBe(min);
      expect(Math.max(...counts)).toBe(max);
    }
  });

  it("has no comma, one and two, each now and then; a single word never has any", () => {
    const commas = (text: string): number => text.split(",").length - 1;
    const seen = new Set(seeds.map((seed) => commas(sentence({ min: 5, max: 9 }, seeded(seed)))));
    expect(seen).toEqual(new Set([0, 1, 2]));
    for (const seed of seeds) expect(commas(sentence({ min: 1, max: 1 }, seeded(seed)))).toBe(0);
    for (const seed of seeds) expect(commas(sentence({ min: 2, max: 2 }, seeded(seed)))).toBeLessThan(2);
  });
});

describe("paragraph", () => {
  it("has its number of sentences within the bounds, of 5 to 21 words each", () => {
    const lengths: number[] = [];
    const counts = seeds.map((seed) => {
      const sentences = paragraph({ min: 2, max: 4 }, seeded(seed)).split(/(?<=\.) /);
      lengths.push(...sentences.map(wordsOf));
      return sentences.length;
    });
    expect([Math.min(...counts), Math.max(...counts)]).toEqual([2, 4]);
    expect([Math.min(...lengths), Math.max(...lengths)]).toEqual([5, 21]);
  });
});
