import { getEventListeners } from "node:events";
import { manualClock, scriptedSource } from "@rollcall/testing";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { drivenInstancer } from "../test/driven-instancer.ts";
import { lorem, lorems } from "../test/lorem.ts";
import { rejection, settlement } from "../test/settlement.ts";
import { createBalancer } from "./balancer.ts";
import { type Channel, channels } from "./channels.ts";
import type { Endpoint } from "./endpoint.ts";
import { type Endpointer, type EndpointerOptions, type Factory, createEndpointer } from "./endpointer.ts";
import { ClosedError, InvalidOptionError, NoEndpointsError } from "./errors.ts";
import { type Instance, createInstance } from "./instance.ts";
import { type Instancer, createInstancer } from "./instancer.ts";
import type { Outcome } from "./pick.ts";
import type { Snapshot } from "./snapshot.ts";

const SUCCESS: Outcome = { kind: "success" };
const down = new Error("ECONNREFUSED");

/** A connection that knows whether it was closed. */
interface Connection {
  readonly id: string;
  /** Which one it is of all that were made, from 1. */
  readonly serial: number;
  closed: number;
}

/** Makes connections and remembers them all. */
function connections() {
  const made: Connection[] = [];
  const connect = ({ id }: Instance): Connection => {
    const connection = { id, serial: made.length + 1, closed: 0 };
    made.push(connection);
    return connection;
  };
  return {
    made,
    connect,
    close: (connection: Connection): void => void connection.closed++,
    /** `id: times closed` of each that was made, in order. */
    get log(): string[] {
      return made.map(({ id, closed }) => `${id}: ${closed}`);
    },
  };
}

function start(instances?: readonly Instance[] | null, options: Partial<EndpointerOptions<Connection>> = {}) {
  const clock = manualClock();
  const instancer = drivenInstancer(clock.env);
  if (instances) instancer.update(instances);
  const pool = connections();
  const endpointer = createEndpointer(instancer, pool.connect, { env: clock.env, close: pool.close, ...options });
  const balancer = createBalancer(endpointer, undefined, { env: { random: () => 0 } });
  return { clock, instancer, pool, endpointer, balancer };
}

/** An endpointer whose clients come when the test says so. */
function startLate(options: Partial<EndpointerOptions<Connection>> = {}) {
  const clock = manualClock();
  const instancer = drivenInstancer(clock.env);
  const pool = connections();
  const asked: { readonly id: string; come(): Connection; fail(error: unknown): void }[] = [];
  const factory = (instance: Instance): Promise<Connection> => {
    const { promise, resolve, reject } = Promise.withResolvers<Connection>();
    asked.push({
      id: instance.id,
      come: () => {
        const connection = pool.connect(instance);
        resolve(connection);
        return connection;
      },
      fail: reject,
    });
    return promise;
  };
  const endpointer = createEndpointer(instancer, factory, { env: clock.env, close: pool.close, ...options });
  return { clock, instancer, pool, asked, endpointer };
}

/** An instancer written by hand: a plain object, with nothing of a Cache's manners. */
function byHand(snapshot: Snapshot) {
  const listeners: (() => void)[] = [];
  let current = snapshot;
  const instancer: Instancer = {
    service: "lorem",
    get snapshot() {
      return current;
    },
    subscribe(onChange) {
      listeners.push(onChange);
      return () => undefined;
    },
    close: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  };
  return {
    instancer,
    /** Tells all who ever listened, whether they have left or not. */
    say(next: Snapshot): void {
      current = next;
      for (const listener of listeners) listener();
    },
  };
}

const ids = (endpointer: Endpointer<unknown>): string[] => endpointer.endpoints.map(({ instance }) => instance.id);

/** What a channel says while `run` runs. */
async function messages<M>(channel: Channel<M>, run: () => void | Promise<void>): Promise<M[]> {
  const seen: M[] = [];
  const unsubscribe = channel.subscribe((message) => seen.push(message));
  await run();
  unsubscribe();
  return seen;
}

describe("the set", () => {
  it("follows the snapshot, in its order, from the start and with every change", () => {
    const { endpointer, instancer } = start([lorem(2), lorem(1)]);
    expect(ids(endpointer)).toEqual(["1", "2"]);
    instancer.update([lorem(3), lorem(1), lorem(2)]);
    expect(ids(endpointer)).toEqual(["1", "2", "3"]);
    instancer.update([lorem(2)]);
    expect(ids(endpointer)).toEqual(["2"]);
    instancer.update([]);
    expect(ids(endpointer)).toEqual([]);
  });

  it("is empty while nothing is known, also after an error", () => {
    const { endpointer, instancer, pool } = start();
    expect([ids(endpointer), endpointer.snapshot.state]).toEqual([[], "pending"]);
    instancer.fail(down);
    expect([ids(endpointer), endpointer.snapshot]).toEqual([[], instancer.snapshot]);
    expect(pool.made).toEqual([]);
  });

  it("names its service and shows the instancer's snapshot", () => {
    const { endpointer, instancer } = start(lorems(2));
    expect(endpointer.service).toBe("lorem");
    expect(endpointer.snapshot).toBe(instancer.snapshot);
    instancer.fail(down);
    expect(endpointer.snapshot).toBe(instancer.snapshot);
    expect(endpointer.snapshot.state).toBe("stale");
  });

  it("is frozen, and its endpoints show client, instance and fresh statistics", () => {
    const { endpointer, pool } = start(lorems(1));
    expect(Object.isFrozen(endpointer.endpoints)).toBe(true);
    expect(endpointer.endpoints[0]).toMatchObject({
      client: pool.made[0],
      instance: lorem(1),
      stats: { inFlight: 0, successes: 0, failures: 0, consecutiveFailures: 0 },
    });
  });

  it("is a new array if a member came or went or changed, and the same array otherwise", () => {
    const { endpointer, instancer } = start(lorems(2));
    const seen = [endpointer.endpoints];
    const look = (): boolean => {
      const fresh = endpointer.endpoints !== seen.at(-1);
      seen.push(endpointer.endpoints);
      return fresh;
    };
    expect(look()).toBe(false);
    instancer.update([lorem(2), lorem(1)]);
    expect(look()).toBe(false);
    instancer.update(lorems(3));
    expect(look()).toBe(true);
    instancer.update([lorem(1), lorem(2, { weight: 2 }), lorem(3)]);
    expect(look()).toBe(true);
    instancer.update([lorem(1), lorem(2, { weight: 2 }), lorem(3, { tags: ["a"] })]);
    expect(look()).toBe(true);
    instancer.fail(down);
    expect(look()).toBe(false);
    instancer.update([lorem(1), lorem(2, { weight: 2 }), lorem(3, { tags: ["a"] })]);
    expect(look()).toBe(false);
    instancer.update([]);
    expect(look()).toBe(true);
    // Nobody else's array was changed meanwhile.
    expect(seen.map((endpoints) => endpoints.length)).toEqual([2, 2, 2, 3, 3, 3, 3, 3, 0]);
  });

  it("keeps its array while members that have no client yet come and go", () => {
    const { endpointer, instancer } = startLate();
    const before = endpointer.endpoints;
    instancer.update(lorems(2));
    instancer.update(lorems(1));
    expect(endpointer.endpoints).toBe(before);
  });
});

