import { type Fleet, fleet, ids, seededRandom } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import type { LoadReport } from "../load-report.ts";
import { adaptive } from "./adaptive.ts";
import { prequal } from "./prequal.ts";

/** How an instance answers, and what it says of itself. */
interface Answer {
  readonly afterMs: number;
  readonly isGood?: boolean;
  /** A function is asked when it answers. */
  readonly report?: LoadReport | (() => LoadReport);
}

/** A call every `everyMs`, for `ms`; the share of each. */
function play({ balancer, clock }: Fleet, ms: number, everyMs: number, answer: (id: string) => Answer) {
  const counts = new Map<string, number>();
  let sum = 0;
  for (const end = clock.now() + ms; clock.now() < end; clock.advanceSync(everyMs)) {
    const pick = balancer.pick();
    const { client } = pick.endpoint;
    const { afterMs, isGood = true, report } = answer(client);
    clock.env.after(afterMs, () => {
      const said = typeof report === "function" ? report() : report;
      if (said !== undefined) pick.report?.(said);
      pick.done(isGood ? { kind: "success" } : { kind: "failure", error: new Error(client) });
    });
    counts.set(client, (counts.get(client) ?? 0) + 1);
    sum++;
  }
  return (...of: readonly string[]): number => of.reduce((all, id) => all + (counts.get(id) ?? 0), 0) / sum;
}

/** A report of an instance that others have given so many calls; our own count, too. */
const busyWith = (others: number, { endpoints }: Fleet, id: string): LoadReport => {
  const own = endpoints.find(({ client }) => client === id)?.stats.inFlight ?? 1;
  return { inFlight: others + own - 1 };
};

const costs = ({ balancer }: Fleet): (number | undefined)[] => balancer.explain().candidates.map(({ cost }) => cost);

