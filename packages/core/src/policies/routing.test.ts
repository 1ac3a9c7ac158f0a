import { fleet, ids } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { InvalidOptionError } from "../errors.ts";
import type { Policy } from "../policy.ts";
import { leastRequest } from "./least-request.ts";
import { maglev } from "./maglev.ts";
import { outlierDetection } from "./outlier-detection.ts";
import { panic } from "./panic.ts";
import { type PriorityOptions, priority, priorityShares } from "./priority.ts";
import { roundRobin } from "./round-robin.ts";
import { slowStart } from "./slow-start.ts";
import { sticky } from "./sticky.ts";
import { type SubsetOptions, subset } from "./subset.ts";
import { type ZoneAwareOptions, zoneAware, zoneShares } from "./zone-aware.ts";

const count = (picked: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const id of picked) counts[id] = (counts[id] ?? 0) + 1;
  return counts;
};

const good = { afterMs: 10, isGood: true };
const bad = { afterMs: 1, isGood: false };

describe("sticky", () => {
  it("stays with the instance that the key names, and lets the child choose without one", () => {
    const { picks } = fleet(sticky(roundRobin()), 3);
    expect(new Set(picks(10, () => ({ key: "i2" })))).toEqual(new Set(["i2"]));
    expect(new Set(picks(3))).toEqual(new Set(ids(3)));
    expect(new Set(picks(3, () => ({ key: "i9" })))).toEqual(new Set(ids(3)));
  });

  it("moves the session when its instance has gone, drains, is to be avoided or is ejected", () => {
    const made = fleet(outlierDetection(sticky(roundRobin())), 4);
    const mine = { key: "i1" };
    const avoid = new Set(made.endpoints.slice(1, 2));
    expect(made.picks(4, () => ({ ...mine, avoid }))).not.toContain("i1");
    for (let n = 0; n < 5; n++) {
      made.call(() => bad, mine);
      made.clock.advanceSync(1);
    }
    expect(made.picks(4, () => mine)).not.toContain("i1");
    made.set([{ id: "i0" }, { id: "i1", weight: 0 }, { id: "i2" }]);
    expect(made.picks(4, () => mine)).not.toContain("i1");
  });

  it("explains that the request names it", () => {
    const { balancer, endpoints } = fleet(sticky(leastRequest()), 2);
    expect(balancer.explain({ key: "i1" })).toMatchObject({ next: endpoints[1], why: "the request names it" });
  });
});

describe("subset", () => {
  it("uses so many and no more, all of a smaller set, each client its own", () => {
    const used = (seed: number, size: number) => new Set(fleet(subset(roundRobin(), { size }), 50, seed).picks(200));
    expect(used(1, 8).size).toBe(8);
    expect(used(1, 60).size).toBe(50);
    expect(used(2, 8)).not.toEqual(used(1, 8));
    expect(used(1, 8)).toEqual(used(1, 8));
  });

  it("changes in one place at most when an instance comes or goes", () => {
    const made = fleet(subset(roundRobin(), { size: 10 }), 60, 4);
    let before = new Set(made.picks(50));
    for (let n = 59; n >= 30; n--) {
      made.set(ids(n).map((id) => ({ id })));
      const after = new Set(made.picks(50));
      expect([...after].filter((id) => !before.has(id)).length).toBeLessThanOrEqual(1);
      before = after;
    }
  });

  it("uses every server about equally often, over many clients", () => {
    const uses = count(
      Array.from({ length: 300 }, (_, seed) => [
        ...new Set(fleet(subset(roundRobin(), { size: 10 }), 30, seed).picks(10)),
      ]).flat(),
    );
    // 100 each, with the scatter of a binomial distribution.
    for (const id of ids(30)) expect(Math.abs((uses[id] ?? 0) - 100)).toBeLessThan(4.5 * 8.2);
  });

  it("goes beyond itself only when all of it is to be avoided", () => {
    const made = fleet(subset(roundRobin(), { size: 2 }), 10);
    const own = new Set(made.picks(10));
    const avoid = new Set(made.endpoints.filter(({ client }) => own.has(client)));
    for (const id of made.picks(5, () => ({ avoid }))) expect(own.has(id)).toBe(false);
  });
});

