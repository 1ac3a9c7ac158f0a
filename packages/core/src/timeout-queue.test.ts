import { manualClock, seededRandom } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { type Queued, TimeoutQueue } from "./timeout-queue.ts";

function start(timeoutMs = 100) {
  const clock = manualClock();
  const queue = new TimeoutQueue(timeoutMs, clock.env);
  const expired: string[] = [];
  const enter = (name: string, onExpire = (): void => undefined): Queued => {
    const queued: Queued = {
      endsAt: 0,
      before: undefined,
      after: undefined,
      expire() {
        expired.push(`${name} at ${clock.now()}`);
        onExpire();
      },
    };
    queue.enter(queued, clock.now());
    return queued;
  };
  return { clock, queue, expired, enter };
}

describe("TimeoutQueue", () => {
  it("ends each in its own time, with one timer for all of them", async () => {
    const { clock, expired, enter } = start();
    enter("a");
    await clock.advance(30);
    enter("b");
    enter("c");
    expect(clock.pending).toBe(1);
    await clock.advance(69);
    expect(expired).toEqual([]);
    await clock.advance(200);
    expect(expired).toEqual(["a at 100", "b at 130", "c at 130"]);
    expect(clock.pending).toBe(0);
  });

  it("keeps the process alive while anything waits, and not a moment longer", async () => {
    const { clock, queue, enter } = start();
    const [a, b] = [enter("a"), enter("b")];
    expect(clock.keptAlive).toBe(1);
    queue.leave(a);
    expect(clock.keptAlive).toBe(1);
    queue.leave(b);
    expect(clock.pending).toBe(0);
  });

  it("passes over those who have left, wherever they stood", async () => {
    const { clock, queue, expired, enter } = start();
    const [a, , c, , e] = ["a", "b", "c", "d", "e"].map((name) => enter(name)) as [
      Queued,
      Queued,
      Queued,
      Queued,
      Queued,
    ];
    for (const queued of [c, a, e]) queue.leave(queued);
    await clock.advance(100);
    expect(expired).toEqual(["b at 100", "d at 100"]);
    expect(clock.pending).toBe(0);
  });

  it("bears that what expires leaves others and enters new ones", async () => {
    const { clock, queue, expired, enter } = start();
    const others: Queued[] = [];
    enter("a", () => {
      for (const queued of others) queue.leave(queued);
      enter("c");
    });
    others.push(enter("b"));
    await clock.advance(100);
    expect(expired).toEqual(["a at 100"]);
    expect(clock.pending).toBe(1);
    await clock.advance(100);
    expect(expired).toEqual(["a at 100", "c at 200"]);
    expect(clock.pending).toBe(0);
  });

  it("ends the others, too, if one throws", async () => {
    const { clock, expired, enter } = start();
    enter("a", () => {
      throw new Error("a's own");
    });
    enter("b");
    await expect(clock.advance(100)).rejects.toThrow("a's own");
    await clock.advance(0);
    expect(expired).toEqual(["a at 100", "b at 100"]);
    expect(clock.pending).toBe(0);
  });

  it("waits on where a timer came early, as the system's do by a fraction of a millisecond", async () => {
    const clock = manualClock();
    const early = {
      ...clock.env,
      after: (ms: number, run: () => void) => clock.env.after(Math.max(0.1, ms - 0.4), run),
    };
    const queue = new TimeoutQueue(100, early);
    let at: number | undefined;
    queue.enter({ endsAt: 0, before: undefined, after: undefined, expire: () => (at = clock.now()) }, clock.now());
    await clock.advance(200);
    expect(at).toBeGreaterThanOrEqual(100);
    expect(at).toBeLessThan(101);
  });

  it("does what a timer for each would do, in any order of coming and going", async () => {
    const chance = seededRandom(1);
    const { clock, queue, expired, enter } = start(50);
    const waiting = new Map<Queued, number>();
    const due: string[] = [];
    let names = 0;
    for (let step = 0; step < 2_000; step++) {
      if (chance() < 0.5) {
        const name = `n${++names}`;
        const queued = enter(name, () => {
          waiting.delete(queued);
          due.push(`${name} at ${queued.endsAt}`);
        });
        waiting.set(queued, clock.now() + 50);
      } else if (waiting.size > 0 && chance() < 0.7) {
        const queued = [...waiting.keys()][Math.floor(chance() * waiting.size)] as Queued;
        waiting.delete(queued);
        queue.leave(queued);
      } else await clock.advance(Math.floor(chance() * 20));
      expect(clock.pending).toBe(waiting.size === 0 ? 0 : 1);
      for (const endsAt of waiting.values()) expect(endsAt).toBeGreaterThan(clock.now() - 1);
    }
    expect(expired).toEqual(due);
    expect(expired.length).toBeGreaterThan(50);
  });
});
