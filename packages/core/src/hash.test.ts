import { describe, expect, it } from "vitest";
import { hash, rehash } from "./hash.ts";

describe("hash", () => {
  it("never changes: keys must stay where they are when a client is upgraded", () => {
    expect([hash(""), hash("a"), hash("user-7"), hash("10.0.0.1:80", 1), hash("größe€😀")]).toMatchInlineSnapshot(`
      [
        0,
        1867108634,
        3073791261,
        2387037944,
        1650151564,
      ]
    `);
  });

  it.each([0, 1, 12_345])("spreads texts that are nearly alike evenly, with seed %d", (seed) => {
    const cells = new Uint32Array(64);
    for (let n = 0; n < 64_000; n++) {
      const cell = hash(`user-${n}`, seed) >>> 26;
      cells[cell] = (cells[cell] ?? 0) + 1;
    }
    for (const count of cells) expect(Math.abs(count - 1_000)).toBeLessThan(5 * 32);
  });

  it("is another hash with another seed", () => {
    let same = 0;
    for (let n = 0; n < 10_000; n++) if (hash(`${n}`, 1) % 100 === hash(`${n}`, 2) % 100) same++;
    expect(Math.abs(same - 100)).toBeLessThan(50);
  });

  it("does not confuse lengths", () => {
    expect(new Set(["", "\0", "\0\0", "\0\0\0"].map((text) => hash(text))).size).toBe(4);
  });
});

describe("rehash", () => {
  it("gives another place for each seed", () => {
    const places = Array.from({ length: 1_000 }, (_, seed) => rehash(hash("user-7"), seed));
    expect(new Set(places).size).toBe(1_000);
    expect(places.every((place) => Number.isInteger(place) && place >= 0 && place < 2 ** 32)).toBe(true);
  });
});
