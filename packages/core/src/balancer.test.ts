import { manualClock, seededRandom } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { drivenInstancer } from "../test/driven-instancer.ts";
import { lorem, lorems } from "../test/lorem.ts";
import { type Balancer, createBalancer } from "./balancer.ts";
import { channels } from "./channels.ts";
import { type Endpoint, LiveEndpoint } from "./endpoint.ts";
import { type Endpointer, createEndpointer } from "./endpointer.ts";
import { ClosedError, InvalidOptionError, NoEndpointsError } from "./errors.ts";
import { fixedEndpointer } from "./fixed-endpointer.ts";
import type { Instance } from "./instance.ts";
import type { Outcome, PickRequest } from "./pick.ts";
import { random } from "./policies/random.ts";
import { roundRobin } from "./policies/round-robin.ts";
import type { NonEmpty, Policy, PolicyState } from "./policy.ts";

const SUCCESS: Outcome = { kind: "success" };

/** An endpointer over a driven instancer whose clients are the instances' ids. */
function start(instances?: readonly Instance[], policy: Policy = roundRobin()) {
  const clock = manualClock({ random: () => 0 });
  const instancer = drivenInstancer(clock.env);
  if (instances !== undefined) instancer.update(instances);
  const endpointer = createEndpointer(instancer, ({ id }) => id, { env: clock.env });
  return { clock, instancer, endpointer, balancer: createBalancer(endpointer, policy, { env: clock.env }) };
}

/** Picks so many times, each pick ended at once; the clients that were picked. */
function picks<C>(balancer: Balancer<C>, count: number, request?: PickRequest): C[] {
  return Array.from({ length: count }, () => {
    using pick = balancer.pick(request);
    return pick.endpoint.client;
  });
}

/** A policy that always insists on the first of its set. */
const first: Policy = {
  name: "first",
  create: () => ({
    picker:
      ([endpoint]) =>
      () =>
        endpoint,
  }),
};

/** A policy with the given parts, for balancers that need only those. */
function policyOf(state: Partial<PolicyState>): Policy {
  return {
    name: "custom",
    create: (env) => ({ ...roundRobin().create(env), ...state }),
  };
}

