import { manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { Polls } from "./polls.ts";

const never = new AbortController().signal;
const WAIT_MS = 30_000;

/** So many watches of nothing, on a clock that stands still; how often each has polled, and when. */
function world(limit: number, watches: number) {
  const clock = manualClock();
  const polls = new Polls(limit);
  const times: number[][] = [];
  const waits: number[] = [];
  let [running, most] = [0, 0];
  const stop = new AbortController();

  const poll = async (own: number[], waitMs: number, signal: AbortSignal): Promise<void> => {
    const turn = await polls.take(waitMs, signal);
    own.push(clock.now());
    waits.push(turn.waitMs);
    most = Math.max(most, ++running);
    await new Promise<void>((resolve) => {
      const cancel = clock.env.after(Math.max(1, turn.waitMs), resolve); // an answer takes a millisecond
      signal.addEventListener("abort", () => {
        cancel();
        resolve();
      });
    });
    running--;
    turn.end();
  };
  const watch = async (signal: AbortSignal = stop.signal): Promise<void> => {
    const own: number[] = [];
    times.push(own);
    polls.join();
    try {
      await poll(own, 0, signal);
      while (!signal.aborted) await poll(own, WAIT_MS, signal);
    } catch {
      // It was waiting for its turn.
    } finally {
      polls.leave();
    }
  };
  for (let n = 0; n < watches; n++) void watch();
  return {
    clock,
    polls,
    times,
    waits,
    watch,
    get running() {
      return running;
    },
    get most() {
      return most;
    },
    stop: () => stop.abort(),
  };
}

/** The longest time that any of the watches was left alone, from `sinceMs` to `untilMs`. */
function longestGap(times: readonly (readonly number[])[], sinceMs: number, untilMs: number): number {
  return Math.max(
    ...times.map((own) => {
      const marks = [sinceMs, ...own.filter((ms) => ms > sinceMs && ms < untilMs), untilMs];
      return Math.max(...marks.slice(1).map((ms, n) => ms - (marks[n] ?? 0)));
    }),
  );
}

describe("Polls", () => {
  it.each([1, 9])("leaves %i watches that can have a connection each alone: all polls are long", async (watches) => {
    const { clock, waits, stop } = world(10, watches);
    await clock.advance(WAIT_MS - 10);
    expect(waits).toEqual([...Array(watches).fill(0), ...Array(watches).fill(WAIT_MS)]);
    stop();
  });

  it("gives each of many watches its turn within three seconds, on no more than its connections", async () => {
    const { clock, times, waits, most, stop } = world(10, 100);
    await clock.advance(60_000);
    expect(most).toBeLessThanOrEqual(10);
    expect(longestGap(times, 1_000, 60_000)).toBeLessThan(3_000);
    // And no more often than that needs: 100 watches in 2.5 s.
    expect(waits.length / 60).toBeLessThan(45);
    expect(Math.max(...waits)).toBe(250);
    stop();
  });

  it("gives a turn within three seconds to those that come while long polls hold most connections, too", async () => {
    const { clock, times, watch, stop, waits } = world(10, 9);
    await clock.advance(1_000);
    for (let n = 0; n < 91; n++) void watch();
    await clock.advance(20_000);
    const late = times.slice(9);
    expect(longestGap(late, 1_100, 21_000)).toBeLessThan(3_000);
    expect(waits.filter((ms) => ms === WAIT_MS).length).toBe(9); // which go on
    await clock.advance(40_000);
    expect(longestGap(times, 32_000, 61_000)).toBeLessThan(3_000);
    stop();
  });

  it("makes polls long again when the many have gone", async () => {
    const { clock, watch, waits, stop } = world(10, 9);
    const many = new AbortController();
    for (let n = 0; n < 91; n++) void watch(many.signal);
    await clock.advance(10_000);
    many.abort();
    await clock.advance(1_000);
    expect(waits.slice(-9)).toEqual(Array(9).fill(WAIT_MS));
    stop();
  });

  it("asks for no more than five hundred a second, however many the watches are", async () => {
    const { clock, waits, times, stop } = world(100, 2_500);
    await clock.advance(1_000);
    waits.length = 0;
    await clock.advance(10_000);
    expect(waits.length / 10).toBeLessThan(510);
    expect(longestGap(times, 1_000, 11_000)).toBeLessThan(5_500);
    stop();
  });

  it("works with a single connection", async () => {
    const { clock, times, most, stop } = world(1, 5);
    await clock.advance(30_000);
    expect(most).toBeLessThanOrEqual(1);
    expect(longestGap(times, 1_000, 30_000)).toBeLessThan(3_000);
    stop();
  });

  it("is as new when everybody has left, in whatever state", async () => {
    const made = world(10, 100);
    await made.clock.advance(1_234);
    made.stop();
    await made.clock.advance(0);
    expect([made.running, made.clock.pending]).toEqual([0, 0]);
    const leave = Array.from({ length: 10 }, () => made.polls.join());
    const turns = await Promise.all(leave.map(() => made.polls.take(WAIT_MS, never)));
    expect(turns.filter(({ waitMs }) => waitMs === WAIT_MS).length).toBe(9);
  });
});
