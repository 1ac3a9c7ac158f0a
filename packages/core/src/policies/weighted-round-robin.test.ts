import { manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { type Lettered, lettered } from "../../test/lettered.ts";
import type { Endpoint } from "../endpoint.ts";
import type { NonEmpty } from "../policy.ts";
import { weightedRoundRobin } from "./weighted-round-robin.ts";

function start(random = 0) {
  let asked = 0;
  const chance = (): number => {
    asked++;
    return random;
  };
  const state = weightedRoundRobin().create(manualClock({ random: chance }).env);
  return {
    state,
    asked: () => asked,
    picks: (set: NonEmpty<Lettered>, count: number) => {
      const picker = state.picker(set);
      return Array.from({ length: count }, () => picker({}).client).join("");
    },
  };
}

describe("weightedRoundRobin", () => {
  it("is one constant with a name, and keeps no outcomes", () => {
    expect(weightedRoundRobin()).toBe(weightedRoundRobin());
    expect(weightedRoundRobin().name).toBe("weighted-round-robin");
    expect(start().state.observe).toBeUndefined();
  });

  it("spreads the turns smoothly: 5, 1, 1 give a a b a c a a", () => {
    expect(start().picks(lettered({ a: 5, b: 1, c: 1 }), 14)).toBe("aabacaaaabacaa");
  });

  it("begins with the heaviest, and among equals with any", () => {
    expect(start(0.9).picks(lettered({ a: 5, b: 1, c: 1 }), 7)).toBe("aabacaa");
    const { picks, asked } = start(0.9);
    expect(picks(lettered({ a: 2, b: 2, c: 2 }), 4)).toBe("cabc");
    picks(lettered({ a: 1, b: 1 }), 2);
    expect(asked()).toBe(1);
  });

  it("goes on where it was when the set changes: survivors keep their credit", () => {
    const { picks } = start();
    const [a, b, c] = lettered({ a: 1, b: 1, c: 1 }) as unknown as [Lettered, Lettered, Lettered];
    expect(picks([a, b, c], 1)).toBe("a");
    expect(picks([a, b], 5)).toBe("bbaba");
  });

  it("honours avoid, and the avoided one has its turn later", () => {
    const { state } = start();
    const set = lettered({ a: 100, b: 1, c: 1 });
    const picker = state.picker(set);
    const avoid = new Set<Endpoint>([set[0]]);
    expect([picker({ avoid }).client, picker({ avoid }).client]).toEqual(["b", "c"]);
    expect(picker({}).client).toBe("a");
    expect(picker({ avoid: new Set(set) }).client).toBe("a");
  });

  it("explains whose turn is next without taking it", () => {
    const { state } = start();
    const set = lettered({ a: 5, b: 1, c: 1 });
    const picker = state.picker(set);
    for (const expected of "aabacaa") {
      expect(state.explain?.(set, {}, 0).next?.client).toBe(expected);
      expect(picker({}).client).toBe(expected);
    }
  });
});