describe("pick", () => {
  it("takes a slot in the same turn, and done gives it back", () => {
    const { balancer } = start(lorems(1));
    const pick = balancer.pick();
    expect(pick.endpoint.stats.inFlight).toBe(1);
    pick.done(SUCCESS);
    expect(pick.endpoint.stats).toEqual({ inFlight: 0, successes: 1, failures: 0, consecutiveFailures: 0 });
  });

  it("counts only the first done", () => {
    const { balancer } = start(lorems(1));
    const [pick, other] = [balancer.pick(), balancer.pick()];
    pick.done(SUCCESS);
    pick.done({ kind: "failure", error: new Error("late") });
    pick.done(SUCCESS);
    pick[Symbol.dispose]();
    expect(pick.endpoint.stats).toEqual({ inFlight: 1, successes: 1, failures: 0, consecutiveFailures: 0 });
    other.done({ kind: "cancelled" });
    expect(pick.endpoint.stats.inFlight).toBe(0);
  });

  it("may be taken apart: done knows its pick", () => {
    const { balancer } = start(lorems(1));
    const { endpoint, done } = balancer.pick();
    done(SUCCESS);
    done(SUCCESS);
    expect(endpoint.stats).toMatchObject({ inFlight: 0, successes: 1 });
  });

  it("is cancelled when it is disposed without done", () => {
    const { balancer, endpointer } = start(lorems(1));
    {
      using pick = balancer.pick();
      expect(pick.endpoint.stats.inFlight).toBe(1);
    }
    expect(endpointer.endpoints[0]?.stats).toEqual({ inFlight: 0, successes: 0, failures: 0, consecutiveFailures: 0 });
  });

  it("keeps the slot of a using block that ended it itself", () => {
    const { balancer, endpointer } = start(lorems(1));
    {
      using pick = balancer.pick();
      pick.done({ kind: "failure", error: new Error("no") });
    }
    expect(endpointer.endpoints[0]?.stats).toEqual({ inFlight: 0, successes: 0, failures: 1, consecutiveFailures: 1 });
  });

  it("cycles by default among equals, from floor(random · n)", () => {
    const { endpointer, clock } = start(lorems(3));
    const balancer = createBalancer(endpointer, undefined, { env: { ...clock.env, random: () => 0.5 } });
    expect(picks(balancer, 7)).toEqual(["2", "3", "1", "2", "3", "1", "2"]);
  });

  it("follows every update of the set, and keeps its cycle", () => {
    const { balancer, instancer } = start(lorems(2));
    expect(picks(balancer, 3)).toEqual(["1", "2", "1"]);
    instancer.update(lorems(3));
    expect(picks(balancer, 3)).toEqual(["2", "3", "1"]);
    instancer.update([lorem(3)]);
    expect(picks(balancer, 2)).toEqual(["3", "3"]);
  });

  it("goes on with its cycle when only weights or metadata changed", () => {
    const { balancer, instancer } = start(lorems(3));
    expect(picks(balancer, 2)).toEqual(["1", "2"]);
    instancer.update([lorem(1), lorem(2, { metadata: { version: "2" } }), lorem(3, { weight: 5 })]);
    expect(picks(balancer, 3)).toEqual(["3", "1", "2"]);
  });

  it("never picks what has weight 0", () => {
    const { balancer, instancer } = start([lorem(1), lorem(2, { weight: 0 }), lorem(3)]);
    expect(picks(balancer, 4)).toEqual(["1", "3", "1", "3"]);
    instancer.update([lorem(1, { weight: 0 }), lorem(2), lorem(3, { weight: 0 })]);
    expect(picks(balancer, 2)).toEqual(["2", "2"]);
    instancer.update([lorem(1, { weight: 0 })]);
    expect(() => balancer.pick()).toThrow(NoEndpointsError);
    instancer.update([lorem(1, { weight: 0.001 })]);
    expect(picks(balancer, 1)).toEqual(["1"]);
  });

  it("hands the request to the policy as it is", () => {
    const seen: PickRequest[] = [];
    const policy = policyOf({
      picker: ([endpoint]) => {
        return (request) => {
          seen.push(request);
          return endpoint;
        };
      },
    });
    const { balancer } = start(lorems(2), policy);
    const request = { key: "user-7" };
    picks(balancer, 1, request);
    picks(balancer, 1);
    expect(seen[0]).toBe(request);
    expect(seen[1]?.key).toBeUndefined();
  });

  it("makes one picker per set, not per pick", () => {
    let made = 0;
    const policy = policyOf({
      picker: ([endpoint]) => {
        made++;
        return () => endpoint;
      },
    });
    const { balancer, instancer } = start(lorems(2), policy);
    picks(balancer, 10);
    expect(made).toBe(1);
    instancer.update(lorems(3));
    instancer.update(lorems(3));
    picks(balancer, 10);
    expect(made).toBe(2);
  });

  it("gives the policy the endpointer's own array, so that nothing is copied", () => {
    let given: readonly Endpoint[] = [];
    const policy = policyOf({
      picker: (endpoints) => {
        given = endpoints;
        return () => endpoints[0];
      },
    });
    const { balancer, endpointer } = start(lorems(2), policy);
    picks(balancer, 1);
    expect(given).toBe(endpointer.endpoints);
  });
});

describe("a pick from nothing", () => {
  it("throws at once and names the service and the state", () => {
    const { balancer, instancer } = start();
    expect(pickError(balancer)).toMatchObject({
      name: "NoEndpointsError",
      code: "NO_ENDPOINTS",
      service: "lorem",
      state: "pending",
      message: 'no endpoints for service "lorem" (pending)',
      cause: undefined,
    });
    instancer.update([]);
    expect(pickError(balancer)).toMatchObject({ state: "live", cause: undefined });
  });

  it("has the registry's error as its cause, while pending and when stale", () => {
    const { balancer, instancer } = start();
    const refused = new Error("ECONNREFUSED 127.0.0.1:8500");
    instancer.fail(refused);
    expect(pickError(balancer)).toMatchObject({ state: "pending", cause: refused });
    expect(pickError(balancer).message).toContain("ECONNREFUSED");
    instancer.update([]);
    instancer.fail(refused);
    expect(pickError(balancer)).toMatchObject({ state: "stale", cause: refused });
  });

  it("takes no slot and asks the policy nothing", () => {
    let asked = 0;
    const policy = policyOf({
      picker: ([endpoint]) => {
        asked++;
        return () => endpoint;
      },
    });
    const { balancer, instancer } = start([], policy);
    for (let n = 0; n < 5; n++) expect(() => balancer.pick()).toThrow(NoEndpointsError);
    expect(asked).toBe(0);
    instancer.update(lorems(1));
    expect(picks(balancer, 1)).toEqual(["1"]);
  });

  it("does not move the cycle", () => {
    const { balancer, instancer } = start(lorems(2));
    expect(picks(balancer, 1)).toEqual(["1"]);
    instancer.update([]);
    for (let n = 0; n < 5; n++) expect(() => balancer.pick()).toThrow(NoEndpointsError);
    instancer.update(lorems(2));
    expect(picks(balancer, 4).toSorted()).toEqual(["1", "1", "2", "2"]);
  });

  it("is what a closed endpointer has to offer", async () => {
    const { balancer, endpointer } = start(lorems(2));
    await endpointer.close();
    expect(() => balancer.pick()).toThrow(NoEndpointsError);
  });
});

