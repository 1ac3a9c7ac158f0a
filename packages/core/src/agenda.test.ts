import { manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { Agenda, type Appointment } from "./agenda.ts";

function setUp() {
  const clock = manualClock();
  const agenda = new Agenda(clock.env);
  const kept: string[] = [];
  const appointment = (name: string, more?: () => void): Appointment => ({
    dueMs: 0,
    keep: () => {
      kept.push(`${name} at ${clock.env.now() - startMs}`);
      more?.();
    },
  });
  const startMs = clock.env.now();
  return { clock, agenda, kept, appointment };
}

describe("an agenda", () => {
  it("keeps every appointment at its time, whatever their order, and those of one time in theirs, by one timer", async () => {
    const { clock, agenda, kept, appointment } = setUp();
    const delays = [50, 10, 30, 10, 70, 0];
    for (const [index, delayMs] of delays.entries()) agenda.enter(appointment(`${index}`), delayMs);
    expect(clock.pending).toBe(1);
    await clock.advance(100);
    expect(kept).toEqual(["5 at 0", "1 at 10", "3 at 10", "2 at 30", "0 at 50", "4 at 70"]);
    expect(clock.pending).toBe(0);
  });

  it("forgets who leaves, and has no timer when all have left", async () => {
    const { clock, agenda, kept, appointment } = setUp();
    const [a, b, c] = [appointment("a"), appointment("b"), appointment("c")];
    agenda.enter(a, 10);
    agenda.enter(b, 20);
    agenda.leave(a);
    agenda.leave(a);
    agenda.leave(c);
    await clock.advance(15);
    expect([kept, clock.pending]).toEqual([[], 1]);
    agenda.leave(b);
    expect(clock.pending).toBe(0);
    await clock.advance(15);
    expect(kept).toEqual([]);
  });

  it("takes new appointments, and loses others, while it keeps one", async () => {
    const { clock, agenda, kept, appointment } = setUp();
    const last = appointment("last");
    const again = appointment("again", () => {
      agenda.leave(last);
      if (kept.length < 3) agenda.enter(again, 10);
    });
    agenda.enter(again, 10);
    agenda.enter(last, 10);
    await clock.advance(100);
    expect(kept).toEqual(["again at 10", "again at 20", "again at 30"]);
    expect(clock.pending).toBe(0);
  });

  it("keeps the others though one throws", async () => {
    const { clock, agenda, kept, appointment } = setUp();
    const fail = (): void => {
      throw new Error("no");
    };
    agenda.enter(appointment("a", fail), 10);
    agenda.enter(appointment("b"), 10);
    await expect(clock.advance(10)).rejects.toThrow("no");
    await clock.advance(10);
    expect(kept).toEqual(["a at 10", "b at 10"]);
  });
});