describe("an instance that stays", () => {
  it("keeps its endpoint, client and statistics, and the factory is not called again", () => {
    const { endpointer, instancer, balancer, pool } = start(lorems(2));
    const [one, two] = endpointer.endpoints;
    balancer.pick().done({ kind: "failure", error: down });
    instancer.update(lorems(3));
    instancer.update(lorems(2));
    instancer.fail(down);
    instancer.update(lorems(2));
    expect(endpointer.endpoints).toEqual([one, two]);
    expect(endpointer.endpoints[0]).toBe(one);
    expect(one?.stats).toMatchObject({ failures: 1, consecutiveFailures: 1 });
    expect(pool.log).toEqual(["1: 0", "2: 0", "3: 1"]);
  });

  it.each([
    ["weight", { weight: 7 }],
    ["weight 0", { weight: 0 }],
    ["tags", { tags: ["blue"] }],
    ["zone", { zone: "eu-1" }],
    ["metadata", { metadata: { version: "2" } }],
  ])("keeps them when its %s changes; the endpoint shows the new instance", (_, change) => {
    const { endpointer, instancer, pool } = start(lorems(2));
    const [, two] = endpointer.endpoints;
    const before = endpointer.endpoints;
    instancer.update([lorem(1), lorem(2, change)]);
    expect(endpointer.endpoints).not.toBe(before);
    expect(endpointer.endpoints[1]).toBe(two);
    expect(two?.instance).toEqual(lorem(2, change));
    expect(pool.log).toEqual(["1: 0", "2: 0"]);
  });

  it("shows the newest instance when its client comes", async () => {
    const { endpointer, instancer, asked, clock } = startLate();
    instancer.update(lorems(1));
    instancer.update([lorem(1, { weight: 5 })]);
    asked[0]?.come();
    await clock.advance(0);
    expect(asked).toHaveLength(1);
    expect(endpointer.endpoints[0]?.instance.weight).toBe(5);
  });

  it("is a new endpoint at a new address; the old one drains", () => {
    const { endpointer, instancer, balancer, pool } = start(lorems(1));
    const before = endpointer.endpoints[0];
    const pick = balancer.pick();
    instancer.update([lorem(1, { port: 81 })]);
    expect(endpointer.endpoints[0]).not.toBe(before);
    expect(endpointer.endpoints[0]?.instance.port).toBe(81);
    expect(endpointer.endpoints[0]?.stats.inFlight).toBe(0);
    expect(pool.log).toEqual(["1: 0", "1: 0"]);
    pick.done(SUCCESS);
    expect(pool.log).toEqual(["1: 1", "1: 0"]);
    instancer.update([lorem(1, { port: 81, host: "10.9.9.9" })]);
    expect(pool.log).toEqual(["1: 1", "1: 1", "1: 0"]);
  });

  it("that left and came back is a new endpoint, though the old one still drains", () => {
    const { endpointer, instancer, balancer, pool } = start(lorems(1));
    const pick = balancer.pick();
    instancer.update([]);
    instancer.update(lorems(1));
    expect(endpointer.endpoints[0]).not.toBe(pick.endpoint);
    expect(pool.log).toEqual(["1: 0", "1: 0"]);
    pick.done(SUCCESS);
    expect(pool.log).toEqual(["1: 1", "1: 0"]);
  });
});

