import { manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { Pace } from "./pace.ts";

const { signal } = new AbortController();

describe("Pace", () => {
  it("lets a burst through, and then what is paid for", async () => {
    const clock = manualClock();
    const pace = new Pace(clock.env, 300, 0);
    const sent: number[] = [];
    const sending = (async () => {
      for (let request = 0; request < 5; request++) {
        await pace.pay(100, signal);
        sent.push(clock.env.now());
      }
    })();
    for (let step = 0; step < 30; step++) {
      await new Promise(setImmediate);
      await clock.advance(10);
    }
    await sending;
    const [first = 0] = sent;
    expect(sent.map((atMs) => atMs - first)).toEqual([0, 0, 0, 100, 200]);
  });

  it("takes a request that costs more than the burst all the same, late", async () => {
    const clock = manualClock();
    const pace = new Pace(clock.env, 300, 0);
    let isSent = false;
    const sending = pace.pay(1_000, signal).then(() => (isSent = true));
    await clock.advance(690);
    await new Promise(setImmediate);
    expect(isSent).toBe(false);
    await clock.advance(10);
    await sending;
  });

  it("resolves at once when the signal aborts", async () => {
    const clock = manualClock();
    const pace = new Pace(clock.env, 100, 0);
    await pace.pay(100, signal);
    const leaving = new AbortController();
    const waiting = pace.pay(100, leaving.signal);
    leaving.abort();
    await waiting;
  });
});
