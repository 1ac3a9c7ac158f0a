import { manualClock, seededRandom } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { RECONNECT, fullJitter } from "./backoff.ts";

const highest = manualClock({ random: () => 1 - Number.EPSILON }).env;

describe("fullJitter", () => {
  it("doubles the upper end with each attempt, from the base to the cap", () => {
    const delay = fullJitter(highest, { baseMs: 25, capMs: 1_000 });
    expect([1, 2, 3, 4, 5, 6, 7, 8].map((attempt) => Math.round(delay(attempt)))).toEqual([
      25, 50, 100, 200, 400, 800, 1_000, 1_000,
    ]);
  });

  it("is uniform from zero to there", () => {
    const delay = fullJitter(manualClock({ random: seededRandom(1) }).env, { baseMs: 100, capMs: 10_000 });
    const delays = Array.from({ length: 20_000 }, () => delay(3));
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...delays)).toBeLessThan(400);
    const tenths = Array.from(
      { length: 10 },
      (_, tenth) => delays.filter((ms) => Math.floor(ms / 40) === tenth).length,
    );
    for (const found of tenths) expect(Math.abs(found - 2_000)).toBeLessThan(200);
  });

  it("stays at the cap however many attempts failed", () => {
    const delay = fullJitter(highest, { baseMs: 500, capMs: 2_000 });
    for (const attempt of [31, 1_000, 1e6, Number.MAX_SAFE_INTEGER]) expect(delay(attempt)).toBeCloseTo(2_000, 6);
  });

  it("has no state: the same attempt may be asked for again, in any order", () => {
    const delay = fullJitter(manualClock().env, { baseMs: 100, capMs: 1_000 });
    expect([delay(3), delay(1), delay(3)]).toEqual([200, 50, 200]);
  });

  it("reconnects within two seconds, far below the thirty that are promised", () => {
    const delay = fullJitter(highest, RECONNECT);
    expect([1, 2, 3, 4, 50].map((attempt) => Math.round(delay(attempt)))).toEqual([500, 1_000, 2_000, 2_000, 2_000]);
  });

  it("reconnects at most five times a second, whatever the dice say", () => {
    const delay = fullJitter(manualClock({ random: () => 0 }).env, RECONNECT);
    expect([1, 2, 3, 50].map((attempt) => delay(attempt))).toEqual([200, 200, 200, 200]);
  });
});
