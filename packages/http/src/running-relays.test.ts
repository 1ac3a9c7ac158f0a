import { describe, expect, it, vi } from "vitest";
import { Relay } from "./relay.ts";
import { RunningRelays } from "./running-relays.ts";

/** So many relays that run, and who among them was told to end. */
function running(count: number) {
  const relays = new RunningRelays();
  const ended: number[] = [];
  const all = Array.from({ length: count }, (_, n) => {
    const relay = new Relay({}, relays);
    relay.signal.addEventListener("abort", () => ended.push(n));
    return relay;
  });
  return { relays, all, ended };
}

describe("RunningRelays", () => {
  it.each([
    [0, 1, 2, 3],
    [3, 2, 1, 0],
    [1, 3, 0, 2],
    [2, 0, 3, 1],
  ])("lets them go in the order %i %i %i %i, and ends those that are left", (...order) => {
    const { relays, all, ended } = running(4);
    for (const [gone, n] of order.entries()) {
      const relay = all[n] as Relay;
      expect([relays.delete(relay), relays.delete(relay), relays.has(relay)]).toEqual([true, false, false]);
      const left = new Set(order.slice(gone + 1));
      expect(all.map((each) => relays.has(each))).toEqual(all.map((_, each) => left.has(each)));
    }
    relays.abort(new Error("no more"));
    expect(ended).toEqual([]);
  });

  it("ends all of them, though they leave meanwhile", () => {
    const { relays, all, ended } = running(3);
    const failed = vi.fn();
    for (const relay of all) Object.assign(relay.handler, { onResponseError: failed });
    const leaving = new Relay({}, relays);
    leaving.signal.addEventListener("abort", () => all.forEach((relay) => relay.fail(new Error("gone"))));
    relays.abort(new Error("no more"));
    expect(ended).toEqual([0, 1, 2]);
    expect([failed.mock.calls.length, leaving.aborted]).toEqual([3, true]);
  });
});