describe("a removed endpoint", () => {
  it("is closed at once when it has nothing in flight", () => {
    const { instancer, pool, clock } = start(lorems(2));
    instancer.update([lorem(2)]);
    expect(pool.log).toEqual(["1: 1", "2: 0"]);
    expect(clock.pending).toBe(0);
  });

  it("is closed after the new ones were made", () => {
    const order: string[] = [];
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    instancer.update([lorem(1)]);
    createEndpointer(instancer, ({ id }) => (order.push(`make ${id}`), id), {
      env: clock.env,
      close: (id) => void order.push(`close ${id}`),
    });
    instancer.update([lorem(2)]);
    expect(order).toEqual(["make 1", "make 2", "close 1"]);
  });

  it("drains: it is closed when its last call ends, exactly once", async () => {
    const { instancer, pool, clock, balancer } = start(lorems(1));
    const [one, two] = [balancer.pick(), balancer.pick()];
    instancer.update([]);
    await clock.advance(29_999);
    one.done(SUCCESS);
    expect(pool.log).toEqual(["1: 0"]);
    two.done(SUCCESS);
    expect(pool.log).toEqual(["1: 1"]);
    expect(clock.pending).toBe(0);
    await clock.advance(60_000);
    expect(pool.log).toEqual(["1: 1"]);
  });

  it.each([
    [undefined, 30_000],
    [250, 250],
  ])("is closed under its calls after drainMs (%s → %i ms), which do it no harm", async (drainMs, expected) => {
    const { instancer, pool, clock, balancer } = start(lorems(1), { drainMs });
    const pick = balancer.pick();
    instancer.update([]);
    expect([clock.pending, clock.keptAlive]).toEqual([1, 0]);
    await clock.advance(expected - 1);
    expect(pool.log).toEqual(["1: 0"]);
    await clock.advance(1);
    expect(pool.log).toEqual(["1: 1"]);
    pick.done(SUCCESS);
    expect(pick.endpoint.stats.inFlight).toBe(0);
    expect(pool.log).toEqual(["1: 1"]);
    expect(clock.pending).toBe(0);
  });

  it("is closed at once and without a timer when drainMs is 0, calls or not", () => {
    const { instancer, pool, clock, balancer } = start(lorems(2), { drainMs: 0 });
    const pick = balancer.pick();
    instancer.update([]);
    expect(pool.log).toEqual(["1: 1", "2: 1"]);
    expect(clock.pending).toBe(0);
    pick.done(SUCCESS);
    expect(pool.log).toEqual(["1: 1", "2: 1"]);
  });

  it("waits for ever, without a timer, when drainMs is Infinity", async () => {
    const { instancer, pool, clock, balancer } = start(lorems(1), { drainMs: Infinity });
    const pick = balancer.pick();
    instancer.update([]);
    expect(clock.pending).toBe(0);
    await clock.advance(1e9);
    expect(pool.log).toEqual(["1: 0"]);
    pick.done(SUCCESS);
    expect(pool.log).toEqual(["1: 1"]);
  });

  it("is not picked any more", () => {
    const { instancer, balancer } = start(lorems(2));
    const pick = balancer.pick();
    instancer.update([lorem(2)]);
    for (let n = 0; n < 3; n++) expect(balancer.pick().endpoint.instance.id).toBe("2");
    pick.done(SUCCESS);
  });

  it("hands its client and its newest instance to close", () => {
    const closed: [string, number][] = [];
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    instancer.update(lorems(1));
    createEndpointer(instancer, ({ id }) => `client ${id}`, {
      env: clock.env,
      close: (client, { weight }) => void closed.push([client, weight]),
    });
    instancer.update([lorem(1, { weight: 3 })]);
    instancer.update([]);
    expect(closed).toEqual([["client 1", 3]]);
  });
});

describe("a close function that fails", () => {
  it.each<[string, () => void | Promise<void>]>([
    [
      "throws",
      () => {
        throw down;
      },
    ],
    ["rejects", () => Promise.reject(down)],
  ])("%s: is reported, disturbs nobody, and is not called again", async (_, fail) => {
    let calls = 0;
    const close = (): void | Promise<void> => {
      calls++;
      return fail();
    };
    const { instancer, endpointer, clock } = start(lorems(2), { close });
    const seen = await messages(channels.closeFailed, async () => {
      instancer.update([lorem(2)]);
      await clock.advance(0);
      await endpointer.close();
    });
    expect(seen).toEqual([
      { service: "lorem", instance: lorem(1), error: down },
      { service: "lorem", instance: lorem(2), error: down },
    ]);
    expect(calls).toBe(2);
  });

  it("hangs: the set goes on, it is reported after two seconds, and who closes all waits no longer than that", async () => {
    const hanging = Promise.withResolvers<void>();
    let calls = 0;
    const close = (): Promise<void> => {
      calls++;
      return hanging.promise;
    };
    const { instancer, endpointer, clock } = start(lorems(1), { close });
    const seen = await messages(channels.closeFailed, async () => {
      instancer.update([lorem(2)]);
      await clock.advance(1_000);
      expect(ids(endpointer)).toEqual(["2"]);
      const closing = settlement(endpointer.close());
      await clock.advance(1_999);
      expect([closing.state, calls]).toEqual(["pending", 2]);
      await clock.advance(1);
      expect(closing.state).toBe("fulfilled");
    });
    const error = expect.objectContaining({ code: "TIMEOUT", timeoutMs: 2_000 });
    expect(seen).toEqual([
      { service: "lorem", instance: lorem(1), error },
      { service: "lorem", instance: lorem(2), error },
    ]);
    hanging.reject(down); // nobody's business any more
    await clock.advance(0);
    expect(clock.pending).toBe(0);
  });

  it("may be left out", async () => {
    const { instancer, endpointer } = start(lorems(2), { close: undefined });
    instancer.update([lorem(1)]);
    await endpointer.close();
    expect(ids(endpointer)).toEqual([]);
  });
});

