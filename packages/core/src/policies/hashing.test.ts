import { manualClock, seededRandom } from "@rollcall/testing";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lettered, numbered } from "../../test/lettered.ts";
import { type Endpoint, LiveEndpoint } from "../endpoint.ts";
import { InvalidOptionError } from "../errors.ts";
import { createInstance } from "../instance.ts";
import type { NonEmpty, Policy } from "../policy.ts";
import { maglev } from "./maglev.ts";
import { ringHash } from "./ring-hash.ts";

const KEYS = 60_000;

function pickerOf<E extends Endpoint>(policy: Policy, set: NonEmpty<E>) {
  const picker = policy.create(manualClock({ random: seededRandom(1) }).env).picker(set);
  return (key?: string, avoid?: ReadonlySet<Endpoint>) => picker({ key, avoid });
}

/**
 * The largest share of the keys, beside an even one; and the share of keys that move, beyond those that must, when one
 * endpoint leaves. Means over several fleets and over who leaves: a single one is luck.
 */
function quality(policy: Policy, size: number, fleets: number) {
  let [worst, moved, removals] = [0, 0, 0];
  for (let fleet = 0; fleet < fleets; fleet++) {
    const set = numbered(size, (index) => ({ host: `10.${fleet}.${index >> 8}.${index & 255}` }));
    const pick = pickerOf(policy, set);
    const owners = Array.from({ length: KEYS }, (_, key) => pick(`k${key}`).client);
    const counts = new Uint32Array(size);
    for (const owner of owners) counts[owner] = (counts[owner] ?? 0) + 1;
    worst += (Math.max(...counts) * size) / KEYS / fleets;
    for (const gone of [0, 3, 7]) {
      const left = set.filter(({ client }) => client !== gone) as unknown as NonEmpty<LiveEndpoint<number>>;
      const without = pickerOf(policy, left);
      removals++;
      for (const [key, owner] of owners.entries()) if (owner !== gone && without(`k${key}`).client !== owner) moved++;
    }
  }
  return { worst, moved: moved / removals / KEYS };
}

const policies: [string, Policy][] = [
  ["ringHash", ringHash()],
  ["maglev", maglev()],
  ["ringHash, bounded", ringHash({ boundedLoad: 1.25 })],
  ["maglev, bounded", maglev({ boundedLoad: 1.25 })],
];

describe.each(policies)("%s", (_, policy) => {
  it("sends the same key to the same endpoint, in every client", () => {
    const [one, other] = [pickerOf(policy, numbered(20)), pickerOf(policy, numbered(20))];
    for (let n = 0; n < 500; n++) expect(one(`key-${n}`).client).toBe(other(`key-${n}`).client);
  });

  it("does not depend on the order of the set", () => {
    const set = numbered(20);
    const turned = set.toReversed() as unknown as NonEmpty<LiveEndpoint<number>>;
    const [one, other] = [pickerOf(policy, set), pickerOf(policy, turned)];
    for (let n = 0; n < 500; n++) expect(other(`key-${n}`)).toBe(one(`key-${n}`));
  });

  it("gives shares in proportion to weight", () => {
    const set = lettered({ a: 3, b: 1 });
    const pick = pickerOf(policy, set);
    let heavy = 0;
    for (let n = 0; n < 40_000; n++) if (pick(`key-${n}`).client === "a") heavy++;
    expect(Math.abs(heavy - 30_000)).toBeLessThan(1_500);
  });

  it("goes by chance without a key, and reaches everyone", () => {
    const pick = pickerOf(policy, numbered(10));
    expect(new Set(Array.from({ length: 500 }, () => pick().client)).size).toBe(10);
  });

  it("has the same second choice for a key, whenever the first is to be avoided", () => {
    const pick = pickerOf(policy, numbered(10));
    for (let n = 0; n < 200; n++) {
      const first = pick(`key-${n}`);
      const second = pick(`key-${n}`, new Set([first]));
      expect(second).not.toBe(first);
      expect(pick(`key-${n}`, new Set([first]))).toBe(second);
    }
  });

  it("hashes by hash_key of the metadata if there is one, so that a replacement takes over the keys", () => {
    const make = (host: string, name: string) =>
      new LiveEndpoint(createInstance({ service: "lorem", host, port: 80, metadata: { hash_key: name } }), name);
    const before = pickerOf(policy, [make("h1", "x"), make("h2", "y"), make("h3", "z")]);
    const after = pickerOf(policy, [make("h9", "x"), make("h2", "y"), make("h3", "z")]);
    for (let n = 0; n < 300; n++) expect(after(`key-${n}`).client).toBe(before(`key-${n}`).client);
  });
});

describe("ringHash", () => {
  it("does not go round and round for a call that is to avoid them all", () => {
    const set = lettered({ a: 1, b: 1_000 });
    const picker = ringHash().create(manualClock().env).picker(set);
    const avoid = new Set<Endpoint>(set);
    const startedAt = performance.now();
    for (let n = 0; n < 50; n++) picker({ key: `key-${n}`, avoid });
    expect(performance.now() - startedAt).toBeLessThan(100);
  });
});