describe("avoid", () => {
  const policies: [string, Policy][] = [
    ["round robin", roundRobin()],
    ["random", random()],
    ["a policy that insists on the first", first],
  ];

  it.each(policies)("is honoured while there is another one: %s", (_, policy) => {
    const { endpointer } = start(lorems(4));
    const balancer = createBalancer(endpointer, policy, { env: { random: seededRandom(3) } });
    const [a, b, c, d] = endpointer.endpoints as NonEmpty<Endpoint<string>>;
    for (const avoid of [[a], [a, b], [a, b, c], [d], [b, d], [a, c, d]]) {
      const set = new Set(avoid as Endpoint[]);
      for (let n = 0; n < 50; n++) {
        using pick = balancer.pick({ avoid: set });
        expect(set.has(pick.endpoint)).toBe(false);
      }
      expect(set.size).toBe(avoid.length);
    }
  });

  it.each(policies)("is ignored when there is no other one: %s", (_, policy) => {
    const { endpointer, balancer } = start(lorems(2), policy);
    const avoid = new Set<Endpoint>(endpointer.endpoints);
    expect(picks(balancer, 1, { avoid })).toHaveLength(1);
    const single = start(lorems(1), policy);
    expect(picks(single.balancer, 1, { avoid: new Set(single.endpointer.endpoints) })).toEqual(["1"]);
  });

  it.each(policies)("may name endpoints that are no longer there, however many: %s", (_, policy) => {
    const { endpointer, balancer } = start(lorems(2), policy);
    const gone = Array.from({ length: 20 }, () => new LiveEndpoint(lorem(9), "gone"));
    const avoid = new Set<Endpoint>([...gone, ...endpointer.endpoints.slice(0, 1)]);
    expect(picks(balancer, 3, { avoid })).toEqual(["2", "2", "2"]);
  });

  it("does not make an endpoint of weight 0 the other one", () => {
    const { endpointer, balancer } = start([lorem(1), lorem(2, { weight: 0 })]);
    expect(picks(balancer, 2, { avoid: new Set(endpointer.endpoints.slice(0, 1)) })).toEqual(["1", "1"]);
  });

  it("takes exactly one slot, on the endpoint that it returns", () => {
    const { endpointer, balancer } = start(lorems(3), first);
    const pick = balancer.pick({ avoid: new Set(endpointer.endpoints.slice(0, 2)) });
    expect(endpointer.endpoints.map(({ stats }) => stats.inFlight)).toEqual([0, 0, 1]);
    pick.done(SUCCESS);
  });

  it("costs the avoided its turn, and moves nobody else's", () => {
    const { endpointer, balancer } = start(lorems(3));
    const avoid = new Set(endpointer.endpoints.slice(1, 2));
    expect(picks(balancer, 4, { avoid })).toEqual(["1", "3", "1", "3"]);
    expect(picks(balancer, 3)).toEqual(["1", "2", "3"]);
  });

  it("leaves the others their equal chance under random", () => {
    const { endpointer } = start(lorems(3));
    const balancer = createBalancer(endpointer, random(), { env: { random: seededRandom(11) } });
    const avoid = new Set(endpointer.endpoints.slice(0, 1));
    const counts = new Map<string, number>();
    for (const client of picks(balancer, 10_000, { avoid })) counts.set(client, (counts.get(client) ?? 0) + 1);
    expect([...counts.keys()].toSorted()).toEqual(["2", "3"]);
    // Four standard deviations of 10 000 fair coins.
    expect(Math.abs((counts.get("2") ?? 0) - 5_000)).toBeLessThan(200);
  });

  it("changes nothing when it is empty", () => {
    const { balancer } = start(lorems(2));
    expect(picks(balancer, 3, { avoid: new Set() })).toEqual(["1", "2", "1"]);
  });
});