describe("a factory that fails", () => {
  /** Fails for `bad` until told otherwise. */
  function startFailing(fail: (error: Error) => Promise<Connection> | never) {
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    const pool = connections();
    const bad = new Set(["2"]);
    const tries: [string, number][] = [];
    const factory: Factory<Connection> = (instance) => {
      tries.push([instance.id, clock.now()]);
      return bad.has(instance.id) ? fail(down) : pool.connect(instance);
    };
    const endpointer = createEndpointer(instancer, factory, { env: clock.env, close: pool.close });
    return { clock, instancer, pool, bad, tries, endpointer };
  }

  const ways: [string, (error: Error) => Promise<Connection> | never][] = [
    ["rejects", (error) => Promise.reject(error)],
    [
      "throws",
      (error) => {
        throw error;
      },
    ],
  ];

  it.each(ways)("%s: that instance is skipped, and reported", async (_, fail) => {
    const { instancer, endpointer, clock } = startFailing(fail);
    const seen = await messages(channels.factoryFailed, async () => {
      instancer.update(lorems(3));
      await clock.advance(0);
    });
    expect(ids(endpointer)).toEqual(["1", "3"]);
    expect(seen).toEqual([{ service: "lorem", instance: lorem(2), error: down, retryInMs: 250 }]);
    await endpointer.close();
  });

  it.each(ways)("%s: it is tried again with full jitter, though the set does not change", async (_, fail) => {
    const { instancer, endpointer, clock, bad, tries } = startFailing(fail);
    instancer.update(lorems(2));
    // The dice say one half: half of 500, 1000, 2000 and then the cap of 2000.
    await clock.advance(250 + 500 + 1_000 + 1_000);
    expect(tries.filter(([id]) => id === "2").map(([, at]) => at)).toEqual([0, 250, 750, 1_750, 2_750]);
    expect(clock.keptAlive).toBe(0);
    bad.clear();
    await clock.advance(1_000);
    expect(ids(endpointer)).toEqual(["1", "2"]);
    expect(clock.pending).toBe(0);
    expect(tries.filter(([id]) => id === "1")).toHaveLength(1);
  });

  it("is not asked in a loop that time cannot enter when the dice say 0", async () => {
    const clock = manualClock({ random: () => 0 });
    const instancer = drivenInstancer(clock.env);
    let tries = 0;
    const endpointer = createEndpointer(
      instancer,
      () => {
        tries++;
        throw down;
      },
      { env: clock.env },
    );
    instancer.update(lorems(1));
    await clock.advance(1_000);
    expect(tries).toBe(6); // at once, and then at most five times a second
    await endpointer.close();
    expect(clock.pending).toBe(0);
  });

  it("is tried again at once when its instance moves to a new address", async () => {
    const { instancer, clock, bad, tries, endpointer } = startFailing(() => Promise.reject(down));
    instancer.update(lorems(2));
    await clock.advance(0);
    bad.clear();
    instancer.update([lorem(1), lorem(2, { port: 81 })]);
    expect(tries.map(([id]) => id)).toEqual(["1", "2", "2"]);
    expect(ids(endpointer)).toEqual(["1", "2"]);
    expect(clock.pending).toBe(0);
  });

  it("is tried again with the newest facts", async () => {
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    const weights: number[] = [];
    createEndpointer(
      instancer,
      ({ weight }) => {
        weights.push(weight);
        if (weights.length === 1) throw down;
        return "client";
      },
      { env: clock.env },
    );
    instancer.update(lorems(1));
    instancer.update([lorem(1, { weight: 9 })]);
    await clock.advance(500);
    expect(weights).toEqual([1, 9]);
  });

  it("is not tried again after its instance has left, or after close", async () => {
    const { instancer, clock, tries, endpointer } = startFailing(() => Promise.reject(down));
    instancer.update(lorems(2));
    await clock.advance(0);
    expect(clock.pending).toBe(1);
    instancer.update(lorems(1));
    expect(clock.pending).toBe(0);
    instancer.update(lorems(2));
    await clock.advance(0);
    const closing = endpointer.close();
    expect(clock.pending).toBe(0);
    await closing;
    await clock.advance(60_000);
    expect(tries.filter(([id]) => id === "2")).toHaveLength(2);
  });

  it("that fails only after its instance has left arms no timer", async () => {
    const { instancer, clock, asked } = startLate();
    instancer.update(lorems(1));
    instancer.update([]);
    asked[0]?.fail(down);
    await clock.advance(60_000);
    expect(asked).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });
});

describe("a factory that takes its time", () => {
  it("shows its endpoint when the client is there, in the snapshot's order", async () => {
    const { instancer, endpointer, asked, clock } = startLate();
    instancer.update(lorems(3));
    expect(asked.map(({ id }) => id)).toEqual(["1", "2", "3"]);
    asked[2]?.come();
    await clock.advance(0);
    expect(ids(endpointer)).toEqual(["3"]);
    asked[0]?.come();
    await clock.advance(0);
    expect(ids(endpointer)).toEqual(["1", "3"]);
  });

  it("is asked once, however often the set changes meanwhile", () => {
    const { instancer, asked } = startLate();
    instancer.update(lorems(1));
    instancer.update(lorems(2));
    instancer.update([lorem(1, { weight: 4 }), lorem(2)]);
    expect(asked.map(({ id }) => id)).toEqual(["1", "2"]);
  });

  it("has its client closed when that comes after the instance has left, even if it has come back since", async () => {
    const { instancer, endpointer, asked, pool, clock } = startLate();
    instancer.update(lorems(1));
    instancer.update([]);
    instancer.update(lorems(1));
    expect(asked).toHaveLength(2);
    asked[0]?.come();
    await clock.advance(0);
    expect([pool.log, ids(endpointer)]).toEqual([["1: 1"], []]);
    const second = asked[1]?.come();
    await clock.advance(0);
    expect(pool.log).toEqual(["1: 1", "1: 0"]);
    expect(endpointer.endpoints[0]?.client).toBe(second);
  });

  it("has its client closed when that comes after close, which does not wait for it", async () => {
    const { instancer, endpointer, asked, pool, clock } = startLate();
    instancer.update(lorems(2));
    await endpointer.close();
    asked[0]?.come();
    asked[1]?.fail(down);
    await clock.advance(60_000);
    expect([pool.log, ids(endpointer), clock.pending]).toEqual([["1: 1"], [], 0]);
  });

  it("may answer with any thenable, even one that calls back at once and twice", async () => {
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    instancer.update(lorems(2));
    let closed = 0;
    const endpointer = createEndpointer(
      instancer,
      ({ id }) =>
        ({
          // oxlint-disable-next-line unicorn/no-thenable -- the thenable is the subject
          then: (resolve: (client: string) => void) => {
            resolve(`first of ${id}`);
            resolve(`second of ${id}`);
          },
        }) as unknown as Promise<string>,
      { env: clock.env, close: () => void closed++ },
    );
    await endpointer.ready();
    expect(endpointer.endpoints.map(({ client }) => client)).toEqual(["first of 1", "first of 2"]);
    await endpointer.close();
    expect(closed).toBe(2);
  });
});

