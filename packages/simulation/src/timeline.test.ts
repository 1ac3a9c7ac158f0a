import { describe, expect, it } from "vitest";
import { TimelineReader, timelineOf } from "./timeline.ts";

describe("timelineOf", () => {
  it("puts faults together, those that come again until the end", () => {
    const timeline = timelineOf(
      2,
      [
        { kind: "slow", factor: 4, fromMs: 100, toMs: 300 },
        { kind: "pause", fromMs: 200, toMs: 250, everyMs: 400 },
        { kind: "dead", fromMs: 700 },
      ],
      1_000,
    );
    expect(timeline.map(({ fromMs, speed, progress, isDead }) => [fromMs, speed, progress, isDead])).toEqual([
      [0, 2, 0, false],
      [100, 0.5, 200, false],
      [200, 0, 250, false],
      [250, 0.5, 250, false],
      [300, 2, 275, false],
      [600, 0, 875, false],
      [650, 2, 875, false],
      [700, 2, 975, true],
    ]);
  });
});

describe("TimelineReader", () => {
  const reader = new TimelineReader(
    timelineOf(
      1,
      [
        { kind: "pause", fromMs: 100, toMs: 200 },
        { kind: "slow", factor: 2, fromMs: 300 },
      ],
      1_000,
    ),
  );

  it("says when work will be done, through pauses and changes of speed", () => {
    expect(reader.timeOf(reader.progressAt(90) + 5, 90)).toBe(95);
    expect(reader.timeOf(reader.progressAt(90) + 20, 90)).toBe(210);
    expect(reader.timeOf(reader.progressAt(150) + 20, 150)).toBe(220);
    expect(reader.timeOf(reader.progressAt(290) + 20, 290)).toBe(320);
    expect(reader.timeOf(reader.progressAt(1_000) + 20, 1_000)).toBe(1_040);
  });

  it("agrees with itself wherever one asks first", () => {
    for (const atMs of [350, 0, 150, 250, 99, 301]) {
      expect(reader.timeOf(reader.progressAt(atMs), atMs)).toBeCloseTo(atMs, 9);
    }
  });

  it("never comes to an end of work that stands still for ever", () => {
    const stopped = new TimelineReader(timelineOf(1, [{ kind: "pause", fromMs: 100 }], 1_000));
    expect(stopped.timeOf(100, 0)).toBe(100);
    expect(stopped.timeOf(101, 0)).toBe(Infinity);
    expect(stopped.timeOf(101, 500)).toBe(Infinity);
  });
});

describe("a long timeline", () => {
  it("is made at once, however often a fault comes again", () => {
    const startedAt = performance.now();
    const often = { kind: "pause", fromMs: 5, toMs: 6, everyMs: 10 } as const;
    const timeline = timelineOf(1, [often, { kind: "dead", fromMs: 7 }], 500_000);
    expect(timeline).toHaveLength(100_002);
    expect(timeline.at(-2)).toMatchObject({ fromMs: 499_995, speed: 0, progress: 449_996, isDead: true });
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });
});
