import { fleet, ids } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { leastRequest } from "./least-request.ts";
import { roundRobin } from "./round-robin.ts";
import { slowStart } from "./slow-start.ts";

const set = (size: number) => ids(size).map((id) => ({ id }));

/** The share of `id` among so many picks now. */
function share(made: ReturnType<typeof fleet>, id: string, picks = 20_000): number {
  return made.picks(picks).filter((each) => each === id).length / picks;
}

/** The fifth of five gets its turns thinned out to `factor`; where turns go round, what it refuses moves its next one up. */
function expectShare(made: ReturnType<typeof fleet>, factor: number): void {
  const its = share(made, "i4");
  expect(its).toBeGreaterThan(0.2 * factor - 0.012);
  expect(its).toBeLessThan(factor / (4 + factor) + 0.012);
}

describe("slowStart", () => {
  it.each([roundRobin(), leastRequest()])("gives a newcomer a share that grows with its age: $name", (child) => {
    const made = fleet(slowStart(child, { windowMs: 30_000 }), 4);
    made.picks(1);
    made.set(set(5));
    expectShare(made, 0.1);
    made.clock.advanceSync(15_000);
    expectShare(made, 0.5);
    made.clock.advanceSync(15_000);
    expectShare(made, 1);
  });

  it("grows faster at first with more aggression, and begins with what it is told", () => {
    const made = fleet(slowStart(roundRobin(), { windowMs: 10_000, aggression: 2, least: 0.5 }), 4);
    made.picks(1);
    made.set(set(5));
    expectShare(made, 0.5);
    made.clock.advanceSync(6_400);
    expectShare(made, 0.8);
  });

  it("takes nobody for new who was there at the start", () => {
    const made = fleet(slowStart(roundRobin()), 3);
    expect(made.picks(3).toSorted()).toEqual(ids(3));
  });

  it("spares nobody when most of the set is new", () => {
    const made = fleet(slowStart(roundRobin()), 2);
    made.picks(1);
    made.set(set(5));
    for (const id of ids(5)) expect(share(made, id)).toBeCloseTo(0.2, 2);
  });

  it("lets no loaded child starve or flood the newcomer: of calls in flight it gets its thinned share", () => {
    const made = fleet(slowStart(leastRequest()), 4);
    for (let n = 0; n < 40; n++) made.call(() => ({ afterMs: 600_000, isGood: true }));
    made.set(set(5));
    let picked = 0;
    for (let n = 0; n < 1_000; n++) if (made.call(() => ({ afterMs: 0, isGood: true })) === "i4") picked++;
    // Idle as it is, the child alone would send it the first ten calls and then its part.
    expect(picked).toBeGreaterThan(50);
    expect(picked).toBeLessThan(200);
  });

  it("tells in an explanation who is new, and names no next one that chance may refuse", () => {
    const made = fleet(slowStart(roundRobin()), 2);
    made.picks(1);
    made.set(set(3));
    made.picks(1);
    expect(made.balancer.explain().candidates[2]?.note).toBe("new: 10 % of its calls");
  });

  it("takes a newcomer rather than one that the call has tried", () => {
    const made = fleet(slowStart(roundRobin(), { least: 0 }), 2);
    made.picks(1);
    made.set(set(3));
    const avoid = new Set(made.endpoints.slice(0, 2));
    expect(new Set(made.picks(20, () => ({ avoid })))).toEqual(new Set(["i2"]));
  });
});