describe("a factory that calls back into the endpointer", () => {
  it("by changing the set: the innermost set is what counts, nothing leaks", async () => {
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    const pool = connections();
    const endpointer = createEndpointer(
      instancer,
      (instance) => {
        if (instance.id === "2" && pool.made.length === 1) instancer.update([lorem(1), lorem(3)]);
        return pool.connect(instance);
      },
      { env: clock.env, close: pool.close },
    );
    instancer.update([lorem(1), lorem(2), lorem(4)]);
    expect(ids(endpointer)).toEqual(["1", "3"]);
    await endpointer.close();
    expect(pool.made.every(({ closed }) => closed === 1)).toBe(true);
    // 4 had left before its turn came.
    expect(pool.made.map(({ id }) => id).toSorted()).toEqual(["1", "2", "3"]);
  });

  it("by closing it: what is made is closed again", async () => {
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    const pool = connections();
    let closing: Promise<void> | undefined;
    const endpointer: Endpointer<Connection> = createEndpointer(
      instancer,
      (instance) => {
        if (instance.id === "2") closing = endpointer.close();
        return pool.connect(instance);
      },
      { env: clock.env, close: pool.close },
    );
    instancer.update(lorems(3));
    await closing;
    await clock.advance(0);
    expect([pool.log, ids(endpointer), clock.pending]).toEqual([["1: 1", "2: 1"], [], 0]);
  });

  it("by reading it: it sees the set of before", () => {
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    const seen: string[][] = [];
    let look = (): void => undefined;
    const endpointer = createEndpointer(
      instancer,
      ({ id }) => {
        look();
        return id;
      },
      { env: clock.env },
    );
    look = () => void seen.push(ids(endpointer));
    instancer.update(lorems(1));
    instancer.update([lorem(2), lorem(3)]);
    expect(seen).toEqual([[], ["1"], ["1"]]);
  });
});

describe("ready", () => {
  it("waits while nothing is known, also through errors", async () => {
    const { endpointer, instancer, clock } = start();
    const seen = settlement(endpointer.ready());
    await clock.advance(1_000);
    instancer.fail(down);
    await clock.advance(1_000);
    expect(seen.state).toBe("pending");
    instancer.update(lorems(1));
    await clock.advance(0);
    expect(seen.state).toBe("fulfilled");
    await endpointer.ready();
  });

  it("is reached by a service that is known to be empty, by a stale one, and stays reached", async () => {
    const { endpointer, instancer } = start();
    instancer.update([]);
    await endpointer.ready();
    instancer.fail(down);
    await endpointer.ready();
    instancer.update(lorems(1));
    await endpointer.ready();
  });

  it("waits until each of the first clients is there or has failed", async () => {
    const { endpointer, instancer, asked, clock } = startLate();
    const seen = settlement(endpointer.ready());
    instancer.update(lorems(3));
    asked[0]?.come();
    asked[1]?.fail(down);
    await clock.advance(0);
    expect(seen.state).toBe("pending");
    asked[2]?.come();
    await clock.advance(0);
    expect(seen.state).toBe("fulfilled");
    expect(ids(endpointer)).toEqual(["1", "3"]);
    await endpointer.close();
  });

  it("does not wait for one that leaves before its client is there", async () => {
    const { endpointer, instancer, asked, clock } = startLate();
    const seen = settlement(endpointer.ready());
    instancer.update(lorems(2));
    asked[0]?.come();
    await clock.advance(0);
    expect(seen.state).toBe("pending");
    instancer.update(lorems(1));
    await clock.advance(0);
    expect(seen.state).toBe("fulfilled");
  });

  it("is content with one client if it is told so", async () => {
    const { endpointer, instancer, asked, clock } = startLate();
    const [all, any] = [settlement(endpointer.ready()), settlement(endpointer.ready({ any: true }))];
    instancer.update(lorems(2));
    await clock.advance(0);
    expect(any.state).toBe("pending");
    asked[1]?.come();
    await clock.advance(0);
    expect([all.state, any.state]).toEqual(["pending", "fulfilled"]);
  });

  it("does not need a client if none can be made", async () => {
    const { endpointer, instancer, asked, clock } = startLate();
    const any = settlement(endpointer.ready({ any: true }));
    instancer.update(lorems(1));
    asked[0]?.fail(down);
    await clock.advance(0);
    expect(any.state).toBe("fulfilled");
    await endpointer.close();
  });

  it("rejects with the reason when its signal aborts, before or while it waits, and leaves no listener", async () => {
    const { endpointer, clock } = start();
    const controller = new AbortController();
    const reason = new Error("left");
    const [seen, other] = [settlement(endpointer.ready(controller)), settlement(endpointer.ready())];
    expect(await rejection(endpointer.ready({ signal: AbortSignal.abort(reason) }))).toBe(reason);
    controller.abort(reason);
    await clock.advance(0);
    expect(seen).toEqual({ state: "rejected", error: reason });
    expect(other.state).toBe("pending");
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(0);
    await endpointer.close();
  });

  it("rejects with ClosedError when it is closed, before, while and after it waits", async () => {
    const { endpointer, clock } = start();
    const seen = settlement(endpointer.ready());
    await endpointer.close();
    await clock.advance(0);
    expect(seen.error).toBeInstanceOf(ClosedError);
    expect(await rejection(endpointer.ready())).toBeInstanceOf(ClosedError);
    const known = start(lorems(1)).endpointer;
    await known.ready();
    await known.close();
    expect(await rejection(known.ready())).toMatchObject({ code: "CLOSED", name: "ClosedError" });
  });
});

