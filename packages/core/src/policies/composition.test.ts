import { type Fleet, fleet, ids } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { InvalidOptionError } from "../errors.ts";
import type { Policy } from "../policy.ts";
import { leastRequest } from "./least-request.ts";
import { maglev } from "./maglev.ts";
import { outlierDetection } from "./outlier-detection.ts";
import { panic } from "./panic.ts";
import { peakEwma } from "./peak-ewma.ts";
import { priority } from "./priority.ts";
import { ringHash } from "./ring-hash.ts";
import { roundRobin } from "./round-robin.ts";
import { slowStart } from "./slow-start.ts";
import { sticky } from "./sticky.ts";
import { subset } from "./subset.ts";
import { weightedRoundRobin } from "./weighted-round-robin.ts";
import { zoneAware } from "./zone-aware.ts";

const good = { afterMs: 10, isGood: true };
const bad = { afterMs: 1, isGood: false };
/** One failure ejects, for good. */
const STRICT = { failures: 1, maxEjected: 1, ejectMs: 600_000, ejectMostMs: 600_000 };

const tiers = (first: number, second: number) =>
  ids(first + second).map((id, place) => ({ id, metadata: { priority: place < first ? "0" : "1" } }));
const zoned = (near: number, far: number) =>
  ids(near + far).map((id, place) => ({ id, zone: place < near ? "near" : "far" }));

/** Has those endpoints fail until they are out. */
function eject(made: Fleet, ill: readonly string[]): void {
  const { balancer, clock } = made;
  for (const id of ill) {
    const others = new Set(made.endpoints.filter(({ client }) => client !== id));
    using pick = balancer.pick({ avoid: others });
    expect(pick.endpoint.client).toBe(id);
    pick.done({ kind: "failure", error: new Error(id) });
    clock.advanceSync(1);
  }
}

describe("explain, where outlier detection tells who is ill", () => {
  it("names nobody in a tier that has handed over a part of its calls, and tells its share", () => {
    const made = fleet(outlierDetection(priority(weightedRoundRobin()), STRICT), 1);
    made.set(tiers(4, 4));
    made.picks(8);
    eject(made, ["i0", "i1"]);
    made.picks(8);
    const { next, why } = made.balancer.explain();
    expect(why).toBe("tier 0: 70 %, tier 1: 30 %");
    expect(next).toBeUndefined();
  });

  it("tells the shares of zones as picks find them", () => {
    const made = fleet(outlierDetection(zoneAware(weightedRoundRobin(), { zone: "near" }), STRICT), 1);
    made.set(zoned(3, 3));
    made.picks(8);
    eject(made, ["i0"]);
    made.picks(8);
    // Two of five are at home, where half of the calls come from.
    expect(made.balancer.explain().why).toBe("near: 80 %, far: 20 %");
  });

  it.each<[string, (child: Policy) => Policy]>([
    ["panic", (child) => panic(child)],
    ["panic in slowStart", (child) => slowStart(panic(child))],
    ["panic in sticky", (child) => sticky(panic(child))],
    ["panic in subset", (child) => subset(panic(child), { size: 20 })],
  ])("keeps its word in %s, which takes the ill ones too", (_, wrap) => {
    const made = fleet(outlierDetection(wrap(weightedRoundRobin()), STRICT), 5);
    eject(made, ["i0", "i1", "i2", "i3"]);
    for (let n = 0; n < 10; n++) {
      const { next } = made.balancer.explain();
      expect(made.picks(1)).toEqual([next?.client]);
    }
  });
});

describe("a call that has tried them all", () => {
  it.each<[string, Policy]>([
    ["maglev", maglev({ tableSize: 1_009 })],
    ["ringHash", ringHash()],
    ["leastRequest", leastRequest()],
    ["subset", subset(leastRequest(), { size: 4 })],
  ])("is picked for as if it had tried none: %s", (_, policy) => {
    const made = fleet(policy, 4);
    const held = [0, 0, 1, 1, 3, 3].map((place) =>
      made.balancer.pick({ avoid: new Set(made.endpoints.filter((__, other) => other !== place)) }),
    );
    for (let n = 0; n < 20; n++) {
      const key = `user-${n}`;
      const [usual] = made.picks(1, () => ({ key }));
      expect(made.picks(1, () => ({ key, avoid: new Set(made.endpoints) }))).toEqual([usual]);
    }
    for (const lease of held) lease[Symbol.dispose]();
  });
});

describe("explain", () => {
  it("names whose turn it is, also for a retry and in a set that no pick has seen", () => {
    const made = fleet(roundRobin(), 4);
    expect(made.balancer.explain()).toMatchObject({ next: undefined });
    made.picks(2);
    for (let n = 0; n < 40; n++) {
      if (n % 5 === 0) made.set(ids(4 - (n % 3)).map((id) => ({ id })));
      const avoid = new Set(made.endpoints.slice(0, n % 2));
      const { next, why } = made.balancer.explain({ avoid });
      expect(why).toBe("it is its turn");
      expect(made.picks(1, () => ({ avoid }))).toEqual([next?.client]);
    }
  });

  it("excludes nobody whom it names as the next one, for a probe", () => {
    const made = fleet(outlierDetection(roundRobin()), 3);
    for (let n = 0; n < 40; n++) {
      made.call((id) => (id === "i1" ? bad : good));
      made.clock.advanceSync(2);
    }
    const out = made.balancer.explain().candidates[1];
    expect(out).toMatchObject({ excluded: "ejected" });
    made.clock.advanceSync((out?.ejectedForMs ?? 0) + 1);
    const { next, candidates } = made.balancer.explain();
    expect(next?.client).toBe("i1");
    expect(candidates[1]).toMatchObject({ ejectedForMs: 0, excluded: undefined });
  });
});

