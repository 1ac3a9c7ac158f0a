import assert from "node:assert/strict";
import type { Endpoint, PickRequest, Policy } from "@rollcall/core";
import { seededRandom } from "../seeded-random.ts";
import { fleet, ids } from "./fleet.ts";

/** A policy under test. */
export interface PolicyHarness {
  readonly name: string;
  policy(): Policy;
  /** False for a policy that leaves some instances out on purpose, as a subset does. Default true. */
  readonly usesAll?: boolean | undefined;
}

/** One rule that every policy keeps. `run` throws if it is broken. */
export interface PolicyRule {
  readonly title: string;
  run(harness: PolicyHarness): void;
}

/** The longest that a policy may leave an instance alone which has recovered. */
export const RETURN_WITHIN_MS = 5_000;

const keyed = (n: number): PickRequest => ({ key: `user-${n % 997}` });
/** Half of the calls with a key, half without: policies that hash need the one, the others do not care. */
const mixed = (n: number): PickRequest => (n % 2 === 0 ? {} : keyed(n));
const good = { afterMs: 10, isGood: true };
const bad = { afterMs: 1, isGood: false };

export const policyRules: readonly PolicyRule[] = [
  {
    title: "picks from the present set only, whatever its size, and never what drains",
    run({ policy }) {
      const { picks, set } = fleet(policy(), 1);
      for (const [round, size] of [1, 2, 3, 7, 40, 3, 1].entries()) {
        const present = ids(size).map((_, place) => `i${place + 3 * round}`);
        set([...present.map((id) => ({ id })), { id: "i99", weight: 0 }]);
        const strangers = picks(200, mixed).filter((id) => !present.includes(id));
        assert.deepEqual(strangers, [], `with ${size} instances`);
      }
    },
  },
  {
    title: "repeats itself with the same seed: chance comes from the environment alone",
    run({ policy }) {
      const play = (): string => {
        const { call, clock } = fleet(policy(), 12, 7);
        const chance = seededRandom(5);
        let picked = "";
        for (let n = 0; n < 400; n++) {
          picked += call(() => ({ afterMs: 1 + chance() * 20, isGood: chance() < 0.9 }), mixed(n));
          clock.advanceSync(2);
        }
        return picked;
      };
      assert.equal(play(), play());
    },
  },
  {
    title: "keeps every endpoint that is to be avoided out of it while there is another one",
    run({ policy }) {
      for (const size of [2, 5, 40]) {
        const { balancer, endpoints } = fleet(policy(), size);
        for (const count of [1, size - 1]) {
          for (let n = 0; n < 60; n++) {
            const avoid = new Set<Endpoint>(endpoints.filter((_, place) => (place + n) % size < count));
            using pick = balancer.pick({ ...mixed(n), avoid });
            assert.ok(!avoid.has(pick.endpoint), `${count} of ${size} avoided`);
          }
        }
        using pick = balancer.pick({ avoid: new Set(endpoints) });
        assert.ok(endpoints.includes(pick.endpoint), "all avoided: it is ignored");
      }
    },
  },
  {
    title: "gives every instance its turn while all are well",
    run({ policy, usesAll = true }) {
      const { call, clock } = fleet(policy(), 8);
      const met = new Set<string>();
      for (let n = 0; n < 2_000; n++) {
        met.add(call(() => good, mixed(n)));
        clock.advanceSync(1);
      }
      if (usesAll) assert.equal(met.size, 8);
    },
  },
  {
    title: "picks the only instance there is, however often it fails",
    run({ policy }) {
      const { call, clock } = fleet(policy(), 1);
      for (let n = 0; n < 200; n++) {
        assert.equal(
          call(() => bad, mixed(n)),
          "i0",
        );
        clock.advanceSync(5);
      }
    },
  },
  {
    title: "serves every instance again soon after an outage, whatever failed and for how long",
    run({ policy, usesAll = true }) {
      for (let seed = 1; seed <= 5; seed++) {
        const size = [2, 3, 5, 10, 40][seed % 5] ?? 3;
        const { call, clock } = fleet(policy(), size, seed);
        const chance = seededRandom(seed);
        let n = 0;
        const play = (ms: number, answer: (id: string) => typeof good, met = new Set<string>()): Set<string> => {
          for (const end = clock.now() + ms; clock.now() < end; clock.advanceSync(2)) met.add(call(answer, mixed(n++)));
          return met;
        };
        const usual = play(1_000, () => good);
        for (let wave = 0; wave < 3; wave++) {
          // All of them in the first wave.
          const ill = new Set(ids(size).filter(() => wave === 0 || chance() < 0.5));
          const answer = chance() < 0.5 ? bad : { afterMs: 200, isGood: false };
          play(500 + chance() * 4_000, (id) => (ill.has(id) ? answer : good));
        }
        const met = play(RETURN_WITHIN_MS, () => good);
        const missing = (usesAll ? ids(size) : [...usual]).filter((id) => !met.has(id));
        assert.deepEqual(missing, [], `of ${size}, with seed ${seed}`);
      }
    },
  },
  {
    title: "goes on through any churn, and keeps count of what is in flight",
    run({ policy }) {
      const made = fleet(policy(), 10);
      const seen = new Set<Endpoint>();
      for (let n = 0; n < 2_000; n++) {
        if (n % 50 === 0) made.set(ids(10).map((_, place) => ({ id: `i${place + n / 50}` })));
        for (const endpoint of made.endpoints) seen.add(endpoint);
        made.call(() => ({ afterMs: 30, isGood: n % 20 > 0 }), mixed(n));
        made.clock.advanceSync(2);
      }
      made.clock.advanceSync(1_000);
      for (const endpoint of seen) assert.equal(endpoint.stats.inFlight, 0);
      assert.equal(made.clock.pending, 0, "no timer is left when nothing is in flight");
    },
  },
  {
    title: "holds nothing against anybody when the process itself stands still",
    run({ policy, usesAll = true }) {
      const { call, clock, block, balancer } = fleet(policy(), 5);
      for (let n = 0; n < 500; n++) {
        call(() => good, mixed(n));
        clock.advanceSync(2);
      }
      for (let n = 0; n < 50; n++) call(() => ({ afterMs: 30, isGood: false }), mixed(n));
      block(2_000);
      clock.advanceSync(30);
      const ejected = balancer.explain().candidates.filter(({ excluded }) => excluded === "ejected");
      assert.deepEqual(ejected, []);
      const met = new Set<string>();
      for (let n = 0; n < 150; n++) {
        met.add(call(() => good, mixed(n)));
        clock.advanceSync(2);
      }
      if (usesAll) assert.equal(met.size, 5);
    },
  },
  {
    title: "explains itself without changing anything, and keeps its word",
    run({ policy }) {
      const play = (explains: boolean): string => {
        const { call, clock, balancer, set } = fleet(policy(), 6, 3);
        let picked = "";
        for (let n = 0; n < 300; n++) {
          if (n % 40 === 0) set(ids(6 - ((n / 40) % 3)).map((id, place) => ({ id, weight: 1 + (place % 2) })));
          const request = mixed(n);
          const next = explains ? balancer.explain(request).next : undefined;
          const id = call(() => ({ afterMs: 5 + (n % 7), isGood: n % 9 > 2 }), request);
          if (next !== undefined) assert.equal(id, next.client, `pick ${n}`);
          picked += id;
          clock.advanceSync(n % 60 === 59 ? 700 : 3);
        }
        return picked;
      };
      assert.equal(play(true), play(false));
    },
  },
];
