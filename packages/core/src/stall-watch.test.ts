import { manualClock } from "@rollcall/testing";
import { describe, expect, it, vi } from "vitest";
import { createBalancer } from "./balancer.ts";
import { fixedEndpointer } from "./fixed-endpointer.ts";
import type { Policy } from "./policy.ts";
import { StallWatch } from "./stall-watch.ts";

/** A clock whose timers can be held up, as by a blocked event loop: `block` moves the time and runs none of them. */
function start() {
  const clock = manualClock();
  let blockedMs = 0;
  const env = { ...clock.env, now: () => clock.now() + blockedMs };
  const watch = new StallWatch(env);
  return {
    clock,
    env,
    watch,
    block: (ms: number) => void (blockedMs += ms),
    begin: (calls: number) => {
      for (let n = 0; n < calls; n++) watch.started(watch.now());
    },
    end: (calls: number) => {
      for (let n = 0; n < calls; n++) watch.ended();
    },
  };
}

describe("StallWatch", () => {
  it("notices at the first look that the loop stood still, and says when it woke", () => {
    const { watch, block, begin, clock } = start();
    begin(2);
    clock.advanceSync(1_000);
    block(2_000);
    expect(watch.now()).toBe(3_000);
    expect(watch.wokeAt).toBe(3_000);
    block(5);
    watch.now();
    expect(watch.wokeAt).toBe(3_000);
  });

  it("takes no long silence for a stall while timers run in time", () => {
    const { watch, begin, clock } = start();
    begin(2);
    clock.advanceSync(60_000);
    watch.now();
    expect(watch.wokeAt).toBe(-Infinity);
  });

  it("is not worried by the jitter of a busy process", () => {
    const { watch, begin, end, clock, block } = start();
    begin(2);
    for (let n = 0; n < 20; n++) {
      block(90);
      watch.now();
      begin(1);
      end(1);
      clock.advanceSync(100);
    }
    expect(watch.wokeAt).toBe(-Infinity);
  });

  it("notices a second stall, after the timers ran in between", () => {
    const { watch, begin, clock, block } = start();
    begin(2);
    block(2_000);
    watch.now();
    clock.advanceSync(100);
    block(500);
    clock.advanceSync(100);
    expect(watch.wokeAt).toBe(2_700);
  });

  it("sees at most one stall where timers never run at all, as in a simulation with a clock of its own", () => {
    const { watch, begin, block } = start();
    begin(2);
    for (let n = 0; n < 1_000; n++) {
      block(10);
      watch.now();
    }
    expect(watch.wokeAt).toBe(210);
  });

  it("notices it for one call at a time, too", () => {
    const { watch, begin, end, block } = start();
    for (let call = 0; call < 3; call++) {
      begin(1);
      end(1);
    }
    begin(1);
    block(2_000);
    watch.now();
    expect(watch.wokeAt).toBe(2_000);
  });

  it("sees none where timers keep another time than the clock", () => {
    let nowMs = 0;
    const endpointer = fixedEndpointer("lorem", ["a"]);
    const seen: string[] = [];
    const policy: Policy = {
      name: "listening",
      create: () => ({
        picker:
          ([first]) =>
          () =>
            first,
        observe: (_, { kind }) => void seen.push(kind),
      }),
    };
    const lease = createBalancer(endpointer, policy, { env: { now: () => nowMs } }).pick();
    nowMs = 2_000;
    lease.done({ kind: "success" });
    expect(seen).toEqual(["success"]);
  });

  it("looks less often while nothing begins or ends, and still notices a stall of two seconds", () => {
    const { watch, begin, clock, env, block } = start();
    begin(1);
    const armed = vi.spyOn(env, "after");
    clock.advanceSync(60_000);
    expect(armed.mock.calls.length).toBeLessThan(45);
    expect(watch.wokeAt).toBe(-Infinity);
    block(2_000);
    watch.now();
    expect(watch.wokeAt).toBe(62_000);
  });

  it("takes calls that began in the middle of a stall for as little as those before", () => {
    const { watch, begin, clock, block } = start();
    begin(1);
    block(1_000);
    begin(1);
    expect(watch.wokeAt).toBe(1_000);
    block(1_000);
    clock.advanceSync(100);
    // The second call began at 1000, and stood still for as long.
    expect(watch.wokeAt).toBe(2_100);
  });

  it("looks often again as soon as a call begins beside one that lasts", () => {
    const { watch, begin, clock, block } = start();
    begin(1);
    clock.advanceSync(60_000);
    begin(1);
    block(300);
    watch.now();
    expect(watch.wokeAt).toBe(60_300);
    expect(clock.pending).toBe(1);
  });

  it("arms one timer however many calls there are, and none when all have ended", () => {
    const { watch, begin, end, clock } = start();
    begin(10);
    clock.advanceSync(1_000);
    expect([clock.pending, clock.keptAlive]).toEqual([1, 0]);
    end(9);
    expect(clock.pending).toBe(1);
    end(1);
    expect(clock.pending).toBe(0);
    clock.advanceSync(10_000);
    watch.now();
    expect(watch.wokeAt).toBe(-Infinity);
  });
});
