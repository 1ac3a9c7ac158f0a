import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { EventLoopUse } from "./event-loop-use.ts";

/** An event loop that is busy for as long as the test says. */
function loop() {
  let idle = 0;
  let active = 0;
  const use = new EventLoopUse(
    () => idle + active,
    () => ({ idle, active }),
  );
  return {
    use,
    /** In steps, with a look after each. */
    pass: (busyMs: number, idleMs: number, times = 1): number => {
      for (let n = 0; n < times; n++) {
        active += busyMs;
        idle += idleMs;
        void use.utilization;
      }
      return use.utilization;
    },
  };
}

describe("EventLoopUse", () => {
  it("is 0 before anything has passed", () => expect(loop().use.utilization).toBe(0));

  it("is the share of time in which something was done", () => {
    expect(loop().pass(6, 14, 100)).toBeCloseTo(0.3);
    expect(loop().pass(20, 0, 100)).toBe(1);
    expect(loop().pass(0, 20, 100)).toBe(0);
    expect(loop().pass(200, 50, 20)).toBeCloseTo(0.8);
  });

  it("knows of a change within half a second, whole", () => {
    const { pass } = loop();
    pass(0, 20, 100);
    expect(pass(20, 0, 13)).toBeGreaterThan(0.4);
    expect(pass(20, 0, 13)).toBe(1);
    expect(pass(0, 20, 27)).toBe(0);
  });

  it("is the mean since the last look, if nobody asked for long, and fresh again half a second later", () => {
    const { pass } = loop();
    pass(20, 0, 100);
    expect(pass(0, 10_000)).toBeLessThan(0.1);
    pass(0, 250);
    expect(pass(125, 125)).toBeCloseTo(0.5);
  });

  it("knows of this process's own loop", async () => {
    const use = new EventLoopUse();
    for (const end = performance.now() + 300; performance.now() < end;);
    await delay(1);
    expect(use.utilization).toBeGreaterThan(0.9);
  });
});
