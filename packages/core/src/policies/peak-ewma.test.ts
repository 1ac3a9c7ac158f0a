import { type Fleet, fleet } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { InvalidOptionError } from "../errors.ts";
import { type PeakEwmaOptions, peakEwma } from "./peak-ewma.ts";

const good = (afterMs: number) => ({ afterMs, isGood: true });
const bad = (afterMs: number) => ({ afterMs, isGood: false });

/** A call every `everyMs`, for `ms`; how many went to each. */
function play(
  { call, clock }: Fleet,
  ms: number,
  everyMs: number,
  answer: (id: string) => { readonly afterMs: number; readonly isGood: boolean },
): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const end = clock.now() + ms; clock.now() < end; clock.advanceSync(everyMs)) {
    const id = call(answer);
    counts[id] = (counts[id] ?? 0) + 1;
  }
  return counts;
}

const costs = ({ balancer }: Fleet): (number | undefined)[] => balancer.explain().candidates.map(({ cost }) => cost);

describe("peakEwma", () => {
  it("leaps up with a slow answer and comes down with time, by e to the -t/decay", () => {
    const one = fleet(peakEwma({ decayMs: 1_000 }), 1);
    play(one, 1_000, 100, () => good(10));
    one.call(() => good(500));
    one.clock.advanceSync(500);
    expect(costs(one)).toEqual([500]);
    one.clock.advanceSync(1_000);
    expect(costs(one)[0]).toBeCloseTo(500 / Math.E, 6);
  });

  it("averages faster answers in: v·k + x·(1 - k)", () => {
    const one = fleet(peakEwma({ decayMs: 1_000 }), 1);
    one.call(() => good(100));
    one.clock.advanceSync(100);
    one.call(() => good(50));
    one.clock.advanceSync(50);
    const k = Math.exp(-50 / 1_000);
    expect(costs(one)[0]).toBeCloseTo(100 * k + 50 * (1 - k), 6);
  });

  it("multiplies by the calls in hand and divides by weight", () => {
    const two = fleet(peakEwma(), 2);
    two.set([{ id: "i0", weight: 4 }, { id: "i1" }]);
    for (let n = 0; n < 2; n++) two.call(() => good(40));
    two.clock.advanceSync(40);
    expect(costs(two)).toEqual([40 / 4, 40]);
    expect(two.call(() => good(10))).toBe("i0");
    expect(costs(two)).toEqual([80 / 4, 40]);
  });

  it("asks a newcomer at once, and then expects of it what the fleet needs until it answers", () => {
    const made = fleet(peakEwma(), 2);
    expect(costs(made).every((cost = NaN) => cost < 1)).toBe(true);
    play(made, 20_000, 20, () => good(100));
    made.set([{ id: "i0" }, { id: "i1" }, { id: "i2" }]);
    expect(made.call(() => good(10_000))).toBe("i2");
    expect(costs(made)[2]).toBeCloseTo(2 * 197, 0);
  });

  it("sends nothing to slow ones in a small fleet: two of four, less than a call in a thousand", () => {
    const four = fleet(peakEwma(), 4);
    const answer = (id: string) => good(id < "i2" ? 10 : 500);
    play(four, 5_000, 5, answer);
    const counts = play(four, 20_000, 5, answer);
    expect(((counts["i2"] ?? 0) + (counts["i3"] ?? 0)) / 4_000).toBeLessThan(0.001);
  });

  it("is not attracted by who fails fast", () => {
    const ten = fleet(peakEwma(), 10);
    const counts = play(ten, 20_000, 5, (id) => (id === "i3" ? bad(1) : good(20)));
    // A share of a tenth would be 400; one probe in four seconds are 5.
    expect(counts["i3"] ?? 0).toBeLessThan(12);
  });

  it("notices who has stopped before its first late answer", () => {
    const three = fleet(peakEwma(), 3);
    play(three, 3_000, 5, () => good(10));
    const counts = play(three, 900, 5, (id) => (id === "i1" ? bad(1_000) : good(10)));
    expect(counts["i1"] ?? 0).toBeLessThan(8);
  });

  it("is not fooled by a call that goes on for ever while others are answered", () => {
    const two = fleet(peakEwma(), 2);
    two.call((id) => good(id === "i0" ? 600_000 : 600_000));
    const counts = play(two, 5_000, 5, () => good(10));
    expect(Math.min(...Object.values(counts))).toBeGreaterThan(100);
  });

  it("takes who has recovered back within seconds, and fully", () => {
    const four = fleet(peakEwma(), 4);
    play(four, 5_000, 5, (id) => (id === "i2" ? bad(1) : good(10)));
    play(four, 5_000, 5, () => good(10));
    const counts = play(four, 5_000, 5, () => good(10));
    expect(counts["i2"] ?? 0).toBeGreaterThan(150);
  });

  it("learns nothing from calls that were cancelled", () => {
    const one = fleet(peakEwma(), 1);
    one.call(() => good(10));
    one.clock.advanceSync(10);
    const pick = one.balancer.pick();
    one.clock.advanceSync(5_000);
    pick.done({ kind: "cancelled" });
    expect(costs(one)[0]).toBeLessThan(10);
  });

  it.each([{ decayMs: 0 }, { penaltyMs: -1 }, { choices: 1 }, { tau: 1 }])("refuses %o", (options) => {
    expect(() => peakEwma(options as PeakEwmaOptions)).toThrow(InvalidOptionError);
  });
});
