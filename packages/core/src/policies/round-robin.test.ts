import { manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { lorem } from "../../test/lorem.ts";
import { LiveEndpoint } from "../endpoint.ts";
import type { NonEmpty } from "../policy.ts";
import { roundRobin } from "./round-robin.ts";

type Letters = NonEmpty<LiveEndpoint<string>>;

const made = new Map("ABCDEFGH".split("").map((letter, index) => [letter, new LiveEndpoint(lorem(index + 1), letter)]));

/** One endpoint per letter, always the same one for the same letter. */
function set(letters: string): Letters {
  const [first, ...rest] = letters.split("").map((letter) => {
    const endpoint = made.get(letter);
    if (endpoint === undefined) throw new Error(letter);
    return endpoint;
  });
  if (first === undefined) throw new Error("an empty set");
  return [first, ...rest];
}

function start(random: () => number) {
  const state = roundRobin().create(manualClock({ random }).env);
  let picker = (_request: object): LiveEndpoint<string> => {
    throw new Error("no set yet");
  };
  return {
    see(letters: string): void {
      picker = state.picker(set(letters));
    },
    picks(count: number): string {
      return Array.from({ length: count }, () => picker({}).client).join("");
    },
  };
}

describe("roundRobin", () => {
  it("is one constant with a name, and keeps no outcomes", () => {
    expect(roundRobin()).toBe(roundRobin());
    expect(roundRobin().name).toBe("round-robin");
    expect(roundRobin().create(manualClock().env).observe).toBeUndefined();
  });

  it.each([
    [0, "ABCABC"],
    [0.34, "BCABCA"],
    [0.67, "CABCAB"],
    [0.999_999, "CABCAB"],
  ])("starts at floor(random · n) and then strictly cycles: %s", (random, expected) => {
    const cycle = start(() => random);
    cycle.see("ABC");
    expect(cycle.picks(6)).toBe(expected);
  });

  it("asks for chance once, for the start, and never again", () => {
    let asked = 0;
    const cycle = start(() => {
      asked++;
      return 0;
    });
    cycle.see("ABC");
    cycle.picks(10);
    cycle.see("AC");
    cycle.picks(10);
    expect(asked).toBe(1);
  });

  it("has a state of its own for each balancer", () => {
    const [one, two] = [start(() => 0), start(() => 0)];
    one.see("AB");
    two.see("AB");
    expect([one.picks(1), two.picks(2), one.picks(1)]).toEqual(["A", "AB", "B"]);
  });

  it("cycles over a single endpoint", () => {
    const cycle = start(() => 0.5);
    cycle.see("A");
    expect(cycle.picks(3)).toBe("AAA");
  });

  it("goes on where it was when an endpoint joins before, at and after its place", () => {
    for (const [joined, expected] of [
      ["HABC", "BCHA"],
      ["AHBC", "BCAH"],
      ["ABHC", "BHCA"],
      ["ABCH", "BCHA"],
    ] as const) {
      const cycle = start(() => 0);
      cycle.see("ABC");
      expect(cycle.picks(1)).toBe("A");
      cycle.see(joined);
      expect(cycle.picks(4), joined).toBe(expected);
    }
  });

  it("goes on with the next one that is left when its next one has gone", () => {
    const cycle = start(() => 0);
    cycle.see("ABCD");
    expect(cycle.picks(1)).toBe("A");
    cycle.see("AD");
    expect(cycle.picks(3)).toBe("DAD");
  });

  it("goes round the end when all that follow have gone", () => {
    const cycle = start(() => 0);
    cycle.see("ABCD");
    expect(cycle.picks(3)).toBe("ABC");
    cycle.see("ABC");
    expect(cycle.picks(3)).toBe("ABC");
  });

  it("starts somewhere in a set that has nothing of the old one", () => {
    const cycle = start(() => 0);
    cycle.see("ABC");
    cycle.picks(2);
    cycle.see("DEF");
    expect(cycle.picks(3).split("").toSorted()).toEqual(["D", "E", "F"]);
    cycle.see("G");
    expect(cycle.picks(2)).toBe("GG");
  });

  it("loses no turn to updates that come before every pick", () => {
    const cycle = start(() => 0);
    let picks = "";
    for (let round = 0; round < 12; round++) {
      cycle.see(round % 2 === 0 ? "ABC" : "ABCD");
      picks += cycle.picks(1);
    }
    for (const letter of "ABC") expect(picks.split(letter).length - 1).toBeGreaterThanOrEqual(3);
  });
});
