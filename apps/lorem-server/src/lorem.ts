import { WORDS } from "./words.ts";

/** Uniform in [0, 1), like `Math.random`. */
export type Random = () => number;

/** Both ends are included. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

/** How many words the sentences of a paragraph have. */
const SENTENCE_IN_PARAGRAPH: Range = { min: 5, max: 21 };

/** A sentence has at most this many commas. */
const MAX_COMMAS = 2;

/** The lengths for which there are words: 1…13 letters. */
export const WORD_LETTERS: Range = { min: 1, max: WORDS.length - 1 };

/** A whole number within the range, each with the same probability. */
function between({ min, max }: Range, random: Random): number {
  return min + Math.floor(random() * (max - min + 1));
}

function pickFrom<T>(list: readonly T[], random: Random): T {
  const picked = list[between({ min: 0, max: list.length - 1 }, random)];
  if (picked === undefined) throw new RangeError("nothing to pick from");
  return picked;
}

/** One lower-case word; its length is uniform in the range, which must lie within {@link WORD_LETTERS}. */
export function word(letters: Range, random: Random): string {
  return pickFrom(WORDS[between(letters, random)] ?? [], random);
}

/** All words of all lengths, so that a text is made of them as often as Latin has them. */
const VOCABULARY = WORDS.flat();

/**
 * A sentence of as many words as the range says: the first is capitalised, up to two are followed by a comma (never
 * two commas at one place, none after the last word), and it ends with a full stop.
 */
export function sentence(words: Range, random: Random): string {
  const text = Array.from({ length: between(words, random) }, () => pickFrom(VOCABULARY, random));
  const commas = between({ min: 0, max: Math.min(MAX_COMMAS, text.length - 1) }, random);
  const gaps = new Set<number>();
  while (gaps.size < commas) gaps.add(between({ min: 0, max: text.length - 2 }, random));
  const [first = "", ...rest] = text.map((entry, place) => (gaps.has(place) ? `${entry},` : entry));
  return `${[first.charAt(0).toUpperCase() + first.slice(1), ...rest].join(" ")}.`;
}

/** A paragraph of as many sentences as the range says, 5…21 words each, with a space between them. */
export function paragraph(sentences: Range, random: Random): string {
  return Array.from({ length: between(sentences, random) }, () => sentence(SENTENCE_IN_PARAGRAPH, random)).join(" ");
}
