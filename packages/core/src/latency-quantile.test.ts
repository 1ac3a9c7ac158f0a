import { seededRandom } from "@rollcall/testing";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LatencyQuantile } from "./latency-quantile.ts";

function exact(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

describe("LatencyQuantile", () => {
  it.each([
    [0.5, 10],
    [0.9, 50],
    [0.95, 100],
    [0.99, 500],
  ])("says nothing of the quantile %d before some %i samples, five of which lie above it", (share, least) => {
    const quantile = new LatencyQuantile(share);
    for (let n = 0; n < least - 1; n++) quantile.add(10, 0);
    expect(quantile.ms).toBeUndefined();
    for (let n = 0; n < 2; n++) quantile.add(10, 0);
    expect(quantile.ms).toBeGreaterThan(9);
  });

  it.each([0.5, 0.9, 0.95, 0.99])("is right within a tenth: %d of answers of all kinds", (share) => {
    const random = seededRandom(7);
    const shapes: Record<string, () => number> = {
      even: () => 1 + 99 * random(),
      exponential: () => -20 * Math.log(1 - random()),
      // Four orders of magnitude.
      pareto: () => 0.05 / (1 - random()) ** (1 / 1.2),
      bimodal: () => (random() < 0.93 ? 5 + random() : 500 + 100 * random()),
    };
    for (const [name, draw] of Object.entries(shapes)) {
      const quantile = new LatencyQuantile(share);
      const samples = Array.from({ length: 900 }, draw);
      for (const ms of samples) quantile.add(ms, 0);
      // Chance moves the exact one, too: what counts is where in the order the answer lies.
      const found = quantile.ms ?? NaN;
      const below = exact(samples, share - (1 - share) * 0.35) * 0.93;
      const above = exact(samples, share + (1 - share) * 0.35) * 1.1;
      expect([name, share, found > below && found < above]).toEqual([name, share, true]);
    }
  });

  it("follows when all becomes slower, and when it becomes faster again", () => {
    const quantile = new LatencyQuantile(0.95);
    const feed = (ms: number, count: number): void => {
      for (let n = 0; n < count; n++) quantile.add(ms, 0);
    };
    feed(10, 5_000);
    expect(quantile.ms).toBeCloseTo(10, -0.5);
    feed(100, 200);
    expect(quantile.ms).toBeGreaterThan(90);
    feed(10, 5_000);
    expect(quantile.ms).toBeLessThan(11);
  });

  it("forgets with time, too: what a quiet client saw minutes ago says nothing", () => {
    const quantile = new LatencyQuantile(0.95);
    let now = 0;
    for (; now < 100; now++) quantile.add(10, now);
    expect(quantile.ms).toBeGreaterThan(9);
    // One answer a minute: half of all is forgotten from time to time.
    for (let n = 0; n < 200; n++) quantile.add(10, (now += 60_000));
    expect(quantile.ms).toBeUndefined();
  });

  it("takes whatever is measured, and stays a number", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.double({ min: -10, max: 1e12, noNaN: true }), fc.constant(0)), {
          minLength: 100,
          maxLength: 400,
        }),
        (samples) => {
          const quantile = new LatencyQuantile(0.9);
          samples.forEach((ms, at) => quantile.add(ms, at));
          expect(quantile.ms).toBeGreaterThan(0);
          expect(quantile.ms).toBeLessThan(2 ** 21);
        },
      ),
    );
  });
});