describe("a policy's observe", () => {
  it("learns each pick's endpoint, outcome and latency, once", () => {
    const seen: unknown[] = [];
    const policy = policyOf({
      observe: (endpoint, outcome, latencyMs) => void seen.push([endpoint.client, outcome.kind, latencyMs]),
    });
    const { balancer, clock } = start(lorems(2), policy);
    const [one, two] = [balancer.pick(), balancer.pick()];
    clock.advanceSync(30);
    two.done({ kind: "failure", error: new Error("no") });
    clock.advanceSync(12);
    one.done(SUCCESS);
    one.done(SUCCESS);
    balancer.pick()[Symbol.dispose]();
    expect(seen).toEqual([
      ["2", "failure", 30],
      ["1", "success", 42],
      ["1", "cancelled", 0],
    ]);
  });

  it("disturbs nobody when it throws: the slot is free, the error goes to a channel", () => {
    const boom = new Error("observe");
    const messages: unknown[] = [];
    const unsubscribe = channels.policyError.subscribe((message) => messages.push(message));
    const policy = policyOf({
      observe: () => {
        throw boom;
      },
    });
    const { balancer } = start(lorems(1), policy);
    const pick = balancer.pick();
    pick.done(SUCCESS);
    unsubscribe();
    expect(pick.endpoint.stats).toEqual({ inFlight: 0, successes: 1, failures: 0, consecutiveFailures: 0 });
    expect(messages).toEqual([{ policy: "custom", error: boom }]);
  });

  it("is what the clock is read for: policies without it cost no clock read", () => {
    let reads = 0;
    const env = { now: () => reads++ };
    const { endpointer } = start(lorems(2));
    picks(createBalancer(endpointer, roundRobin(), { env }), 10);
    expect(reads).toBe(0);
    picks(createBalancer(endpointer, policyOf({ observe: () => undefined }), { env }), 1);
    expect(reads).toBe(2);
  });
});

describe("a policy's started", () => {
  it("is told each pick that became a call, with its time, when the slot is taken, and nothing else", () => {
    const seen: unknown[] = [];
    const policy = policyOf({
      started: (endpoint, nowMs) => void seen.push([endpoint.client, nowMs, endpoint.stats.inFlight]),
    });
    const { balancer, clock, endpointer } = start(lorems(3), policy);
    balancer.pick();
    clock.advanceSync(7);
    // The second one is offered on the way, and is no call.
    balancer.pick({ avoid: new Set(endpointer.endpoints.slice(1, 2)) });
    balancer.explain();
    expect(seen).toEqual([
      ["1", 0, 1],
      ["3", 7, 1],
    ]);
  });

  it("disturbs nobody when it throws", () => {
    const boom = new Error("started");
    const messages: unknown[] = [];
    const unsubscribe = channels.policyError.subscribe((message) => messages.push(message));
    const policy = policyOf({
      started: () => {
        throw boom;
      },
    });
    const { balancer, endpointer } = start(lorems(1), policy);
    balancer.pick().done(SUCCESS);
    unsubscribe();
    expect(messages).toEqual([{ policy: "custom", error: boom }]);
    expect(endpointer.endpoints[0]?.stats).toMatchObject({ inFlight: 0, successes: 1 });
  });

  it("shares its look at the clock with the picker and with observe", () => {
    let reads = 0;
    const times: unknown[] = [];
    const policy = policyOf({
      picker:
        ([endpoint]) =>
        (_, nowMs) => {
          times.push(nowMs);
          return endpoint;
        },
      started: (_, nowMs) => void times.push(nowMs),
      observe: (_endpoint, _outcome, latencyMs, nowMs) => void times.push(latencyMs, nowMs),
    });
    const { endpointer } = start(lorems(1));
    picks(createBalancer(endpointer, policy, { env: { now: () => ++reads } }), 1);
    expect([times, reads]).toEqual([[1, 1, 1, 2], 2]);
  });
});