describe("staleAfterMs", () => {
  it("is for ever by default: the last good set is served, and no timer runs", async () => {
    const { endpointer, instancer, clock, pool } = start(lorems(2));
    instancer.fail(down);
    expect(clock.pending).toBe(0);
    await clock.advance(1e9);
    expect([ids(endpointer), pool.log]).toEqual([
      ["1", "2"],
      ["1: 0", "2: 0"],
    ]);
  });

  it("empties the set and closes its clients at exactly staleSinceMs + staleAfterMs, though nobody asks", async () => {
    const { instancer, endpointer, clock, pool, balancer } = start(lorems(2), { staleAfterMs: 5_000 });
    await clock.advance(700);
    instancer.fail(down);
    expect([clock.pending, clock.keptAlive]).toEqual([1, 0]);
    await clock.advance(4_999);
    expect([ids(endpointer), pool.log]).toEqual([
      ["1", "2"],
      ["1: 0", "2: 0"],
    ]);
    await clock.advance(1);
    expect(pool.log).toEqual(["1: 1", "2: 1"]);
    expect([ids(endpointer), clock.pending]).toEqual([[], 0]);
    expect(() => balancer.pick()).toThrow(NoEndpointsError);
    expect(() => balancer.pick()).toThrow(expect.objectContaining({ state: "stale", cause: down }));
  });

  it("counts from the first error; later ones neither move the deadline nor change the cause", async () => {
    const { instancer, endpointer, clock, balancer } = start(lorems(1), { staleAfterMs: 1_000 });
    instancer.fail(down);
    for (let n = 0; n < 9; n++) {
      await clock.advance(100);
      instancer.fail(new Error(`error ${n}`));
    }
    await clock.advance(99);
    expect(ids(endpointer)).toEqual(["1"]);
    await clock.advance(1);
    expect(ids(endpointer)).toEqual([]);
    expect(() => balancer.pick()).toThrow(expect.objectContaining({ cause: down }));
  });

  it("of 0 empties the set with the first error", () => {
    const { instancer, endpointer, clock, pool } = start(lorems(1), { staleAfterMs: 0 });
    instancer.fail(down);
    expect([ids(endpointer), pool.log, clock.pending]).toEqual([[], ["1: 1"], 0]);
  });

  it("keeps endpoints and clients when a good answer comes just before, equal or not", async () => {
    const { instancer, endpointer, clock, pool } = start(lorems(2), { staleAfterMs: 1_000 });
    const before = endpointer.endpoints;
    instancer.fail(down);
    await clock.advance(999);
    instancer.update(lorems(2));
    expect(endpointer.endpoints).toBe(before);
    expect(clock.pending).toBe(0);
    await clock.advance(10_000);
    instancer.fail(down);
    await clock.advance(999);
    instancer.update(lorems(3));
    await clock.advance(10_000);
    expect(pool.log).toEqual(["1: 0", "2: 0", "3: 0"]);
  });

  it("makes the endpoints anew when a good answer comes after it", async () => {
    const { instancer, endpointer, clock, pool } = start(lorems(1), { staleAfterMs: 1_000 });
    const before = endpointer.endpoints[0];
    instancer.fail(down);
    await clock.advance(1_000);
    instancer.update(lorems(1));
    expect(endpointer.endpoints[0]).not.toBe(before);
    expect(endpointer.endpoints[0]?.client.serial).toBe(2);
    expect(pool.log).toEqual(["1: 1", "1: 0"]);
  });

  it("counts anew for the next outage", async () => {
    const { instancer, endpointer, clock } = start(lorems(1), { staleAfterMs: 1_000 });
    instancer.fail(down);
    await clock.advance(900);
    instancer.update(lorems(1));
    instancer.fail(down);
    await clock.advance(999);
    expect(ids(endpointer)).toEqual(["1"]);
    await clock.advance(1);
    expect(ids(endpointer)).toEqual([]);
  });

  it("counts from when the set became stale, not from when the endpointer was made", async () => {
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    instancer.update(lorems(1));
    instancer.fail(down);
    await clock.advance(800);
    let made = 0;
    const options = { env: clock.env, staleAfterMs: 1_000 };
    const early = createEndpointer(instancer, () => made++, options);
    expect(ids(early)).toEqual(["1"]);
    await clock.advance(200);
    expect(ids(early)).toEqual([]);
    const late = createEndpointer(instancer, () => made++, options);
    expect([ids(late), made, clock.pending]).toEqual([[], 1, 0]);
    await late.ready();
  });

  it("lets the calls in flight drain", async () => {
    const { instancer, clock, pool, balancer } = start(lorems(1), { staleAfterMs: 1_000, drainMs: 500 });
    const pick = balancer.pick();
    instancer.fail(down);
    await clock.advance(1_499);
    expect(pool.log).toEqual(["1: 0"]);
    await clock.advance(1);
    expect(pool.log).toEqual(["1: 1"]);
    pick.done(SUCCESS);
  });

  it("stops what was still being made", async () => {
    const { instancer, clock, asked, pool, endpointer } = startLate({ staleAfterMs: 1_000 });
    instancer.update(lorems(2));
    asked[1]?.fail(down);
    instancer.fail(down);
    await clock.advance(1_000);
    expect(clock.pending).toBe(0);
    asked[0]?.come();
    await clock.advance(0);
    expect([pool.log, ids(endpointer)]).toEqual([["1: 1"], []]);
  });
});