describe("a call that has tried some of its group", () => {
  it.each<[string, Policy, readonly { readonly id: string }[]]>([
    ["tier", priority(roundRobin()), tiers(3, 3)],
    ["zone", zoneAware(roundRobin(), { zone: "near" }), zoned(3, 3)],
  ])("stays in its %s while there is another one", (_, policy, set) => {
    const made = fleet(policy, 1);
    made.set(set);
    const avoid = new Set(made.endpoints.slice(0, 2));
    expect(new Set(made.picks(12, () => ({ avoid })))).toEqual(new Set(["i2"]));
  });

  it.each<[string, Policy, readonly { readonly id: string }[]]>([
    ["zone", zoneAware(roundRobin(), { zone: "near" }), zoned(2, 6)],
    ["home", zoneAware(roundRobin(), { zone: "near", callShare: 0.1 }), zoned(2, 6)],
    ["tier", priority(roundRobin()), tiers(2, 6)],
  ])("goes to any of the others when it has tried all of its %s, not always to the same one", (_, policy, set) => {
    const made = fleet(policy, 1);
    made.set(set);
    const avoid = new Set(made.endpoints.slice(0, 2));
    expect(new Set(made.picks(200, () => ({ avoid }))).size).toBe(6);
  });

  it("goes to any of the others when it has tried all of its subset", () => {
    const made = fleet(subset(roundRobin(), { size: 2 }), 8);
    const own = new Set(made.picks(10));
    const avoid = new Set(made.endpoints.filter(({ client }) => own.has(client)));
    expect(new Set(made.picks(200, () => ({ avoid }))).size).toBe(6);
  });
});

describe("a key in a set that is split by shares", () => {
  it.each<[string, Policy, readonly { readonly id: string }[]]>([
    ["zones", zoneAware(maglev({ tableSize: 1_009 }), { zone: "near" }), zoned(3, 9)],
    ["tiers", outlierDetection(priority(ringHash()), STRICT), tiers(4, 4)],
  ])("belongs to one endpoint all the same, by the shares of the %s", (kind, policy, set) => {
    const made = fleet(policy, 1);
    made.set(set);
    made.picks(1);
    if (kind === "tiers") eject(made, ["i0", "i1"]);
    let first = 0;
    for (let n = 0; n < 1_000; n++) {
      const picked = made.picks(4, () => ({ key: `user-${n}` }));
      expect(new Set(picked).size).toBe(1);
      if (ids(kind === "tiers" ? 4 : 3).includes(picked[0] ?? "")) first++;
    }
    expect(Math.abs(first - (kind === "tiers" ? 700 : 500))).toBeLessThan(5 * 16);
  });
});

describe("what was learnt of a group", () => {
  /** Teaches that `i0` is slow, has the group out of use for a while, and tells what is known of it then. */
  const costAfter = (policy: Policy, set: readonly { readonly id: string }[], without: (made: Fleet) => void) => {
    const made = fleet(policy, 1);
    made.set(set);
    for (let n = 0; n < 50; n++) {
      made.call((id) => ({ afterMs: id === "i0" ? 900 : 10, isGood: true }));
      made.clock.advanceSync(20);
    }
    made.clock.advanceSync(1_000);
    without(made);
    made.set(set);
    made.picks(1);
    const [one, other] = made.balancer.explain().candidates;
    return (one?.cost ?? 0) / (other?.cost ?? 1);
  };

  it("stays when a tier is used again that nobody was well in", () => {
    const policy = outlierDetection(priority(peakEwma({ decayMs: 600_000 })), {
      ...STRICT,
      ejectMs: 100,
      ejectMostMs: 100,
    });
    const ratio = costAfter(policy, tiers(2, 2), (made) => {
      eject(made, ["i0", "i1"]);
      made.picks(3);
      made.clock.advanceSync(200);
      for (let n = 0; n < 4; n++) {
        made.call(() => ({ afterMs: 1, isGood: true }));
        made.clock.advanceSync(2);
      }
    });
    expect(ratio).toBeGreaterThan(5);
  });

  it("stays when a zone is needed again that nothing was spilled to", () => {
    const set = zoned(6, 6).toReversed();
    const shifted = set.map(({ id, zone }) => ({ id, zone, weight: zone === "near" ? 0.2 : 1 }));
    const policy = zoneAware(peakEwma({ decayMs: 600_000 }), { zone: "near" });
    const made = fleet(policy, 1);
    made.set(shifted);
    for (let n = 0; n < 200; n++) {
      made.call((id) => ({ afterMs: id === "i11" ? 900 : 10, isGood: true }));
      made.clock.advanceSync(20);
    }
    made.clock.advanceSync(1_000);
    made.set(set);
    made.picks(5);
    made.set(shifted);
    made.picks(5);
    const [one, other] = made.balancer.explain().candidates;
    expect(one?.endpoint.client).toBe("i11");
    expect((one?.cost ?? 0) / (other?.cost ?? 1)).toBeGreaterThan(5);
  });
});

describe("more compositions that make no sense", () => {
  it.each<[string, () => Policy]>([
    ["zoneAware around sticky", () => zoneAware(sticky(roundRobin()), { zone: "near" })],
    ["priority around sticky", () => priority(sticky(roundRobin()))],
    ["subset around sticky", () => subset(sticky(roundRobin()), { size: 3 })],
  ])("%s: the named instance may be elsewhere", (_, make) => {
    expect(make).toThrow(InvalidOptionError);
    expect(make).toThrow(/put sticky\(…\) around/);
  });

  it("bears a child without a name, as createBalancer does", () => {
    const nameless = { create: leastRequest().create } as unknown as Policy;
    expect(fleet(panic(nameless), 3).picks(3)).toHaveLength(3);
  });
});