describe("priorityShares, beside Envoy's table", () => {
  it.each([
    [
      [
        [100, 100],
        [100, 100],
      ],
      [100, 0],
    ],
    [
      [
        [72, 100],
        [100, 100],
      ],
      [100, 0],
    ],
    [
      [
        [71, 100],
        [100, 100],
      ],
      [99, 1],
    ],
    [
      [
        [50, 100],
        [100, 100],
      ],
      [70, 30],
    ],
    [
      [
        [25, 100],
        [100, 100],
      ],
      [35, 65],
    ],
    [
      [
        [25, 100],
        [25, 100],
      ],
      [50, 50],
    ],
    [
      [
        [0, 100],
        [100, 100],
      ],
      [0, 100],
    ],
    [
      [
        [0, 10],
        [0, 10],
        [1, 10],
      ],
      [0, 0, 100],
    ],
  ])("%j → %j", (tiers, shares) => {
    const counts = tiers.map(([well = 0, all = 0]) => ({ well, all }));
    expect(priorityShares(counts, 1.4)).toEqual(shares);
  });
});

describe("priority", () => {
  const tiers = (first: number, second: number) =>
    ids(first + second).map((id, place) => ({ id, metadata: { priority: place < first ? "0" : "1" } }));

  it("uses the first tier alone while it is well, and the next one when it is gone", () => {
    const made = fleet(priority(roundRobin()), 4);
    made.set(tiers(2, 2));
    expect(new Set(made.picks(20))).toEqual(new Set(["i0", "i1"]));
    made.set(tiers(2, 2).slice(2));
    expect(new Set(made.picks(20))).toEqual(new Set(["i2", "i3"]));
  });

  it("hands over in proportion to those that outlier detection tells it are ill", () => {
    const made = fleet(
      outlierDetection(priority(roundRobin()), { failures: 1, ejectMs: 60_000, ejectMostMs: 60_000 }),
      20,
    );
    made.set(tiers(10, 10));
    const ill = new Set(ids(5));
    for (let n = 0; n < 100; n++) {
      made.call((id) => (ill.has(id) ? bad : good));
      made.clock.advanceSync(20);
    }
    const second = made.picks(10_000).filter((id) => !ids(10).includes(id)).length;
    // Half of the tier is ill: 1.4 · 50 = 70 % stay.
    expect(Math.abs(second - 3_000)).toBeLessThan(5 * 46);
  });

  it("goes to the next tier when a call is to avoid all of its own", () => {
    const made = fleet(priority(roundRobin()), 3);
    made.set(tiers(1, 2));
    const avoid = new Set(made.endpoints.slice(0, 1));
    expect(made.picks(4, () => ({ avoid }))).not.toContain("i0");
  });

  it("takes tiers from wherever it is told", () => {
    const made = fleet(priority(roundRobin(), { of: ({ zone }) => (zone === "near" ? 0 : 1) }), 2);
    made.set([
      { id: "i0", zone: "far" },
      { id: "i1", zone: "near" },
    ]);
    expect(new Set(made.picks(5))).toEqual(new Set(["i1"]));
  });
});

describe("zoneShares", () => {
  const zones = (...capacities: number[]) => capacities.map((capacity, index) => ({ isLocal: index === 0, capacity }));

  it.each([
    ["even zones: all stay", zones(10, 10, 10), 1 / 3, [1, 0, 0]],
    ["more than its share: all stay", zones(20, 5, 5), 1 / 3, [1, 0, 0]],
    ["half of what it needs: half stay", zones(5, 15, 10), 1 / 3, [0.5, 0.5, 0]],
    ["the rest by what the others have to spare", zones(2, 12, 16), 1 / 3, [0.2, 0.8 * 0.25, 0.8 * 0.75]],
    ["few clients here: all stay", zones(5, 25), 0.1, [1, 0]],
    ["all clients here: by hosts", zones(10, 20, 30), 1, [1 / 6, 1 / 3, 1 / 2]],
  ])("%s", (_, groups, callShare, expected) => {
    const shares = zoneShares(groups, callShare, groups.length);
    for (const [index, share] of shares.entries()) expect(share).toBeCloseTo(expected[index] ?? 0, 10);
  });
});

