import { type Fleet, fleet, ids } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { leastRequest } from "./least-request.ts";
import { maglev } from "./maglev.ts";
import { type OutlierDetectionOptions, outlierDetection } from "./outlier-detection.ts";
import { roundRobin } from "./round-robin.ts";

const good = (afterMs = 10) => ({ afterMs, isGood: true });
const bad = (afterMs = 1) => ({ afterMs, isGood: false });
const NEVER = 1_000_000;

const ejected = ({ balancer }: Fleet): string[] =>
  balancer
    .explain()
    .candidates.flatMap(({ endpoint, excluded }) => (excluded === "ejected" ? [endpoint.client as string] : []));

const start = (size: number, options?: OutlierDetectionOptions) => fleet(outlierDetection(roundRobin(), options), size);

/** Calls every 2 ms. */
function play(
  { call, clock }: Fleet,
  calls: number,
  answer: (id: string, n: number) => ReturnType<typeof good>,
): string[] {
  return Array.from({ length: calls }, (_, n) => {
    const id = call((picked) => answer(picked, n));
    clock.advanceSync(2);
    return id;
  });
}

describe("outlierDetection", () => {
  it("ejects after five failures in a row, for 200 ms, and leaves the others their turns", () => {
    const made = start(4);
    play(made, 16, (id) => (id === "i1" ? bad() : good()));
    expect(ejected(made)).toEqual([]);
    play(made, 4, (id) => (id === "i1" ? bad() : good()));
    expect(ejected(made)).toEqual(["i1"]);
    const forMs = made.balancer.explain().candidates[1]?.ejectedForMs ?? 0;
    expect(forMs).toBeGreaterThan(170);
    expect(forMs).toBeLessThanOrEqual(220);
    const picked = made.picks(9);
    for (const id of ["i0", "i2", "i3"]) expect(picked.filter((each) => each === id)).toHaveLength(3);
  });

  it("counts failures in a row only", () => {
    const made = start(3);
    play(made, 300, (id, n) => (id === "i1" && n % 12 !== 1 ? bad() : good()));
    expect(ejected(made)).toEqual([]);
  });

  it("lets one probe decide: out for twice as long if it fails, back if it is good", () => {
    const made = start(3);
    play(made, 15, (id) => (id === "i1" ? bad() : good()));
    const waits = [0, 1, 2, 3, 4, 5, 6].map(() => {
      const ms = made.balancer.explain().candidates[1]?.ejectedForMs ?? 0;
      made.clock.advanceSync(ms + 1);
      expect(made.balancer.explain().next?.client).toBe("i1");
      expect(made.call(() => bad(5))).toBe("i1");
      // The probe is on its way: nobody else is sent there.
      expect(made.picks(6)).not.toContain("i1");
      made.clock.advanceSync(5);
      return ms;
    });
    for (const [index, expected] of [200, 400, 800, 1_600, 3_200, 4_000, 4_000].entries()) {
      expect(Math.abs((waits[index] ?? 0) - expected)).toBeLessThanOrEqual(expected * 0.1 + 1);
    }
    made.clock.advanceSync(4_401);
    expect(made.call(() => good(5))).toBe("i1");
    made.clock.advanceSync(5);
    expect(ejected(made)).toEqual([]);
    expect(made.picks(3).toSorted()).toEqual(ids(3));
  });

  it("sends another probe when one was cancelled, or hangs", () => {
    const made = start(3);
    play(made, 15, (id) => (id === "i1" ? bad() : good()));
    made.clock.advanceSync(221);
    const probe = made.balancer.pick();
    expect(probe.endpoint.client).toBe("i1");
    probe[Symbol.dispose]();
    expect(made.call(() => good(NEVER))).toBe("i1");
    expect(made.picks(4)).not.toContain("i1");
    made.clock.advanceSync(4_001);
    expect(made.picks(1)).toEqual(["i1"]);
  });

  it("sends no other probe for as long as one hangs when one was overtaken, as that hangs, too", () => {
    const made = start(3);
    play(made, 15, (id) => (id === "i1" ? bad() : good()));
    made.clock.advanceSync(221);
    const probe = made.balancer.pick();
    expect(probe.endpoint.client).toBe("i1");
    probe.done({ kind: "cancelled", superseded: true });
    expect(made.picks(6)).not.toContain("i1");
    made.clock.advanceSync(4_001);
    expect(made.picks(1)).toEqual(["i1"]);
  });

  it("lets one back that was drained while it was out", () => {
    const made = start(4);
    play(made, 20, (id) => (id === "i1" ? bad() : good()));
    expect(ejected(made)).toEqual(["i1"]);
    made.set(ids(4).map((id) => ({ id, weight: id === "i1" ? 0 : 1 })));
    play(made, 5, () => good());
    // What is due in the meantime is due for the others.
    play(made, 20, (id) => (id === "i2" ? bad() : good()));
    play(made, 300, () => good());
    made.set(ids(4).map((id) => ({ id })));
    play(made, 20, () => good());
    made.clock.advanceSync(20);
    expect(ejected(made)).toEqual([]);
    expect(made.picks(4).toSorted()).toEqual(ids(4));
  });

  it("takes a late answer to an old call for no probe", () => {
    const made = start(3);
    made.call(() => good(10));
    const picks = [made.balancer.pick(), made.balancer.pick()];
    const old = picks.find(({ endpoint }) => endpoint.client === "i1");
    expect(old).toBeDefined();
    play(made, 15, (id) => (id === "i1" ? bad() : good()));
    expect(ejected(made)).toEqual(["i1"]);
    old?.done({ kind: "success" });
    expect(ejected(made)).toEqual(["i1"]);
  });

  it.each([
    [1, 0.5, 0],
    [2, 0.5, 1],
    [2, 0, 1],
    [3, 1, 2],
    [10, 0.3, 3],
    [10, 0.5, 5],
    [10, 1, 9],
  ])("of %d, with a share of %d allowed, has at most %d out, whatever happens", (size, maxEjected, most) => {
    const made = start(size, { maxEjected, ejectMs: 60_000, ejectMostMs: 60_000 });
    let worst = 0;
    for (let n = 0; n < 300; n++) {
      play(made, 1, () => bad());
      worst = Math.max(worst, ejected(made).length);
    }
    expect(worst).toBe(most);
  });

  it("lets some back when the set shrinks", () => {
    const made = start(10, { ejectMs: 60_000, ejectMostMs: 60_000 });
    play(made, 100, (id) => (id < "i5" ? bad() : good()));
    expect(ejected(made)).toHaveLength(5);
    made.set(ids(6).map((id) => ({ id })));
    made.picks(1);
    expect(ejected(made)).toHaveLength(3);
  });

  it("keeps what it knows of those that stay when the set changes", () => {
    const made = start(4, { ejectMs: 60_000, ejectMostMs: 60_000 });
    play(made, 20, (id) => (id === "i1" ? bad() : good()));
    made.set([{ id: "i1", weight: 3 }, { id: "i2" }, { id: "i3" }, { id: "i7" }]);
    expect(made.picks(12)).not.toContain("i1");
  });

  it("asks who is out rather than who has failed this very call", () => {
    const made = start(2, { ejectMs: 60_000, ejectMostMs: 60_000 });
    play(made, 10, (id) => (id === "i1" ? bad() : good()));
    expect(ejected(made)).toEqual(["i1"]);
    expect(made.picks(2, () => ({ avoid: new Set(made.endpoints.slice(0, 1)) }))).toEqual(["i1", "i1"]);
    expect(made.picks(3)).toEqual(["i0", "i0", "i0"]);
  });

  it("sends keys elsewhere and back again, to where they belong", () => {
    const made = fleet(outlierDetection(maglev({ tableSize: 1_009 })), 5);
    const keys = Array.from({ length: 100 }, (_, n) => ({ key: `user-${n}` }));
    const owners = () => keys.map((key) => made.picks(1, () => key)[0]);
    const before = owners();
    const mine = keys[before.indexOf("i3")];
    for (let n = 0; n < 5; n++) {
      made.call(() => bad(), mine);
      made.clock.advanceSync(1);
    }
    const during = owners();
    expect(during).not.toContain("i3");
    const kept = during.filter((id, place) => before[place] !== "i3" && id === before[place]).length;
    expect(kept).toBeGreaterThan(before.filter((id) => id !== "i3").length - 10);
    made.clock.advanceSync(221);
    expect(owners()).toEqual(before);
  });

  it("ejects by success rate: who is far below the mean of five or more", () => {
    const made = start(6, {
      failures: false,
      failureShare: false,
      intervalMs: 5_000,
      ejectMs: 60_000,
      ejectMostMs: 60_000,
    });
    let calls = 0;
    play(made, 4_000, (id, n) => (n % 100 === 0 || (id === "i2" && ++calls % 2 === 0) ? bad() : good()));
    expect(ejected(made)).toEqual(["i2"]);
  });

  it("ejects by the share of failures", () => {
    const made = start(6, {
      failures: false,
      successRate: false,
      intervalMs: 2_000,
      ejectMs: 60_000,
      ejectMostMs: 60_000,
    });
    let calls = 0;
    play(made, 3_000, (id) => (id === "i2" && ++calls % 10 > 0 ? bad() : good()));
    expect(ejected(made)).toEqual(["i2"]);
  });

  it("ejects by latency when it is told to: five times the median", () => {
    const options = { intervalMs: 1_000, ejectMs: 60_000, ejectMostMs: 60_000 };
    const [off, on] = [start(4, options), start(4, { ...options, latency: {} })];
    for (const made of [off, on]) play(made, 2_000, (id) => good(id === "i2" ? 100 : 10));
    expect([ejected(off), ejected(on)]).toEqual([[], ["i2"]]);
  });

  it("judges nobody by few calls, nor among few", () => {
    const made = start(4, { failures: false, intervalMs: 1_000 });
    play(made, 3_000, (id) => (id === "i2" ? bad() : good()));
    expect(ejected(made)).toEqual([]);
  });

  it("keeps the black hole of a policy that goes by load shut", () => {
    const made = fleet(outlierDetection(leastRequest()), 50);
    const answer = (id: string) => (id === "i0" || id === "i1" ? bad() : good(40));
    const failed = play(made, 10_000, answer).filter((id) => id === "i0" || id === "i1").length;
    // A share of the hosts would be 4 %.
    expect(failed / 10_000).toBeLessThan(0.005);
  });
});
