import { paragraph, type Random, type Range, sentence, word, WORD_LETTERS } from "./lorem.ts";

/** The longest text that is made: bounds what one request can cost. */
const MOST = 1_000;

const KINDS = {
  word: { limits: WORD_LETTERS, what: "a word has", unit: "letters", make: word },
  sentence: { limits: { min: 1, max: MOST }, what: "a sentence has", unit: "words", make: sentence },
  paragraph: { limits: { min: 1, max: MOST }, what: "a paragraph has", unit: "sentences", make: paragraph },
} as const;

/** What can be asked for. */
export type LoremType = keyof typeof KINDS;

/** A request that has been checked: it can be answered. */
export interface LoremRequest extends Range {
  readonly type: LoremType;
}

/** The request cannot be answered, and never will be. The message says what to change; it is meant for the caller. */
export class BadRequest extends Error {
  override readonly name = "BadRequest";
  readonly status = 400;
}

/**
 * Checks what a caller asked for: a word of so many letters (1…13), a sentence of so many words or a paragraph of so
 * many sentences (1…1000). Both bounds are included, and may be numbers or their decimal digits. The type may be in
 * upper or lower case.
 *
 * @throws BadRequest for an unknown type, a bound that is no whole number or out of range, and for `min` above `max`.
 */
export function parseLoremRequest(type: unknown, min: unknown, max: unknown): LoremRequest {
  const known = typeof type === "string" ? type.toLowerCase() : "";
  if (!isLoremType(known)) throw new BadRequest(`type must be ${Object.keys(KINDS).join(", ")}, not ${shown(type)}`);
  const range = { min: wholeNumber("min", min, known), max: wholeNumber("max", max, known) };
  if (range.min > range.max) throw new BadRequest(`min must not be above max, but ${range.min} is above ${range.max}`);
  return { type: known, ...range };
}

/** Makes the text that was asked for. */
export function lorem({ type, ...range }: LoremRequest, random: Random = Math.random): string {
  return KINDS[type].make(range, random);
}

function isLoremType(value: string): value is LoremType {
  return Object.hasOwn(KINDS, value);
}

function wholeNumber(name: string, value: unknown, type: LoremType): number {
  const number = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
  const { limits, what, unit } = KINDS[type];
  const fits = typeof number === "number" && Number.isInteger(number) && number >= limits.min && number <= limits.max;
  if (fits) return number;
  throw new BadRequest(
    `${name} must be a whole number, and ${what} ${limits.min} to ${limits.max} ${unit}, not ${shown(value)}`,
  );
}

/** A caller's value in a message: as JSON, and never long. */
function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