describe("close", () => {
  it("empties the set, closes every client, leaves the instancer and lets it live", async () => {
    const { endpointer, instancer, pool, clock } = start(lorems(3), { staleAfterMs: 1_000 });
    expect(instancer.listeners).toBe(1);
    instancer.fail(down);
    await endpointer.close();
    expect([ids(endpointer), pool.log]).toEqual([[], ["1: 1", "2: 1", "3: 1"]]);
    expect([instancer.listeners, clock.pending]).toEqual([0, 0]);
    instancer.update(lorems(4));
    await clock.advance(60_000);
    expect([ids(endpointer), pool.made.length]).toEqual([[], 3]);
    expect(instancer.snapshot.state).toBe("live");
  });

  it("is idempotent, and all calls share one promise, disposal too", async () => {
    const { endpointer, pool } = start(lorems(1));
    const closing = endpointer.close();
    expect(endpointer.close()).toBe(closing);
    expect(endpointer[Symbol.asyncDispose]()).toBe(closing);
    expect(endpointer[Symbol.asyncDispose]).toBe(endpointer.close);
    await closing;
    expect(endpointer.close()).toBe(closing);
    expect(pool.log).toEqual(["1: 1"]);
  });

  it("closes with await using", async () => {
    const { instancer, pool, clock } = start();
    {
      await using endpointer = createEndpointer(instancer, pool.connect, { env: clock.env, close: pool.close });
      instancer.update(lorems(1));
      expect(endpointer.endpoints).toHaveLength(1);
    }
    expect(pool.log).toContain("1: 1");
  });

  it("offers nothing from its first turn on, and waits for the calls in flight", async () => {
    const { endpointer, balancer, pool, clock } = start(lorems(2));
    const pick = balancer.pick();
    const closing = settlement(endpointer.close());
    expect(ids(endpointer)).toEqual([]);
    expect(() => balancer.pick()).toThrow(NoEndpointsError);
    await clock.advance(1_000);
    expect([closing.state, pool.log]).toEqual(["pending", ["1: 0", "2: 1"]]);
    pick.done(SUCCESS);
    await clock.advance(0);
    expect([closing.state, pool.log, clock.pending]).toEqual(["fulfilled", ["1: 1", "2: 1"], 0]);
  });

  it("waits no longer than drainMs, with a timer that keeps the process alive", async () => {
    const { endpointer, balancer, pool, clock } = start(lorems(1), { drainMs: 2_000 });
    const pick = balancer.pick();
    const closing = settlement(endpointer.close());
    expect([clock.pending, clock.keptAlive]).toEqual([1, 1]);
    await clock.advance(1_999);
    expect(closing.state).toBe("pending");
    await clock.advance(1);
    expect([closing.state, pool.log, clock.pending]).toEqual(["fulfilled", ["1: 1"], 0]);
    pick.done(SUCCESS);
    expect(pool.log).toEqual(["1: 1"]);
  });

  it("waits also for what drained before, within that one's own time, which now keeps the process alive", async () => {
    const { endpointer, balancer, instancer, pool, clock } = start(lorems(1), { drainMs: 2_000 });
    const pick = balancer.pick();
    instancer.update([]);
    await clock.advance(1_500);
    expect([clock.pending, clock.keptAlive]).toEqual([1, 0]);
    const closing = settlement(endpointer.close());
    expect([clock.pending, clock.keptAlive]).toEqual([1, 1]);
    await clock.advance(499);
    expect(closing.state).toBe("pending");
    await clock.advance(1);
    expect([closing.state, pool.log]).toEqual(["fulfilled", ["1: 1"]]);
    pick.done(SUCCESS);
  });

  it("waits for close functions that take their time", async () => {
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    instancer.update(lorems(2));
    const endpointer = createEndpointer(instancer, ({ id }) => id, {
      env: clock.env,
      close: () => new Promise((resolve) => void clock.env.after(70, resolve)),
    });
    const closing = settlement(endpointer.close());
    await clock.advance(69);
    expect(closing.state).toBe("pending");
    await clock.advance(1);
    expect(closing.state).toBe("fulfilled");
  });

  it("called by a client's own close function closes once", async () => {
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    instancer.update(lorems(2));
    const closed: string[] = [];
    const endpointer: Endpointer<string> = createEndpointer(instancer, ({ id }) => id, {
      env: clock.env,
      close: (id) => {
        closed.push(id);
        void endpointer.close();
      },
    });
    await endpointer.close();
    expect(closed).toEqual(["1", "2"]);
    expect(instancer.listeners).toBe(0);
  });

  it("before anything is known leaves nothing behind", async () => {
    const { endpointer, instancer, clock } = start();
    await endpointer.close();
    expect([instancer.listeners, clock.pending]).toEqual([0, 0]);
  });
});

describe("the diagnostics", () => {
  it("tell of endpoints that come, go and are closed", async () => {
    const log: string[] = [];
    const unsubscribe = [
      channels.endpointAdded.subscribe(({ service, instance }) => log.push(`+ ${service} ${instance.id}`)),
      channels.endpointRemoved.subscribe(({ service, instance }) => log.push(`- ${service} ${instance.id}`)),
      channels.endpointClosed.subscribe(({ service, instance }) => log.push(`x ${service} ${instance.id}`)),
    ];
    const { instancer, balancer, clock } = start(lorems(2));
    const pick = balancer.pick();
    instancer.update([lorem(1), lorem(2, { weight: 2 })]);
    instancer.update([lorem(2)]);
    await clock.advance(0);
    expect(log).toEqual(["+ lorem 1", "+ lorem 2", "- lorem 1"]);
    pick.done(SUCCESS);
    await clock.advance(0);
    for (const leave of unsubscribe) leave();
    expect(log).toEqual(["+ lorem 1", "+ lorem 2", "- lorem 1", "x lorem 1"]);
  });
});