describe("balance and disruption, within 10 % of what is published for these sizes", () => {
  it.each([
    [10, 1_024, 1.13],
    [10, 4_096, 1.03],
    [10, 65_536, 1.01],
    [100, 4_096, 1.47],
    [100, 65_536, 1.08],
  ])("ringHash: %d endpoints, %d points: largest share %d of an even one", (size, points, expected) => {
    const { worst } = quality(ringHash({ minRingSize: points, maxRingSize: points }), size, 5);
    expect(Math.abs(worst / expected - 1)).toBeLessThan(0.1);
  });

  it.each([
    [10, 12, 0.0024],
    [100, 3, 0.0053],
  ])(
    "maglev: %d endpoints (%d fleets), 65537 slots: even shares, and %d of the other keys move",
    (size, fleets, expected) => {
      const { worst, moved } = quality(maglev(), size, fleets);
      // The table is even; what is left is how the keys fall: three standard deviations of the largest.
      expect(worst).toBeLessThan(1.001 + 3 / Math.sqrt(KEYS / size));
      expect(Math.abs(moved / expected - 1)).toBeLessThan(0.1);
    },
  );

  it.each([8, 20, 50])("ringHash: if one of %d leaves, no other key moves at all", (size) => {
    expect(quality(ringHash(), size, 1).moved).toBe(0);
  });
});

describe("bounded loads", () => {
  it.each<[string, (bound: number) => Policy]>([
    ["ringHash", (boundedLoad) => ringHash({ boundedLoad })],
    ["maglev", (boundedLoad) => maglev({ boundedLoad, tableSize: 1_009 })],
  ])("%s: nobody ever has more than the bound, however the keys fall", (_, make) => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 30 }),
        fc.double({ min: 1.05, max: 2, noNaN: true }),
        fc.array(fc.tuple(fc.nat(4), fc.boolean()), { maxLength: 300 }),
        (size, bound, steps) => {
          const set = numbered(size);
          const state = make(bound).create(manualClock({ random: seededRandom(1) }).env);
          const picker = state.picker(set);
          const open: LiveEndpoint<number>[] = [];
          for (const [key, ends] of steps) {
            const ended = ends ? open.shift() : undefined;
            if (ended !== undefined) {
              (ended.stats as { inFlight: number }).inFlight--;
              state.observe?.(ended, { kind: "success" }, 1);
            }
            const endpoint = picker({ key: `key-${key}` });
            (endpoint.stats as { inFlight: number }).inFlight++;
            state.started?.(endpoint, 0);
            open.push(endpoint);
            expect(endpoint.stats.inFlight).toBeLessThanOrEqual(Math.max(1, Math.ceil((bound * open.length) / size)));
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it("counts the calls of others, as the endpoints do: with those, too, keys stay", () => {
    const set = numbered(10);
    const [free, bounded] = [pickerOf(maglev(), set), pickerOf(maglev({ boundedLoad: 1.25 }), set)];
    // Another balancer of the same endpoints has five calls at each of them.
    for (const { stats } of set) (stats as { inFlight: number }).inFlight = 5;
    for (let n = 0; n < 200; n++) expect(bounded(`key-${n}`)).toBe(free(`key-${n}`));
  });

  it("forgets the calls of those who have left", () => {
    const state = maglev({ boundedLoad: 1.25, tableSize: 1_009 }).create(manualClock({ random: seededRandom(1) }).env);
    const set = numbered(10);
    const leaving = set.slice(1) as unknown as NonEmpty<LiveEndpoint<number>>;
    state.picker(set);
    for (let n = 0; n < 100; n++) state.started?.(set[0], 0);
    const picker = state.picker(leaving);
    for (let n = 0; n < 30; n++) {
      const endpoint = picker({ key: "one" });
      (endpoint.stats as { inFlight: number }).inFlight++;
      state.started?.(endpoint, 0);
      expect(endpoint.stats.inFlight).toBeLessThanOrEqual(Math.max(1, Math.ceil((1.25 * (n + 1)) / 9)));
    }
  });

  it("changes nothing while nobody is over it, and asks for no hooks without it", () => {
    const set = numbered(10);
    const [free, bounded] = [pickerOf(maglev(), set), pickerOf(maglev({ boundedLoad: 1.25 }), set)];
    for (let n = 0; n < 200; n++) expect(bounded(`key-${n}`)).toBe(free(`key-${n}`));
    expect(maglev().create(manualClock().env).started).toBeUndefined();
  });
});

describe("options", () => {
  it.each<[() => Policy]>([
    [() => maglev({ tableSize: 65_536 })],
    [() => maglev({ tableSize: 5_000_017 })],
    [() => maglev({ boundedLoad: 1 })],
    [() => ringHash({ minRingSize: 0 })],
    [() => ringHash({ maxRingSize: 2 ** 24 })],
    [() => ringHash({ size: 4 } as object)],
    [() => ringHash({ points: 0 })],
  ])("that cannot work are refused: %s", (make) => {
    expect(make).toThrow(InvalidOptionError);
  });
});