describe("prequal", () => {
  it("is one constant with a name", () => {
    expect(prequal()).toBe(prequal());
    expect(prequal().name).toBe("prequal");
  });

  it.each([3, 40])("is adaptive, pick by pick, where none of %i reports", (size) => {
    const picked = [adaptive(), prequal()].map((policy) => {
      const { call, clock } = fleet(policy, size, 5);
      const chance = seededRandom(9);
      let all = "";
      for (let n = 0; n < 3_000; n++, clock.advanceSync(1)) {
        all += `${call((id) => ({ afterMs: 2 + chance() * 20, isGood: id !== "i1" || chance() < 0.5 }))} `;
      }
      return all;
    });
    expect(picked[1]).toBe(picked[0]);
  });

  it("is adaptive, too, where there are no calls but its own", () => {
    const picked = [adaptive(), prequal()].map((policy) => {
      const five = fleet(policy, 5, 5);
      const chance = seededRandom(9);
      let all = "";
      play(five, 3_000, 2, (id) => {
        all += id;
        return { afterMs: 2 + chance() * 40, report: () => busyWith(0, five, id) };
      });
      return all;
    });
    expect(picked[1]).toBe(picked[0]);
  });

  it("leaves alone what is busy with the calls of others, which it cannot see otherwise", () => {
    const busy = new Set(["i0", "i1"]);
    const answerOf = (all: Fleet) => (id: string) => ({
      afterMs: 10,
      report: () => busyWith(busy.has(id) ? 20 : 0, all, id),
    });
    const four = fleet(prequal(), 4);
    expect(play(four, 5_000, 2, answerOf(four))("i0", "i1")).toBeLessThan(0.1);
    const seesNothing = fleet(adaptive(), 4);
    expect(play(seesNothing, 5_000, 2, answerOf(seesNothing))("i0", "i1")).toBeGreaterThan(0.4);
  });

  it.each(ids(5))(
    "shares evenly, however busy all of them are, and whether they say so or not: from %s on silent",
    (first) => {
      const four = fleet(prequal(), 4);
      const share = play(four, 10_000, 2, (id) =>
        id < first
          ? { afterMs: 10, report: () => ({ ...busyWith(50, four, id), utilization: 0.97 }) }
          : { afterMs: 10 },
      );
      for (const id of ids(4)) expect(share(id)).toBeCloseTo(0.25, 1);
    },
  );

  it("does not hold a weight's share against it: with three times the weight it may have three times the calls", () => {
    const two = fleet(prequal(), 2);
    two.set([{ id: "i0", weight: 3 }, { id: "i1" }]);
    const share = play(two, 20_000, 1, (id) => ({
      afterMs: 20,
      report: () => busyWith(id === "i0" ? 30 : 10, two, id),
    }));
    expect(share("i0")).toBeCloseTo(0.75, 1);
  });

  it("takes those who do not report for as busy as those who do: half of a fleet may know nothing of it", () => {
    const four = fleet(prequal(), 4);
    const share = play(four, 10_000, 2, (id) =>
      id < "i2" ? { afterMs: 10, report: () => busyWith(id === "i0" ? 30 : 0, four, id) } : { afterMs: 10 },
    );
    expect(share("i0")).toBeLessThan(0.08);
    expect(share("i1")).toBeGreaterThan(0.2);
    for (const silent of ["i2", "i3"]) expect(share(silent)).toBeGreaterThan(0.15);
  });

  it("still goes by what it sees itself of those who do not report, and of those who do", () => {
    const four = fleet(prequal(), 4);
    const share = play(four, 10_000, 2, (id) => ({
      afterMs: id === "i1" || id === "i3" ? 200 : 10,
      ...(id < "i2" ? { report: () => busyWith(0, four, id) } : {}),
    }));
    expect(share("i1", "i3")).toBeLessThan(0.02);
  });

  it("forgets a report, bit by bit, within a second or so, and takes its endpoint for one of the others again", () => {
    const two = fleet(prequal(), 2);
    play(two, 1_000, 5, () => ({ afterMs: 10, report: { inFlight: 0, utilization: 0.1 } }));
    const [loaded, other] = [two.balancer.pick(), two.balancer.pick()];
    two.clock.advanceSync(10);
    loaded.report?.({ inFlight: 40, utilization: 0.9 });
    for (const pick of [loaded, other]) pick.done({ kind: "success" });
    const place = two.endpoints.indexOf(loaded.endpoint);
    const ratios = [0, 20, 100, 1_300].map((ms) => {
      two.clock.advanceSync(ms);
      const its = costs(two);
      return (its[place] ?? 0) / (its[1 - place] ?? 1);
    });
    expect(ratios[0]).toBeGreaterThan(8);
    expect(ratios.toSorted((a, b) => b - a)).toEqual(ratios);
    expect(ratios[3]).toBeCloseTo(1, 1);
  });

  it("gives less, at once, to one whose event loop is blocked, though it looks idle", () => {
    const three = fleet(prequal(), 3);
    const idle = { inFlight: 0, utilization: 0.1 };
    play(three, 3_000, 5, () => ({ afterMs: 10, report: idle }));
    const share = play(three, 1_000, 5, (id) => ({
      afterMs: 10,
      report: id === "i0" ? { inFlight: 0, utilization: 0.8 } : idle,
    }));
    expect(share("i0")).toBeLessThan(0.15);
  });

  it("is not attracted by one that fails fast and says that it is idle", () => {
    const ten = fleet(prequal(), 10);
    const share = play(ten, 20_000, 2, (id) =>
      id === "i0"
        ? { afterMs: 1, isGood: false, report: { inFlight: 0, utilization: 0 } }
        : { afterMs: 10, report: { inFlight: 10, utilization: 0.6 } },
    );
    expect(share("i0")).toBeLessThan(0.01);
  });

  it.each([0, 5])("learns nothing of the others from one that is being drained, and has %i calls left", (inFlight) => {
    const three = fleet(prequal(), 3);
    const last = [three.balancer.pick(), three.balancer.pick(), three.balancer.pick()];
    three.set(ids(3).map((id) => ({ id, weight: id === "i0" ? 0 : 1 })));
    for (const pick of last) {
      pick.report?.({ inFlight, utilization: 0.1 });
      pick.done({ kind: "success" });
    }
    const share = play(three, 1_000, 2, (id) => ({ afterMs: 10, report: busyWith(id === "i1" ? 20 : 0, three, id) }));
    expect(share("i1")).toBeLessThan(0.2);
  });

  it("is not led astray for long by one that says what cannot be", () => {
    const four = fleet(prequal(), 4);
    const absurd = { inFlight: 1e300, utilization: 1e308 };
    play(four, 100, 1, (id) => ({ afterMs: 10, report: id === "i0" ? absurd : { inFlight: 3, utilization: 0.1 } }));
    play(four, 4_000, 1, (id) => ({ afterMs: 10, report: { inFlight: 3, utilization: id === "i1" ? 0.9 : 0.1 } }));
    const share = play(four, 2_000, 1, (id) => ({
      afterMs: 10,
      report: { inFlight: 3, utilization: id === "i1" ? 0.9 : 0.1 },
    }));
    for (const cost of costs(four)) expect(cost).toBeLessThan(1_000);
    expect(share("i0")).toBeGreaterThan(0.2);
    expect(share("i1")).toBeLessThan(0.1);
  });

  it("tells what was said, and chooses by it as it says", () => {
    const three = fleet(prequal(), 3);
    for (let n = 0; n < 600; n++) {
      const { next, candidates } = three.balancer.explain();
      const pick = three.balancer.pick();
      if (next !== undefined) expect(next).toBe(pick.endpoint);
      if (n === 599) {
        for (const { note } of candidates) expect(note).toMatch(/^said \d+ in flight, \d+ % busy, \d+ ms ago$/);
      }
      three.clock.env.after(5 + (n % 11), () => {
        pick.report?.({ inFlight: n % 17, utilization: (n % 7) / 10 });
        pick.done({ kind: "success" });
      });
      three.clock.advanceSync(1 + (n % 5));
    }
  });
});
