import { type Fleet, fleet, ids, manualClock, seededRandom } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { createBalancer } from "../balancer.ts";
import { fixedEndpointer } from "../fixed-endpointer.ts";
import { adaptive } from "./adaptive.ts";

type Answers = (id: string) => { readonly afterMs: number; readonly isGood: boolean };
const good = (afterMs: number) => ({ afterMs, isGood: true });
const bad = (afterMs: number) => ({ afterMs, isGood: false });

/** A call every `everyMs`, for `ms`; how many went to each. */
function play({ call, clock }: Fleet, ms: number, everyMs: number, answer: Answers): Map<string, number> {
  const counts = new Map<string, number>();
  for (const end = clock.now() + ms; clock.now() < end; clock.advanceSync(everyMs)) {
    const id = call(answer);
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}

const share = (counts: ReadonlyMap<string, number>, ids: readonly string[]): number => {
  const sum = [...counts.values()].reduce((total, count) => total + count, 0);
  return ids.reduce((total, id) => total + (counts.get(id) ?? 0), 0) / sum;
};

const ejected = ({ balancer }: Fleet): string[] =>
  balancer
    .explain()
    .candidates.flatMap(({ endpoint, excluded }) => (excluded === "ejected" ? [endpoint.client as string] : []));

/** An answer time that varies as real ones do. */
function around(meanMs: number, seed: number): () => number {
  const random = seededRandom(seed);
  return () => -Math.log(1 - random()) * meanMs;
}

describe("adaptive", () => {
  it("is one constant with a name", () => {
    expect(adaptive()).toBe(adaptive());
    expect(adaptive().name).toBe("adaptive");
  });

  it("shares evenly among equals, also when they answer in no time", () => {
    for (const ms of [0, 10]) {
      const four = fleet(adaptive(), 4);
      const counts = play(four, 20_000, 4, () => good(ms));
      for (const id of ids(4)) expect(share(counts, [id])).toBeGreaterThan(0.2);
    }
  });

  it("goes by what each can do: of two, one three times as fast gets most", () => {
    const two = fleet(adaptive(), 2);
    const [fast, slow] = [around(10, 1), around(30, 2)];
    const answer: Answers = (id) => good(id === "i0" ? fast() : slow());
    play(two, 5_000, 4, answer);
    expect(share(play(two, 20_000, 4, answer), ["i0"])).toBeGreaterThan(0.6);
  });

  it("goes by weight where nothing else speaks against it", () => {
    const two = fleet(adaptive(), 2);
    two.set([{ id: "i0", weight: 3 }, { id: "i1" }]);
    const counts = play(two, 20_000, 1, () => good(20));
    expect(share(counts, ["i0"])).toBeCloseTo(0.75, 1);
  });

  it("sends less than a call in a thousand to two slow ones of four, after a while", () => {
    const four = fleet(adaptive(), 4);
    const answer: Answers = (id) => good(id < "i2" ? 10 : 500);
    play(four, 20_000, 5, answer);
    expect(share(play(four, 60_000, 5, answer), ["i2", "i3"])).toBeLessThan(0.001);
  });

  it("is no prey to those who fail fast: two of fifty get a tenth of their share at most", () => {
    const fifty = fleet(adaptive(), 50);
    const counts = play(fifty, 20_000, 2, (id) => (id === "i0" || id === "i1" ? bad(1) : good(20)));
    expect(share(counts, ["i0", "i1"])).toBeLessThan(0.004);
  });

  it("leaves who has stopped alone before its first late answer, and knows when it is back", () => {
    const three = fleet(adaptive(), 3);
    play(three, 3_000, 5, () => good(10));
    expect(play(three, 900, 5, (id) => (id === "i1" ? bad(1_000) : good(10))).get("i1") ?? 0).toBeLessThan(8);
    play(three, 5_000, 5, () => good(10));
    expect(
      share(
        play(three, 5_000, 5, () => good(10)),
        ["i1"],
      ),
    ).toBeGreaterThan(0.2);
  });

  it("ejects after three failures in a row, briefly, and one probe decides", () => {
    const three = fleet(adaptive(), 3);
    for (const { client } of three.endpoints) expect(client).toBeDefined();
    // All others are held, so the failing one is the cheapest.
    for (let n = 0; n < 40; n++) three.call((id) => (id === "i0" ? bad(1) : good(10_000)));
    three.clock.advanceSync(1);
    expect(ejected(three)).toEqual(["i0"]);
    const left = three.balancer.explain().candidates[0]?.ejectedForMs ?? 0;
    expect(left).toBeGreaterThan(170);
    expect(left).toBeLessThanOrEqual(220);
    three.clock.advanceSync(left + 1);
    expect(three.balancer.explain().next?.client).toBe("i0");
    expect(three.call(() => bad(5))).toBe("i0");
    expect(three.call(() => good(5))).not.toBe("i0");
    three.clock.advanceSync(5);
    // Twice as long.
    expect(three.balancer.explain().candidates[0]?.ejectedForMs ?? 0).toBeGreaterThan(340);
    three.clock.advanceSync(441);
    expect(three.call(() => good(5))).toBe("i0");
    three.clock.advanceSync(5);
    expect(ejected(three)).toEqual([]);
  });

  it("never ejects more than half, nor the last one", () => {
    for (const [size, most] of [
      [1, 0],
      [2, 1],
      [3, 1],
      [10, 5],
    ] as const) {
      const made = fleet(adaptive(), size);
      let held = 0;
      for (let n = 0; n < 8_000; n++) {
        made.call((id) => (id === "i0" ? good(1) : bad(1)));
        made.clock.advanceSync(5);
        held = Math.max(held, ejected(made).length);
      }
      expect(held).toBe(most);
    }
  });

  it("is not drawn to one whose callers leave before it has ever answered", () => {
    const clock = manualClock();
    const endpointer = fixedEndpointer("lorem", ["a", "b", "c"]);
    const balancer = createBalancer(endpointer, adaptive(), { env: clock.env });
    const counts = new Map<string, number>();
    for (let n = 0; n < 300; n++) {
      const { endpoint, done } = balancer.pick();
      counts.set(endpoint.client, (counts.get(endpoint.client) ?? 0) + 1);
      clock.advanceSync(endpoint.client === "a" ? 60 : 10);
      done({ kind: endpoint.client === "a" ? "cancelled" : "success" });
    }
    expect(counts.get("a")).toBeLessThan(200);
    expect(counts.get("b")).toBeGreaterThan(50);
  });

  it("ejects nobody, and avoids nobody, for failures that all have as often", () => {
    for (const rate of [0.05, 0.2, 1]) {
      const random = seededRandom(7);
      const ten = fleet(adaptive(), 10);
      let most = 0;
      const counts = play(ten, 30_000, 2, () => {
        most = Math.max(most, ejected(ten).length);
        return { afterMs: 10, isGood: random() >= rate };
      });
      expect(most).toBeLessThanOrEqual(rate === 1 ? 0 : 1);
      for (const id of ids(10)) expect(share(counts, [id])).toBeGreaterThan(0.02);
    }
  });

  it("forgets a single failure with the next good answer, asked for after four seconds at the latest, and remembers who fails now and then", () => {
    const two = fleet(adaptive(), 2);
    play(two, 2_000, 5, () => good(10));
    let spared = true;
    play(two, 4_500, 5, (id) => (id === "i0" && spared ? ((spared = false), bad(10)) : good(10)));
    expect(
      share(
        play(two, 5_000, 5, () => good(10)),
        ["i0"],
      ),
    ).toBeGreaterThan(0.4);
    const chance = seededRandom(1);
    const flaky = play(two, 10_000, 5, (id) => (id === "i0" && chance() < 0.3 ? bad(10) : good(10)));
    expect(share(flaky, ["i0"])).toBeLessThan(0.25);
  });

  it("keeps what it has learnt of those that stay when the set changes", () => {
    const two = fleet(adaptive(), 2);
    const answer: Answers = (id) => good(id === "i0" ? 500 : 10);
    play(two, 5_000, 10, answer);
    two.set([{ id: "i0", weight: 2 }, { id: "i1" }, { id: "i2" }]);
    expect(share(play(two, 1_000, 10, answer), ["i0"])).toBeLessThan(0.05);
  });

  it("asks for chance twice, for its seed and its first turn", () => {
    let asked = 0;
    const env = fleet(adaptive(), 1).clock.env;
    const state = adaptive().create({
      ...env,
      random: () => {
        asked++;
        return 0.5;
      },
    });
    const made = fleet(adaptive(), 40);
    const picker = state.picker(made.endpoints as never);
    for (let n = 0; n < 100; n++) picker({});
    expect(asked).toBe(2);
  });
});