describe("an instancer written by hand", () => {
  const live = (...instances: Instance[]): Snapshot => ({ state: "live", revision: 1, instances });

  it("is as good as any other", async () => {
    const hand = byHand({ state: "pending", revision: 0, instances: [] });
    const endpointer = createEndpointer(hand.instancer, ({ id }) => id);
    const ready = endpointer.ready();
    hand.say(live(lorem(1), lorem(2)));
    await ready;
    expect(ids(endpointer)).toEqual(["1", "2"]);
    await endpointer.close();
  });

  it("may call its listeners after they have left: a closed endpointer makes nothing of it", async () => {
    const hand = byHand(live(lorem(1)));
    const pool = connections();
    const clock = manualClock();
    const endpointer = createEndpointer(hand.instancer, pool.connect, {
      env: clock.env,
      close: pool.close,
      staleAfterMs: 100,
    });
    await endpointer.close();
    hand.say(live(lorem(1), lorem(2)));
    hand.say({ state: "stale", revision: 2, instances: [lorem(1)], error: down, staleSinceMs: 0 });
    expect([ids(endpointer), pool.log, clock.pending]).toEqual([[], ["1: 1"], 0]);
  });

  it("may call its listener while it subscribes", () => {
    const hand = byHand(live(lorem(1)));
    const pool = connections();
    const eager: Instancer = {
      ...hand.instancer,
      snapshot: hand.instancer.snapshot,
      subscribe: (onChange) => {
        onChange();
        return () => undefined;
      },
    };
    expect(ids(createEndpointer(eager, pool.connect))).toEqual(["1"]);
    expect(pool.log).toEqual(["1: 0"]);
  });

  it("may repeat an id: the first wins, and nothing leaks", async () => {
    const twice = live(lorem(1), lorem(1, { port: 81 }), lorem(2), lorem(1));
    const hand = byHand(twice);
    const pool = connections();
    const endpointer = createEndpointer(hand.instancer, pool.connect, { close: pool.close });
    hand.say(twice);
    hand.say({ ...twice, revision: 2 });
    expect(endpointer.endpoints.map(({ instance }) => instance)).toEqual([lorem(1), lorem(2)]);
    expect(pool.log).toEqual(["1: 0", "2: 0"]);
    await endpointer.close();
    expect(pool.log).toEqual(["1: 1", "2: 1"]);
  });

  it("may repeat ids in any order, also those that have moved or kept their place", async () => {
    const all = [lorem(1), lorem(2), lorem(1, { port: 81 }), lorem(2, { weight: 7 }), lorem(3)];
    const sets = fc.array(fc.array(fc.constantFrom(...all), { maxLength: 5 }), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(sets, async (said) => {
        const hand = byHand(live());
        const pool = connections();
        const endpointer = createEndpointer(hand.instancer, pool.connect, { close: pool.close });
        for (const instances of said) {
          hand.say(live(...instances));
          const firsts = instances.filter((one, index) => instances.findIndex(({ id }) => id === one.id) === index);
          expect(endpointer.endpoints.map(({ instance }) => instance)).toEqual(firsts);
          const open = pool.made.filter(({ closed }) => closed === 0);
          expect(new Set(endpointer.endpoints.map(({ client }) => client))).toEqual(new Set(open));
        }
        await endpointer.close();
        expect(pool.made.every(({ closed }) => closed === 1)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it("may make new objects that say the same: the array stays", () => {
    const hand = byHand(live(lorem(1, { metadata: { version: "1" } })));
    const endpointer = createEndpointer(hand.instancer, ({ id }) => id);
    const before = endpointer.endpoints;
    hand.say(live(lorem(1, { metadata: { version: "1" } })));
    expect(endpointer.endpoints).toBe(before);
    hand.say(live(lorem(1, { metadata: { version: "2" } })));
    expect(endpointer.endpoints).not.toBe(before);
  });
});

describe("createEndpointer", () => {
  it("works on a real watch, and ends it when closed", async () => {
    const clock = manualClock();
    const source = scriptedSource();
    const instancer = createInstancer("lorem", source, { env: clock.env });
    const pool = connections();
    expect(source.watches).toBe(0);
    const endpointer = createEndpointer(instancer, pool.connect, { env: clock.env, close: pool.close });
    source.yield(lorems(2));
    await clock.advance(0);
    expect(ids(endpointer)).toEqual(["1", "2"]);
    source.fail(down);
    source.yield(lorems(3));
    await clock.advance(2_000);
    expect(ids(endpointer)).toEqual(["1", "2", "3"]);
    await endpointer.close();
    expect([source.active, source.aborted, clock.pending]).toEqual([0, 1, 0]);
    expect(pool.log).toEqual(["1: 1", "2: 1", "3: 1"]);
    await instancer.close();
  });

  it("shares its instancer with others: each has its own clients", async () => {
    const { instancer, clock } = start();
    const [one, two] = [1, 2].map((n) => createEndpointer(instancer, ({ id }) => `${n}/${id}`, { env: clock.env })) as [
      Endpointer<string>,
      Endpointer<string>,
    ];
    instancer.update(lorems(1));
    await one.close();
    instancer.update(lorems(2));
    const clients = (endpoints: readonly Endpoint<string>[]): string[] => endpoints.map(({ client }) => client);
    expect([clients(one.endpoints), clients(two.endpoints)]).toEqual([[], ["2/1", "2/2"]]);
  });

  it("throws what the instancer throws when that is closed", async () => {
    const instancer = createInstancer("lorem", scriptedSource());
    await instancer.close();
    expect(() => createEndpointer(instancer, () => "client")).toThrow(ClosedError);
  });

  it.each<[object, string]>([
    [{ staleAfterMs: -1 }, "staleAfterMs"],
    [{ staleAfterMs: Number.NaN }, "staleAfterMs"],
    [{ staleAfterMs: "30s" }, "staleAfterMs"],
    [{ drainMs: -1 }, "drainMs"],
    [{ drainMs: null }, "drainMs"],
    [{ close: true }, "close"],
    [{ env: { random: 4 } }, "env"],
    [{ drainMS: 5 }, "drainMS"],
  ])("refuses %o, before it does anything", (options, path) => {
    const { instancer } = start();
    const before = instancer.listeners;
    const make = (): unknown => createEndpointer(instancer, () => "client", options as EndpointerOptions<string>);
    expect(make).toThrow(InvalidOptionError);
    expect(make).toThrow(expect.objectContaining({ path }));
    expect(instancer.listeners).toBe(before);
  });

  it("refuses what is no instancer or no factory", () => {
    const { instancer } = start();
    expect(() => createEndpointer(null as unknown as Instancer, () => 1)).toThrow(InvalidOptionError);
    expect(() => createEndpointer(instancer, "http://" as unknown as Factory<unknown>)).toThrow(InvalidOptionError);
  });

  it("takes instances of any age: those of a plain createInstance too", () => {
    const { endpointer, instancer } = start();
    instancer.update([createInstance({ service: "lorem", host: "::1", port: 80 })]);
    expect(ids(endpointer)).toEqual(["lorem-::1-80"]);
  });
});