describe("a process that stood still", () => {
  it("holds it against nobody: what was in flight is told as cancelled, what begins then counts", () => {
    const clock = manualClock();
    let blockedMs = 0;
    const env = { ...clock.env, now: () => clock.now() + blockedMs };
    const seen: unknown[] = [];
    const policy = policyOf({ observe: (_, { kind }, latencyMs) => void seen.push([kind, latencyMs]) });
    const balancer = createBalancer(start(lorems(2)).endpointer, policy, { env });
    const timedOut: Outcome = { kind: "failure", error: new Error("timed out") };

    const calls = [balancer.pick(), balancer.pick(), balancer.pick()];
    clock.advanceSync(10);
    blockedMs = 2_000;
    for (const call of calls.slice(1)) call.done(timedOut);
    const later = balancer.pick();
    clock.advanceSync(30);
    calls[0]?.done(SUCCESS);
    later.done(timedOut);
    expect(seen).toEqual([
      ["cancelled", 2_010],
      ["cancelled", 2_010],
      ["cancelled", 2_040],
      ["failure", 30],
    ]);
  });
});

describe("explain", () => {
  it("lists every endpoint with its load, and why it would not be picked", () => {
    const { balancer, endpointer } = start([lorem(1), lorem(2, { weight: 3 }), lorem(3, { weight: 0 })], first);
    const held = balancer.pick();
    const [one, two, three] = endpointer.endpoints as NonEmpty<Endpoint<string>>;
    expect(balancer.explain({ avoid: new Set([held.endpoint]) })).toEqual({
      service: "lorem",
      state: "live",
      policy: "first",
      candidates: [
        { endpoint: one, weight: 1, inFlight: 1, excluded: "avoided" },
        { endpoint: two, weight: 3, inFlight: 0, excluded: undefined },
        { endpoint: three, weight: 0, inFlight: 0, excluded: "drained" },
      ],
      next: undefined,
      why: "first does not say",
    });
    held.done(SUCCESS);
  });

  it("adds what the policy says: its next choice, why, and its judgement of each", () => {
    const policy = policyOf({
      explain: (endpoints) => ({
        next: endpoints[1],
        why: "the lowest cost",
        judgements: new Map([[endpoints[0], { cost: 7, ejectedForMs: 20 }]]),
      }),
    });
    const { balancer, endpointer } = start(lorems(2), policy);
    const explanation = balancer.explain();
    expect(explanation).toMatchObject({ next: endpointer.endpoints[1], why: "the lowest cost" });
    expect(explanation.candidates[0]).toMatchObject({ cost: 7, ejectedForMs: 20, excluded: "ejected" });
  });

  it("does not throw when there is nothing", () => {
    const { balancer } = start();
    expect(balancer.explain()).toMatchObject({ state: "pending", candidates: [], why: "nothing to pick" });
  });

  it("calls no picker and takes no slot", () => {
    const policy = policyOf({
      picker: () => {
        throw new Error("a picker was made");
      },
    });
    const { balancer, endpointer } = start(lorems(1), policy);
    balancer.explain();
    expect(endpointer.endpoints[0]?.stats.inFlight).toBe(0);
  });
});

describe("a policy that fails", () => {
  it("fails the pick, which takes no slot, and goes on failing until it works again", () => {
    let broken = true;
    const policy = policyOf({
      picker: (endpoints) => {
        if (broken) throw new Error("cannot build");
        return () => endpoints[0];
      },
    });
    const { balancer, endpointer, instancer } = start(lorems(1), policy);
    expect(() => balancer.pick()).toThrow("cannot build");
    expect(() => balancer.pick()).toThrow("cannot build");
    broken = false;
    expect(picks(balancer, 1)).toEqual(["1"]);
    broken = true;
    instancer.update([lorem(2)]);
    // The picker of the set that is gone must not serve the new one.
    expect(() => balancer.pick()).toThrow("cannot build");
    expect(() => balancer.pick()).toThrow("cannot build");
    expect(endpointer.endpoints.map(({ stats }) => stats.inFlight)).toEqual([0]);
  });
});

