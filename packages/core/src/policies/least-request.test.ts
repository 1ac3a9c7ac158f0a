import { manualClock, seededRandom } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { type Lettered, lettered, numbered } from "../../test/lettered.ts";
import { type Endpoint, reserve } from "../endpoint.ts";
import { InvalidOptionError } from "../errors.ts";
import type { NonEmpty } from "../policy.ts";
import { type LeastRequestOptions, leastRequest } from "./least-request.ts";

function start(set: NonEmpty<Lettered>, options?: LeastRequestOptions, seed = 1) {
  const state = leastRequest(options).create(manualClock({ random: seededRandom(seed) }).env);
  const picker = state.picker(set);
  return { state, pick: (avoid?: ReadonlySet<Endpoint>) => picker({ avoid }).client };
}

const load = (set: readonly Lettered[], loads: Readonly<Record<string, number>>): void => {
  for (const endpoint of set) for (let n = 0; n < (loads[endpoint.client] ?? 0); n++) reserve(endpoint);
};

describe("leastRequest", () => {
  it("takes the one with the fewest calls in flight of a small set, always", () => {
    const set = lettered({ a: 1, b: 1, c: 1, d: 1 });
    load(set, { a: 3, b: 1, c: 2, d: 2 });
    const { pick } = start(set);
    for (let n = 0; n < 100; n++) expect(pick()).toBe("b");
  });

  it("goes by calls for weight", () => {
    const set = lettered({ a: 4, b: 1 });
    load(set, { a: 2, b: 0 });
    // (2 + 1) / 4 is less than (0 + 1) / 1.
    expect(start(set).pick()).toBe("a");
  });

  it("begins anywhere, so equals are equal", () => {
    const { pick } = start(lettered({ a: 1, b: 1, c: 1 }));
    const counts: Record<string, number> = { a: 0, b: 0, c: 0 };
    for (let n = 0; n < 30_000; n++) {
      const client = pick();
      counts[client] = (counts[client] ?? 0) + 1;
    }
    for (const count of Object.values(counts)) expect(Math.abs(count - 10_000)).toBeLessThan(5 * 82);
  });

  it("compares two different ones of a large set: of n with s loaded, s(s-1)/(n(n-1)) get through", () => {
    const set = numbered(10);
    const slow = new Set(set.slice(0, 4));
    for (const endpoint of slow) reserve(endpoint);
    const picker = leastRequest({ scanUpTo: 0 })
      .create(manualClock({ random: seededRandom(3) }).env)
      .picker(set);
    let through = 0;
    for (let n = 0; n < 90_000; n++) if (slow.has(picker({}))) through++;
    // 4 · 3 / (10 · 9) = 2 / 15; with one drawn twice it would be more.
    expect(Math.abs(through - 12_000)).toBeLessThan(5 * 102);
  });

  it("draws the candidates of a large set by weight", () => {
    const set = numbered(20, (index) => ({ weight: index < 10 ? 3 : 1 }));
    const state = leastRequest({ scanUpTo: 0 }).create(manualClock({ random: seededRandom(3) }).env);
    const picker = state.picker(set);
    // Idle ones alike, the heavier one is cheaper: chosen unless both candidates are light.
    let light = 0;
    for (let n = 0; n < 16_000; n++) if (picker({}).client >= 10) light++;
    expect(Math.abs(light - 1_000)).toBeLessThan(5 * 31);
  });

  it("compares two different ones by weight, too, though one of them is drawn most of the time", () => {
    const set = numbered(20, (index) => ({ weight: index === 0 ? 100 : 1 }));
    // Full, at (199 + 1) / 100: any other one is cheaper.
    for (let n = 0; n < 199; n++) reserve(set[0]);
    const picker = leastRequest()
      .create(manualClock({ random: seededRandom(3) }).env)
      .picker(set);
    for (let n = 0; n < 1_000; n++) expect(picker({}).client).not.toBe(0);
  });

  it("leaves out whom to avoid, and ignores that if there is no other", () => {
    const set = lettered({ a: 1, b: 1, c: 1 });
    const { pick } = start(set);
    for (let n = 0; n < 20; n++) expect(pick(new Set(set.slice(0, 2)))).toBe("c");
    expect("abc").toContain(pick(new Set(set)));
  });

  it("keeps no outcomes, so its picks cost no look at the clock", () => {
    const { state } = start(lettered({ a: 1 }));
    expect([state.observe, state.started]).toEqual([undefined, undefined]);
  });

  it.each([{ choices: 1 }, { choices: 33 }, { scanUpTo: -1 }, { d: 2 }, null])("refuses %o", (options) => {
    expect(() => leastRequest(options as LeastRequestOptions)).toThrow(InvalidOptionError);
  });
});
