import { describe, expect, it } from "vitest";
import { retryAfterMs } from "./retry-after.ts";

describe("retryAfterMs", () => {
  const at = "Sun, 06 Nov 1994 08:49:37 GMT";

  it.each([
    ["0", 0],
    ["1", 1_000],
    [" 120 ", 120_000],
    [["3", "5"], 3_000],
  ])("reads %j as seconds", (value, ms) => {
    expect(retryAfterMs(value)).toBe(ms);
  });

  it.each([
    ["Sun, 06 Nov 1994 08:49:40 GMT", 3_000],
    ["Sunday, 06-Nov-94 08:49:40 GMT", 3_000],
    ["Sun Nov  6 08:49:40 1994", 3_000],
    [at, 0],
    ["Sun, 06 Nov 1994 08:49:30 GMT", 0],
  ])("reads %j as a date, from the answer's own date on", (value, ms) => {
    expect(retryAfterMs(value, at)).toBe(ms);
  });

  it("takes this machine's clock when the answer has no date, or none that can be read", () => {
    const later = new Date(Date.now() + 60_000).toUTCString();
    for (const date of [undefined, "", "yesterday", "-1"]) {
      expect(retryAfterMs(later, date)).toBeGreaterThan(55_000);
      expect(retryAfterMs(later, date)).toBeLessThanOrEqual(60_000);
    }
  });

  it.each([undefined, "", " ", "soon", "-1", "1.5", "1e3", "0x10", "NaN", "Infinity", "1, 2", "Sun, 99 Nov 1994", []])(
    "reads nothing from %j",
    (value) => {
      expect(retryAfterMs(value, at)).toBeUndefined();
    },
  );
});
