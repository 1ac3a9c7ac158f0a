import { describe, expect, it } from "vitest";
import { manualClock } from "./manual-clock.ts";

describe("manualClock", () => {
  it("stands still until it is moved", async () => {
    const clock = manualClock({ startMs: 100 });
    expect(clock.env.now()).toBe(100);
    await clock.advance(50);
    expect([clock.now(), clock.env.now()]).toEqual([150, 150]);
  });

  it("runs timers in the order they are due, ties in the order they were armed, each at its own time", async () => {
    const clock = manualClock();
    const ran: [string, number][] = [];
    for (const [name, delayMs] of [
      ["c", 30],
      ["a", 10],
      ["b", 10],
      ["late", 31],
    ] as const) {
      clock.env.after(delayMs, () => ran.push([name, clock.now()]));
    }
    await clock.advance(30);
    expect(ran).toEqual([
      ["a", 10],
      ["b", 10],
      ["c", 30],
    ]);
    expect([clock.now(), clock.pending]).toEqual([30, 1]);
  });

  it("lets promise continuations run, and fires what they arm inside the window", async () => {
    const clock = manualClock();
    const ticks: number[] = [];
    void (async () => {
      for (let round = 0; round < 4; round++) {
        await new Promise<void>((resolve) => void clock.env.after(10, resolve));
        // A long chain of continuations between one timer and the next.
        for (let hop = 0; hop < 50; hop++) await Promise.resolve();
        ticks.push(clock.now());
      }
    })();
    await clock.advance(35);
    expect(ticks).toEqual([10, 20, 30]);
  });

  it("settles before it moves, so a timer armed in a pending continuation counts from now", async () => {
    const clock = manualClock();
    let firedAt = -1;
    void Promise.resolve().then(() => clock.env.after(5, () => (firedAt = clock.now())));
    await clock.advance(5);
    expect(firedAt).toBe(5);
  });

  it("runs what is due now when it advances by nothing", async () => {
    const clock = manualClock();
    let ran = false;
    clock.env.after(-1, () => (ran = true));
    expect(ran).toBe(false);
    await clock.advance(0);
    expect([ran, clock.now()]).toEqual([true, 0]);
  });

  it("does not run a cancelled timer, also when another timer due at the same time cancels it", async () => {
    const clock = manualClock();
    let ran = 0;
    clock.env.after(5, () => cancel());
    const cancel = clock.env.after(5, () => ran++);
    clock.env.after(1, () => ran++)();
    await clock.advance(10);
    expect([ran, clock.pending]).toEqual([0, 0]);
  });

  it("tells how many timers are armed and how many of them keep the process alive", () => {
    const clock = manualClock();
    const cancel = clock.env.after(1, () => {}, { keepAlive: true });
    clock.env.after(1, () => {}, { keepAlive: false });
    clock.env.after(1, () => {});
    expect([clock.pending, clock.keptAlive]).toEqual([3, 1]);
    cancel();
    expect([clock.pending, clock.keptAlive]).toEqual([2, 0]);
  });

  it("rejects when a timer throws, and keeps the later timers", async () => {
    const clock = manualClock();
    let later = false;
    clock.env.after(5, () => {
      throw new Error("boom");
    });
    clock.env.after(6, () => (later = true));
    await expect(clock.advance(10)).rejects.toThrow("boom");
    expect([clock.now(), later, clock.pending]).toEqual([5, false, 1]);
    await clock.advance(1);
    expect(later).toBe(true);
  });

  it("advances synchronously on request, without running continuations", async () => {
    const clock = manualClock();
    const ran: string[] = [];
    clock.env.after(1, () => {
      ran.push("timer");
      void Promise.resolve().then(() => ran.push("continuation"));
    });
    clock.env.after(2, () => ran.push("second"));
    clock.advanceSync(2);
    expect(ran).toEqual(["timer", "second"]);
    await clock.advance(0);
    expect(ran).toEqual(["timer", "second", "continuation"]);
  });

  it("goes to the next timer, however far away it is", async () => {
    const clock = manualClock();
    let ran = 0;
    clock.env.after(86_400_000, () => ran++);
    clock.env.after(86_400_000, () => ran++);
    expect(await clock.runNext()).toBe(true);
    expect([clock.now(), ran]).toEqual([86_400_000, 2]);
    expect(await clock.runNext()).toBe(false);
    expect(clock.now()).toBe(86_400_000);
  });

  it("refuses to go back in time, or to its end", async () => {
    await expect(manualClock().advance(-1)).rejects.toMatchObject({ code: "INVALID_OPTION", path: "ms" });
    await expect(manualClock().advance(Infinity)).rejects.toMatchObject({ path: "ms" });
    expect(() => manualClock().advanceSync(Number.NaN)).toThrow(
      "expected a finite number of milliseconds >= 0, got NaN",
    );
  });

  it("holds a timer that is never due for ever, and throws for a delay that is no number", async () => {
    const clock = manualClock();
    clock.env.after(Infinity, () => {});
    expect(await clock.runNext()).toBe(false);
    await clock.advance(1e15);
    expect(clock.pending).toBe(1);
    expect(() => clock.env.after(Number.NaN, () => {})).toThrow("delayMs");
  });

  it("rejects instead of hanging when a timer arms itself again without delay", async () => {
    const clock = manualClock();
    const again = (): void => void clock.env.after(0, again);
    again();
    expect(() => clock.advanceSync(1)).toThrow("more than 10000 timers were due at 0 ms");
    await expect(clock.advance(1)).rejects.toThrow("more than 10000 timers");
  });

  it("refuses unknown options, and ones of the wrong kind", () => {
    expect(() => manualClock({ start: 1 } as object)).toThrow("start");
    expect(() => manualClock({ startMs: -1 })).toThrow("startMs");
  });

  it("takes chance from the test, 0.5 if none is given", () => {
    expect(manualClock().env.random()).toBe(0.5);
    expect(manualClock({ random: () => 0.25 }).env.random()).toBe(0.25);
  });
});