describe("zoneAware", () => {
  const zoned = (near: number, far: number) =>
    ids(near + far).map((id, place) => ({ id, zone: place < near ? "near" : "far" }));
  const nearShare = (picked: readonly string[], near: number): number =>
    picked.filter((id) => ids(near).includes(id)).length / picked.length;

  it("stays at home while home can carry its clients", () => {
    const made = fleet(zoneAware(roundRobin(), { zone: "near" }), 1);
    made.set(zoned(6, 6));
    expect(nearShare(made.picks(100), 6)).toBe(1);
  });

  it("spills over what home cannot carry", () => {
    const made = fleet(zoneAware(roundRobin(), { zone: "near" }), 1);
    made.set(zoned(3, 9));
    expect(nearShare(made.picks(20_000), 3)).toBeCloseTo(0.5, 1);
  });

  it("gives up calls of a zone whose members are ill, and takes them back", () => {
    const made = fleet(outlierDetection(zoneAware(roundRobin(), { zone: "near" }), { failures: 1 }), 1);
    made.set(zoned(6, 6));
    const ill = new Set(ids(3));
    let away = 0;
    for (let n = 0; n < 2_000; n++) {
      if (!ids(6).includes(made.call((id) => (ill.has(id) ? bad : good)))) away++;
      made.clock.advanceSync(2);
    }
    expect(away).toBeGreaterThan(400);
    for (let n = 0; n < 3_000; n++) {
      made.call(() => good);
      made.clock.advanceSync(2);
    }
    expect(nearShare(made.picks(100), 6)).toBe(1);
  });

  it("does not look at zones in a small set, nor when it has nobody at home", () => {
    const made = fleet(zoneAware(roundRobin(), { zone: "near" }), 1);
    made.set(zoned(2, 3));
    expect(new Set(made.picks(20)).size).toBe(5);
    made.set(zoned(0, 9));
    expect(new Set(made.picks(20)).size).toBe(9);
  });

  it("leaves its zone for a call that has tried all of it", () => {
    const made = fleet(zoneAware(roundRobin(), { zone: "near", minSize: 1 }), 1);
    made.set(zoned(2, 2));
    const avoid = new Set(made.endpoints.slice(0, 2));
    expect(
      nearShare(
        made.picks(10, () => ({ avoid })),
        2,
      ),
    ).toBe(0);
  });
});

describe("panic", () => {
  it("takes them all when too many are ill, the ill ones too", () => {
    const play = (policy: Policy) => {
      const made = fleet(policy, 10);
      const ill = new Set(ids(8));
      for (let n = 0; n < 200; n++) {
        made.call((id) => (ill.has(id) ? bad : good));
        made.clock.advanceSync(2);
      }
      return new Set(made.picks(100));
    };
    const rules = { failures: 1, maxEjected: 1, ejectMs: 60_000, ejectMostMs: 60_000 };
    expect(play(outlierDetection(roundRobin(), rules)).size).toBe(2);
    expect(play(outlierDetection(panic(roundRobin()), rules)).size).toBe(10);
    expect(play(outlierDetection(panic(roundRobin(), { threshold: 0 }), rules)).size).toBe(2);
  });
});

describe("compositions that make no sense", () => {
  const zone = { zone: "near" };
  it.each<[string, () => Policy]>([
    ["outlierDetection of itself", () => outlierDetection(outlierDetection(roundRobin()))],
    ["… however deep", () => outlierDetection(panic(slowStart(sticky(roundRobin()))))],
    ["zoneAware around outlierDetection", () => zoneAware(outlierDetection(roundRobin()), zone)],
    ["priority around outlierDetection", () => priority(outlierDetection(roundRobin()))],
    ["panic around outlierDetection", () => panic(outlierDetection(roundRobin()))],
    ["panic around priority", () => panic(priority(roundRobin()))],
    ["slowStart of a hash", () => slowStart(maglev())],
    ["slowStart of a bounded hash", () => slowStart(maglev({ boundedLoad: 1.5 }))],
    ["slowStart of a session", () => slowStart(sticky(roundRobin()))],
    ["subset of a subset", () => subset(subset(roundRobin(), { size: 3 }), { size: 2 })],
    ["sticky of sticky", () => sticky(sticky(roundRobin()))],
    ["no child", () => outlierDetection(undefined as unknown as Policy)],
    ["a policy that was not called", () => sticky(roundRobin as unknown as Policy)],
  ])("%s", (_, make) => {
    expect(make).toThrow(InvalidOptionError);
    expect(make).toThrow(expect.objectContaining({ path: "child" }));
  });

  it.each<[() => Policy]>([
    [() => subset(roundRobin(), {} as SubsetOptions)],
    [() => subset(roundRobin(), { size: 0 })],
    [() => zoneAware(roundRobin(), {} as ZoneAwareOptions)],
    [() => zoneAware(roundRobin(), { zone: "a", callShare: 2 })],
    [() => priority(roundRobin(), { of: 1 } as unknown as PriorityOptions)],
    [() => priority(roundRobin(), { overprovisioning: 0.5 })],
    [() => panic(roundRobin(), { threshold: 50 })],
    [() => slowStart(roundRobin(), { windowMs: 0 })],
    [() => slowStart(roundRobin(), { duration: 1 } as object)],
    [() => outlierDetection(roundRobin(), { successRate: true } as object)],
    [() => outlierDetection(roundRobin(), { latency: { times: 2 } } as object)],
    [() => outlierDetection(roundRobin(), { maxEjected: 10 })],
  ])("options that cannot work are refused: %s", (make) => {
    expect(make).toThrow(InvalidOptionError);
  });
});
