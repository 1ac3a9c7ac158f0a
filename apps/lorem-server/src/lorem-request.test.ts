import { describe, expect, it } from "vitest";
import { lorem, parseLoremRequest } from "./lorem-request.ts";

describe("parseLoremRequest", () => {
  it.each([
    ["word", "1", "13", { type: "word", min: 1, max: 13 }],
    ["Word", "3", "3", { type: "word", min: 3, max: 3 }],
    ["SENTENCE", 1, 1000, { type: "sentence", min: 1, max: 1000 }],
    ["paragraph", "002", "5", { type: "paragraph", min: 2, max: 5 }],
  ])("takes %s from %s to %s", (type, min, max, expected) => {
    expect(parseLoremRequest(type, min, max)).toEqual(expected);
  });

  it.each([
    ["an unknown type", "novel", "1", "2", 'type must be word, sentence, paragraph, not "novel"'],
    ["no type", undefined, "1", "2", "not nothing"],
    ["a type that every object has", "toString", "1", "2", "type must be"],
    ["a type that is no text", { word: 1 }, "1", "2", 'not {"word":1}'],
    ["a very long type", "x".repeat(10_000), "1", "2", `not "${"x".repeat(39)}…`],
    [
      "letters for a bound",
      "word",
      "one",
      "2",
      'min must be a whole number, and a word has 1 to 13 letters, not "one"',
    ],
    ["an empty bound", "word", "", "2", 'not ""'],
    ["half a letter", "word", "1.5", "2", 'not "1.5"'],
    ["a hexadecimal bound", "word", "0x1", "2", 'not "0x1"'],
    ["an exponent", "sentence", "1e2", "200", 'not "1e2"'],
    ["white space", "word", " 1", "2", 'not " 1"'],
    ["a negative bound", "word", "-1", "2", 'not "-1"'],
    ["no letters", "word", "0", "2", 'not "0"'],
    ["no words", "sentence", "0", "0", "a sentence has 1 to 1000 words"],
    ["no sentences", "paragraph", "0", "3", "a paragraph has 1 to 1000 sentences"],
    ["a word of 14 letters", "word", "1", "14", 'max must be a whole number, and a word has 1 to 13 letters, not "14"'],
    ["a huge bound", "paragraph", "1", "9".repeat(400), "a paragraph has 1 to 1000 sentences"],
    ["bounds the wrong way round", "word", "9", "3", "min must not be above max, but 9 is above 3"],
    ["a bound that is null", "word", null, 3, "not null"],
    ["a bound that is a list", "word", [1], 3, "not [1]"],
    ["a missing bound", "word", 1, undefined, "max must be a whole number"],
    ["NaN", "word", Number.NaN, 3, "min must be a whole number"],
  ])("refuses %s", (_, type, min, max, message) => {
    expect(() => parseLoremRequest(type, min, max)).toThrowError(
      expect.objectContaining({ name: "BadRequest", status: 400, message: expect.stringContaining(message) }),
    );
  });
});

describe("lorem", () => {
  it("makes what was asked for", () => {
    expect(lorem(parseLoremRequest("word", 10, 10))).toMatch(/^[a-z]{10}$/);
    expect(lorem(parseLoremRequest("sentence", 3, 3)).split(" ")).toHaveLength(3);
    expect(lorem(parseLoremRequest("paragraph", 2, 2)).match(/\./g)).toHaveLength(2);
  });
});