describe("several balancers on one endpointer", () => {
  it("have their own cycles, and see each other's load", () => {
    const { endpointer, clock } = start(lorems(2));
    const [one, two] = [
      createBalancer(endpointer, roundRobin(), { env: clock.env }),
      createBalancer(endpointer, roundRobin(), { env: clock.env }),
    ];
    const held = one.pick();
    expect(picks(two, 2)).toEqual(["1", "2"]);
    expect(picks(one, 1)).toEqual(["2"]);
    const also = two.pick();
    expect(also.endpoint).toBe(held.endpoint);
    expect(held.endpoint.stats.inFlight).toBe(2);
    held.done(SUCCESS);
    also.done(SUCCESS);
    expect(held.endpoint.stats).toMatchObject({ inFlight: 0, successes: 2 });
  });

  it("may share one policy, which is a constant", () => {
    const { endpointer, clock } = start(lorems(2));
    const policy = roundRobin();
    const [one, two] = [
      createBalancer(endpointer, policy, { env: clock.env }),
      createBalancer(endpointer, policy, { env: clock.env }),
    ];
    expect([...picks(one, 1), ...picks(two, 1), ...picks(one, 1)]).toEqual(["1", "1", "2"]);
  });
});

describe("an endpointer written by hand", () => {
  const endpoint = (n: number): Endpoint<string> => ({
    instance: lorem(n),
    client: String(n),
    stats: { inFlight: 0, successes: 0, failures: 0, consecutiveFailures: 0 },
  });

  /** A plain object against the interface. */
  function byHand(endpoints: () => readonly Endpoint<string>[]): Endpointer<string> {
    return {
      service: "lorem",
      snapshot: { state: "live", revision: 1, instances: [] },
      get endpoints() {
        return endpoints();
      },
      ready: async () => undefined,
      close: async () => undefined,
      [Symbol.asyncDispose]: async () => undefined,
    };
  }

  it("is as good as any other", () => {
    let set = [endpoint(1), endpoint(2)];
    const balancer = createBalancer(
      byHand(() => set),
      roundRobin(),
      { env: { random: () => 0 } },
    );
    expect(picks(balancer, 3)).toEqual(["1", "2", "1"]);
    const pick = balancer.pick();
    expect(pick.endpoint.stats.inFlight).toBe(1);
    pick.done(SUCCESS);
    expect(pick.endpoint.stats).toMatchObject({ inFlight: 0, successes: 1 });
    set = [];
    expect(() => balancer.pick()).toThrow(NoEndpointsError);
  });

  it("still cycles when it makes a new array for each look", () => {
    const inner = start(lorems(4)).endpointer;
    const odd = byHand(() => inner.endpoints.filter(({ instance }) => Number(instance.id) % 2 === 1));
    expect(picks(createBalancer(odd, roundRobin(), { env: { random: () => 0 } }), 4)).toEqual(["1", "3", "1", "3"]);
  });
});

describe("createBalancer", () => {
  it("is ready when its endpointer is", async () => {
    const { balancer, instancer, endpointer } = start();
    let ready = false;
    const waiting = balancer.ready().then(() => (ready = true));
    await Promise.resolve();
    expect(ready).toBe(false);
    instancer.update(lorems(1));
    await waiting;
    expect(ready).toBe(true);
    const reason = new Error("left");
    await expect(balancer.ready({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await endpointer.close();
    await expect(balancer.ready()).rejects.toThrow(ClosedError);
  });

  it("makes the policy's state once, with its own environment", () => {
    const made: number[] = [];
    const policy: Policy = {
      name: "custom",
      create: (env) => {
        made.push(env.random());
        return roundRobin().create(env);
      },
    };
    createBalancer(fixedEndpointer("lorem", ["a"]), policy, { env: { random: () => 0.25 } });
    expect(made).toEqual([0.25]);
  });

  it("refuses what cannot work", () => {
    const endpointer = fixedEndpointer("lorem", ["a"]);
    const bad: [unknown, unknown, unknown][] = [
      [undefined, roundRobin(), {}],
      [{}, roundRobin(), {}],
      [endpointer, null, {}],
      [endpointer, "round-robin", {}],
      [endpointer, roundRobin, {}],
      [endpointer, roundRobin(), { seed: 1 }],
      [endpointer, roundRobin(), { env: { now: 0 } }],
      [endpointer, roundRobin(), null],
    ];
    for (const [given, policy, options] of bad) {
      expect(() => createBalancer(given as Endpointer<string>, policy as Policy, options as object)).toThrow(
        InvalidOptionError,
      );
    }
  });
});

function pickError(balancer: Balancer<unknown>): NoEndpointsError {
  try {
    balancer.pick();
  } catch (error) {
    if (error instanceof NoEndpointsError) return error;
  }
  throw new Error("it threw no NoEndpointsError");
}
