import { getEventListeners } from "node:events";
import { type ScriptedSource, manualClock, scriptedSource, seededRandom } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { type Channel, channels } from "./channels.ts";
import { type ClosedError, isDiscoveryError } from "./errors.ts";
import { type Instance, createInstance } from "./instance.ts";
import { type Instancer, createInstancer } from "./instancer.ts";
import type { Source } from "./source.ts";

const make = (id: string): Instance => createInstance({ service: "lorem", host: "10.0.0.1", port: 80, id });
const [a, b] = [make("a"), make("b")];
const down = new Error("registry is down");
const ignore = (): void => undefined;
const hang = (): Promise<never> => new Promise(ignore);

/** A watch that is lost at once. */
const emptyWatch: AsyncIterable<never> = {
  [Symbol.asyncIterator]: () => ({ next: async () => ({ done: true, value: undefined }) }),
};

/** An instancer on a manual clock that throws 0.5 every time: the delays after failures are 250, 500, 1000, 1000, … */
function setup(source: Source = scriptedSource(), options: { emptyGraceMs?: number } = {}) {
  const clock = manualClock();
  const instancer = createInstancer("lorem", source, { env: clock.env, ...options });
  const seen: string[] = [];
  const listen = (): (() => void) => instancer.subscribe(() => seen.push(brief(instancer)));
  return { clock, instancer, seen, listen };
}

/** The same with a scripted source. */
function scripted(options: { emptyGraceMs?: number } = {}) {
  const source = scriptedSource();
  return { source, ...setup(source, options) };
}

/** An instancer that is live with `a` and has a listener. */
async function live(options: { emptyGraceMs?: number } = {}) {
  const all = scripted(options);
  const leave = all.listen();
  all.source.yield([a]);
  await all.clock.advance(0);
  all.seen.length = 0;
  return { ...all, leave };
}

/** `2 stale a,b` */
function brief({ snapshot }: Instancer): string {
  return `${snapshot.revision} ${snapshot.state} ${snapshot.instances.map((instance) => instance.id).join()}`;
}

/** What a channel says from now on, and the function that stops listening. */
function hear<M>(channel: Channel<M>): [M[], () => void] {
  const messages: M[] = [];
  return [messages, channel.subscribe((message) => messages.push(message))];
}

/** Lets everything run that can, in real time: for what no clock of ours drives. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

describe("starting and stopping the watch", () => {
  it("does nothing before the first listener, however long", async () => {
    const { source, clock, instancer } = scripted();
    await clock.advance(60_000);
    expect([source.watches, clock.pending]).toEqual([0, 0]);
    expect(instancer.service).toBe("lorem");
    expect(instancer.snapshot).toStrictEqual({ state: "pending", revision: 0, instances: [] });
  });

  it("starts one watch with the first listener, shares it, and stops it when the last one leaves", async () => {
    const { source, clock, listen } = scripted();
    const [first, second] = [listen(), listen()];
    await clock.advance(0);
    expect([source.watches, source.active]).toEqual([1, 1]);
    first();
    await clock.advance(0);
    expect(source.active).toBe(1);
    second();
    await clock.advance(0);
    expect([source.watches, source.active, source.aborted, clock.pending]).toEqual([1, 0, 1, 0]);
  });

  it("works behind an object that inherits from it, and a proxy, and without it", async () => {
    const { source, clock, instancer } = await live();
    const seen: string[] = [];
    const { subscribe } = instancer;
    const heir = Object.create(instancer) as Instancer;
    const proxy = new Proxy(instancer, {});
    subscribe(() => seen.push("subscribe"));
    for (const each of [heir, proxy]) each.subscribe(() => seen.push(`${brief(each)} of ${each.service}`));
    source.yield([b]);
    await clock.advance(0);
    expect(seen).toEqual(["subscribe", "2 live b of lorem", "2 live b of lorem"]);
    await heir.close();
    expect(() => proxy.subscribe(ignore)).toThrow("is closed");
    await Promise.all([proxy.close(), instancer.close()]);
    source.yield([a]);
    await clock.advance(0);
    expect([seen.length, source.active, clock.pending]).toEqual([3, 0, 0]);
  });

  it("takes a listener that leaves twice for one that left once", async () => {
    const { source, clock, listen } = scripted();
    const [first] = [listen(), listen()];
    first();
    first();
    await clock.advance(0);
    expect(source.active).toBe(1);
  });

  it("watches anew for whoever comes after the last one left, and keeps what it knew meanwhile", async () => {
    const { source, clock, instancer, seen, listen, leave } = await live();
    leave();
    await clock.advance(60_000);
    expect(brief(instancer)).toBe("1 live a");
    listen();
    await clock.advance(0);
    expect([source.watches, source.active]).toEqual([2, 1]);
    source.yield([a]);
    source.yield([b]);
    await clock.advance(0);
    expect(seen).toEqual(["2 live b"]);
  });

  it("ignores what a watch says that was stopped, even if it does not notice", async () => {
    const says: ((set: readonly Instance[]) => void)[] = [];
    const deaf: Source = {
      name: "deaf",
      async *watch() {
        for (;;) yield await new Promise<readonly Instance[]>((resolve) => void says.push(resolve));
      },
    };
    const { clock, instancer, listen } = setup(deaf);
    const leave = listen();
    await clock.advance(0);
    leave();
    listen();
    await clock.advance(0);
    says[1]?.([b]);
    says[0]?.([a]);
    await clock.advance(0);
    expect(brief(instancer)).toBe("1 live b");
  });

  it("tells a late listener nothing by itself, but shows it what is known", async () => {
    const { clock, instancer, seen, listen } = await live();
    listen();
    await clock.advance(0);
    expect(seen).toEqual([]);
    expect(brief(instancer)).toBe("1 live a");
  });
});

describe("answers", () => {
  it("become snapshots, sorted and without duplicates, and equal ones notify nobody", async () => {
    const { source, clock, instancer, seen, listen } = scripted();
    listen();
    source.yield([b, a, b]);
    source.yield([a, b]);
    await clock.advance(0);
    expect(seen).toEqual(["1 live a,b"]);
    expect(Object.isFrozen(instancer.snapshot.instances)).toBe(true);
  });

  it("are published on the channel", async () => {
    const [messages, stop] = hear(channels.snapshotChanged);
    const { instancer } = await live();
    stop();
    expect(messages).toEqual([{ service: "lorem", snapshot: instancer.snapshot }]);
    expect(messages[0]?.snapshot).toBe(instancer.snapshot);
  });

  it("that are empty are believed at once in normal running, also the first one", async () => {
    const { source, clock, seen, listen } = scripted();
    listen();
    source.yield([]);
    source.yield([a]);
    source.yield([]);
    await clock.advance(0);
    expect(seen).toEqual(["1 live ", "2 live a", "3 live "]);
    expect(clock.pending).toBe(0);
  });
});

describe("a source that fails", () => {
  it("makes the state stale at once, before any back-off, and is asked again", async () => {
    const { source, clock, instancer, seen } = await live();
    await clock.advance(1_000);
    source.fail(down);
    await clock.advance(0);
    expect(instancer.snapshot).toStrictEqual({
      state: "stale",
      revision: 2,
      instances: [a],
      error: down,
      staleSinceMs: 1_000,
    });
    expect([source.watches, clock.pending]).toEqual([1, 1]);
    source.yield([a]);
    await clock.advance(250);
    expect(seen).toEqual(["2 stale a", "3 live a"]);
    expect([source.watches, clock.pending]).toEqual([2, 0]);
  });

  it("leaves the state pending with the first error if there was no answer yet", async () => {
    const { source, clock, instancer, seen, listen } = scripted();
    listen();
    source.fail(down);
    source.fail(new Error("later"));
    await clock.advance(250);
    expect(instancer.snapshot).toStrictEqual({ state: "pending", revision: 1, instances: [], error: down });
    expect(seen).toEqual(["1 pending "]);
  });

  it("does not bring back what is stale by failing again, and the first error stays", async () => {
    const { source, clock, instancer, seen } = await live();
    source.fail(down);
    source.fail(new Error("later"));
    await clock.advance(500);
    expect(source.queued).toBe(0);
    expect(seen).toEqual(["2 stale a"]);
    expect(instancer.snapshot).toMatchObject({ error: down, staleSinceMs: 0 });
  });

  it.each<[string, () => AsyncIterable<readonly Instance[]>]>([
    [
      "throws synchronously",
      () => {
        throw down;
      },
    ],
    [
      "throws where the iterator is made",
      () => ({
        [Symbol.asyncIterator]() {
          throw down;
        },
      }),
    ],
    ["rejects", () => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(down) }) })],
    ["gives no iterable", () => undefined as unknown as AsyncIterable<readonly Instance[]>],
  ])("may do so in any way: one that %s", async (_what, watch) => {
    const [messages, stop] = hear(channels.sourceFailed);
    const { clock, instancer, listen } = setup({ name: "bad", watch });
    listen();
    await clock.advance(2_000);
    stop();
    expect(instancer.snapshot).toMatchObject({ state: "pending", error: expect.any(Error) as Error });
    expect(messages.length).toBeGreaterThan(2);
    await instancer.close();
    expect(clock.pending).toBe(0);
  });

  it("may throw undefined", async () => {
    const { source, clock, instancer } = await live();
    source.fail(undefined);
    await clock.advance(0);
    expect(instancer.snapshot).toMatchObject({ state: "stale", error: undefined });
  });

  it("is reported, with the delay; one that is lost without an error", async () => {
    const [messages, stop] = hear(channels.sourceFailed);
    const { source, clock } = await live();
    source.fail(down);
    source.end();
    await clock.advance(250);
    stop();
    expect(messages).toStrictEqual([
      { source: "scripted", service: "lorem", error: down, retryInMs: 250 },
      { source: "scripted", service: "lorem", retryInMs: 500 },
    ]);
  });
});

describe("a source that returns", () => {
  it("keeps the state and is asked again", async () => {
    const { source, clock, seen, instancer } = await live();
    source.end();
    await clock.advance(0);
    expect(brief(instancer)).toBe("1 live a");
    source.yield([a, b]);
    await clock.advance(250);
    expect(seen).toEqual(["2 live a,b"]);
  });

  it("keeps the state pending, without an error, if it never said anything", async () => {
    const { source, clock, seen, instancer, listen } = scripted();
    listen();
    source.end();
    source.end();
    await clock.advance(1_000);
    expect([seen, brief(instancer)]).toEqual([[], "0 pending "]);
    expect("error" in instancer.snapshot).toBe(false);
  });

  it("keeps the state stale with the first error", async () => {
    const { source, clock, seen, instancer } = await live();
    source.fail(down);
    source.end();
    await clock.advance(250);
    expect(seen).toEqual(["2 stale a"]);
    expect(instancer.snapshot).toMatchObject({ error: down });
  });

  it("at once, every time, costs the registry little more than one watch a second", async () => {
    let watches = 0;
    const hasty: Source = {
      name: "hasty",
      watch() {
        watches++;
        return emptyWatch;
      },
    };
    const clock = manualClock({ random: seededRandom(7) });
    createInstancer("lorem", hasty, { env: clock.env }).subscribe(ignore);
    await clock.advance(1_000_000);
    expect(watches).toBeGreaterThan(900);
    expect(watches).toBeLessThan(1_150);
  });

  it("is waited for if it says one thing and returns, every time", async () => {
    let watches = 0;
    const polling: Source = {
      name: "polling",
      async *watch() {
        watches++;
        yield [a];
      },
    };
    const { clock, seen, listen } = setup(polling);
    listen();
    await clock.advance(10_000);
    expect(seen).toEqual(["1 live a"]);
    expect(watches).toBe(41);
  });
});

describe("the back-off", () => {
  it("is full jitter, doubles up to its cap, and a good answer resets it", async () => {
    const [messages, stop] = hear(channels.sourceFailed);
    const { source, clock, listen } = scripted();
    listen();
    for (let failure = 0; failure < 5; failure++) source.fail(down);
    source.yield([a]);
    source.fail(down);
    source.end();
    await clock.advance(60_000);
    stop();
    expect(messages.map((message) => message.retryInMs)).toEqual([250, 500, 1_000, 1_000, 1_000, 250, 500]);
  });

  it("never exceeds thirty seconds, however long the outage and whatever the dice say", async () => {
    const [messages, stop] = hear(channels.sourceFailed);
    const clock = manualClock({ random: () => 1 - Number.EPSILON });
    const source: Source = {
      name: "dead",
      watch() {
        throw down;
      },
    };
    createInstancer("lorem", source, { env: clock.env }).subscribe(ignore);
    await clock.advance(3_600_000);
    stop();
    expect(messages.length).toBeGreaterThan(1_000);
    expect(Math.max(...messages.map((message) => message.retryInMs))).toBeLessThanOrEqual(2_000);
  });

  it("is reset by an answer that is equal to the last one, and by one that is held back", async () => {
    const [messages, stop] = hear(channels.sourceFailed);
    const { source, clock } = await live();
    source.fail(down);
    source.fail(down);
    source.yield([]);
    source.fail(down);
    source.fail(down);
    source.yield([a]);
    source.fail(down);
    await clock.advance(60_000);
    stop();
    expect(messages.map((message) => message.retryInMs)).toEqual([250, 500, 250, 500, 250]);
  });
});

describe("an empty answer after an outage or a lost watch", () => {
  it.each(["fail", "end"] as const)("(%s) is held back for thirty seconds, then believed", async (how) => {
    const { source, clock, instancer, seen } = await live();
    if (how === "fail") source.fail(down);
    else source.end();
    source.yield([]);
    await clock.advance(250);
    const before = instancer.snapshot;
    await clock.advance(29_999);
    expect(instancer.snapshot).toBe(before);
    expect(before.instances).toEqual([a]);
    await clock.advance(1);
    expect(instancer.snapshot).toMatchObject({ state: "live", instances: [] });
    expect(seen.at(-1)).toMatch(/live $/);
    expect(clock.pending).toBe(0);
  });

  it("is forgotten as soon as there is one that is not empty", async () => {
    const { source, clock, seen } = await live();
    source.fail(down);
    source.yield([]);
    await clock.advance(10_000);
    source.yield([b]);
    await clock.advance(0);
    expect(seen).toEqual(["2 stale a", "3 live b"]);
    expect(clock.pending).toBe(0);
    await clock.advance(60_000);
    expect(seen).toHaveLength(2);
  });

  it("is believed at once when the running is normal again", async () => {
    const { source, clock, seen } = await live();
    source.fail(down);
    source.yield([a]);
    source.yield([]);
    await clock.advance(250);
    expect(seen).toEqual(["2 stale a", "3 live a", "4 live "]);
  });

  it("is believed at once when nothing was known before", async () => {
    const { source, clock, seen, listen } = scripted();
    listen();
    source.fail(down);
    source.yield([]);
    source.end();
    source.yield([]);
    source.fail(down);
    source.yield([]);
    await clock.advance(10_000);
    expect(seen).toEqual(["1 pending ", "2 live ", "3 stale ", "4 live "]);
    expect(clock.pending).toBe(0);
  });

  it("is not held back longer because it is said again", async () => {
    const { source, clock, seen } = await live();
    source.fail(down);
    source.yield([]);
    await clock.advance(20_000);
    source.yield([]);
    await clock.advance(10_250);
    expect(seen).toEqual(["2 stale a", "3 live "]);
  });

  it("is not held back longer because its watch was lost, whose word still holds", async () => {
    const { source, clock, instancer } = await live();
    source.end();
    for (let watch = 0; watch < 200; watch++) {
      source.yield([]);
      source.end();
    }
    await clock.advance(250 + 29_999);
    expect(brief(instancer)).toBe("1 live a");
    await clock.advance(1);
    expect(brief(instancer)).toBe("2 live ");
  });

  it("is held back anew after another outage: its servers had no time to come back", async () => {
    const { source, clock, instancer } = await live();
    source.fail(down);
    source.yield([]);
    await clock.advance(20_250);
    source.fail(down);
    await clock.advance(0);
    source.yield([]);
    await clock.advance(20_250);
    expect(instancer.snapshot).toMatchObject({ state: "stale", instances: [a] });
    await clock.advance(10_000);
    expect(instancer.snapshot).toMatchObject({ state: "live", instances: [] });
  });

  it("is not believed while the registry cannot be read", async () => {
    const { source, clock, instancer } = await live();
    source.end();
    source.yield([]);
    await clock.advance(20_000);
    for (let failure = 0; failure < 200; failure++) source.fail(down);
    await clock.advance(60_000);
    expect(instancer.snapshot).toMatchObject({ state: "stale", instances: [a], error: down });
  });

  it.each(["fail", "end"] as const)("(%s) is held back also from a listener who comes later", async (how) => {
    const { source, clock, instancer, listen, leave } = await live();
    if (how === "fail") source.fail(down);
    else source.end();
    source.yield([]);
    await clock.advance(1_000);
    leave();
    await clock.advance(0);
    expect(clock.pending).toBe(0);
    listen();
    source.yield([]);
    await clock.advance(29_999);
    expect(instancer.snapshot.instances).toEqual([a]);
    await clock.advance(1);
    expect(brief(instancer)).toMatch(/live $/);
  });

  it("is held back when all listeners left during the back-off", async () => {
    const { source, clock, instancer, listen, leave } = await live();
    source.end();
    await clock.advance(0);
    leave();
    listen();
    source.yield([]);
    await clock.advance(0);
    expect(brief(instancer)).toBe("1 live a");
  });

  it("is held back as long as one wishes, also for ever or not at all", async () => {
    for (const [emptyGraceMs, heldMs] of [
      [0, 0],
      [5_000, 5_000],
    ] as const) {
      const { source, clock, instancer } = await live({ emptyGraceMs });
      source.end();
      source.yield([]);
      await clock.advance(250);
      expect(instancer.snapshot.instances).toEqual(heldMs === 0 ? [] : [a]);
      await clock.advance(heldMs);
      expect(instancer.snapshot.instances).toEqual([]);
    }
    const { source, clock, instancer } = await live({ emptyGraceMs: Infinity });
    source.end();
    source.yield([]);
    await clock.advance(1e12);
    expect(instancer.snapshot.instances).toEqual([a]);
    await instancer.close();
    expect(clock.pending).toBe(0);
  });

  it("is reported once", async () => {
    const [messages, stop] = hear(channels.emptyHeld);
    const { source, clock } = await live();
    source.end();
    for (let watch = 0; watch < 20; watch++) {
      source.yield([]);
      source.yield([]);
      source.end();
    }
    await clock.advance(10_000);
    stop();
    expect(messages).toStrictEqual([{ service: "lorem", graceMs: 30_000 }]);
  });

  it("leaves no timer if whoever hears of it closes the instancer", async () => {
    const { source, clock, instancer } = await live();
    const stop = channels.emptyHeld.subscribe(() => void instancer.close());
    source.end();
    source.yield([]);
    await clock.advance(1_000);
    stop();
    expect(clock.pending).toBe(0);
  });
});

describe("junk from a source", () => {
  it("is skipped, counted and reported, and the rest is taken", async () => {
    const [messages, stop] = hear(channels.badRecord);
    const { source, clock, instancer, listen } = scripted();
    listen();
    const nan = Object.freeze({ ...b, id: "nan", weight: Number.NaN });
    const portless = { ...b, id: "portless", port: 0 };
    source.yield([a, null as unknown as Instance, nan, b, portless]);
    await clock.advance(0);
    stop();
    expect(brief(instancer)).toBe("1 live a,b");
    expect(messages).toHaveLength(1);
    expect(messages[0]).toMatchObject({ registry: "scripted", service: "lorem", skipped: 3 });
    expect(messages[0]?.errors.map(({ record }) => record)).toEqual([null, nan, portless]);
    expect(messages[0]?.errors.every(({ error }) => isDiscoveryError(error, "INVALID_OPTION"))).toBe(true);
  });

  it.each<[string, unknown]>([
    ["nothing", undefined],
    ["null", null],
    ["a number", 7],
    ["HTML", "<html>"],
    ["an object", {}],
    ["nothing but bad records", [null, { id: "x" }]],
  ])("that is %s is a failure: the last good set is kept and the source asked again", async (_what, junk) => {
    const { source, clock, instancer, seen } = await live();
    source.yield(junk as readonly Instance[]);
    await clock.advance(0);
    expect(instancer.snapshot).toMatchObject({ state: "stale", instances: [a] });
    source.yield([b]);
    await clock.advance(250);
    expect(seen).toEqual(["2 stale a", "3 live b"]);
    expect([source.watches, source.active]).toEqual([2, 1]);
  });

  it("does not stop the loop, even if the source never ends; its signal tells it to", async () => {
    let watches = 0;
    const signals: AbortSignal[] = [];
    const stuck: Source = {
      name: "stuck",
      async *watch(signal) {
        signals.push(signal);
        try {
          yield (watches++ === 0 ? null : [a]) as readonly Instance[];
          await hang();
        } finally {
          await hang();
        }
      },
    };
    const { clock, instancer, listen } = setup(stuck);
    listen();
    await clock.advance(1_000);
    expect(brief(instancer)).toBe("2 live a");
    expect(signals.map((signal) => signal.aborted)).toEqual([true, false]);
  });
});

describe("listeners", () => {
  it("that throw disturb nobody; the error goes to the channel", async () => {
    const [messages, stop] = hear(channels.listenerError);
    const { source, clock, instancer, seen, listen } = scripted();
    instancer.subscribe(() => {
      throw down;
    });
    listen();
    source.yield([a]);
    source.yield([b]);
    await clock.advance(0);
    stop();
    expect(seen).toEqual(["1 live a", "2 live b"]);
    expect(messages).toEqual([{ error: down }, { error: down }]);
  });

  it("that reject disturb nobody; the error goes to the channel", async () => {
    const [messages, stop] = hear(channels.listenerError);
    const { source, clock, instancer } = scripted();
    const listener: () => unknown = () => Promise.reject(down);
    instancer.subscribe(listener);
    source.yield([a]);
    await clock.advance(0);
    stop();
    expect(messages).toEqual([{ error: down }]);
  });

  it("that subscribe others do not start another watch, and the others hear of the next change", async () => {
    const { source, clock, instancer, seen, listen } = scripted();
    const once = instancer.subscribe(() => {
      listen();
      once();
    });
    source.yield([a]);
    await clock.advance(0);
    source.yield([b]);
    await clock.advance(0);
    expect([source.watches, source.active]).toEqual([1, 1]);
    expect(seen).toEqual(["2 live b"]);
  });

  it("that all leave in the middle of a notification stop the watch", async () => {
    const { source, clock, instancer, seen, listen } = scripted();
    instancer.subscribe(() => {
      for (const leave of leaves) leave();
    });
    const leaves = [listen(), listen()];
    leaves.push(instancer.subscribe(ignore));
    source.yield([a]);
    await clock.advance(0);
    expect(seen).toEqual([]);
    expect(source.active).toBe(1);
  });

  it("that leave and come back inside their own call get a fresh watch", async () => {
    const { source, clock, instancer, seen, listen } = scripted();
    const leave = instancer.subscribe(() => {
      leave();
      listen();
    });
    source.yield([a]);
    await clock.advance(0);
    source.yield([b]);
    await clock.advance(0);
    expect([source.watches, source.active, source.aborted]).toEqual([2, 1, 1]);
    expect(seen).toEqual(["2 live b"]);
  });
});

describe("close", () => {
  /** Everything an instancer can be doing when it is closed. */
  const moments: [string, (all: Awaited<ReturnType<typeof live>>) => Promise<void>][] = [
    ["never having been used", async () => undefined],
    ["a parked poll", async ({ clock }) => clock.advance(5)],
    [
      "the back-off",
      async ({ source, clock }) => {
        source.fail(down);
        await clock.advance(100);
      },
    ],
    [
      "the grace period",
      async ({ source, clock }) => {
        source.fail(down);
        source.yield([]);
        await clock.advance(5_000);
      },
    ],
    [
      "an unread answer",
      async ({ source }) => {
        source.yield([b]);
      },
    ],
    [
      "an unread failure",
      async ({ source }) => {
        source.fail(down);
      },
    ],
  ];

  it.each(moments)("during %s ends everything at once: no notification, no timer, no watch", async (_when, reach) => {
    const all = await live();
    await reach(all);
    const { source, clock, instancer, seen } = all;
    seen.length = 0;
    const before = instancer.snapshot;
    await instancer.close();
    expect(clock.pending).toBe(0);
    source.yield([b]);
    source.fail(down);
    await clock.advance(120_000);
    expect([seen, source.active, clock.pending]).toEqual([[], 0, 0]);
    expect(instancer.snapshot).toBe(before);
  });

  it("is no failure of the source: nothing is reported, neither then nor when the last listener leaves", async () => {
    const [messages, stop] = hear(channels.sourceFailed);
    const { clock, instancer, listen, leave } = await live();
    leave();
    await clock.advance(1_000);
    listen();
    await clock.advance(0);
    await instancer.close();
    await clock.advance(1_000);
    stop();
    expect(messages).toEqual([]);
  });

  it("is idempotent, and all calls share one promise", async () => {
    const { instancer } = await live();
    const closing = instancer.close();
    expect(instancer.close()).toBe(closing);
    expect(instancer[Symbol.asyncDispose]()).toBe(closing);
    await closing;
    expect(instancer.close()).toBe(closing);
  });

  it("makes subscribe throw, and leaving afterwards harmless", async () => {
    const { source, clock, instancer, leave } = await live();
    await instancer.close();
    let error: unknown;
    try {
      instancer.subscribe(ignore);
    } catch (caught) {
      error = caught;
    }
    expect(isDiscoveryError(error, "CLOSED")).toBe(true);
    expect((error as ClosedError).message).toContain("lorem");
    leave();
    leave();
    await clock.advance(0);
    expect(source.watches).toBe(1);
  });

  it("before the first listener starts nothing", async () => {
    const { source, instancer } = scripted();
    await instancer.close();
    expect(() => instancer.subscribe(ignore)).toThrow("closed");
    expect(source.watches).toBe(0);
  });

  it("in a listener keeps the later ones from being called", async () => {
    const { source, clock, instancer, seen, listen } = scripted();
    listen();
    instancer.subscribe(() => void instancer.close());
    listen();
    source.yield([a]);
    source.yield([b]);
    await clock.advance(1_000);
    expect(seen).toEqual(["1 live a"]);
    expect([source.active, clock.pending]).toEqual([0, 0]);
  });

  it("does not wait for a source that ignores its signal or whose clean-up hangs", async () => {
    const deaf: Source = {
      name: "deaf",
      async *watch() {
        try {
          yield [a];
          await hang();
        } finally {
          await hang();
        }
      },
    };
    const { clock, instancer, listen } = setup(deaf);
    listen();
    await clock.advance(0);
    await instancer.close();
    expect(clock.pending).toBe(0);
  });

  it("hands the source a reason that says so", async () => {
    let given: AbortSignal | undefined;
    const { clock, instancer, listen } = setup({
      name: "asking",
      async *watch(signal) {
        given = signal;
        yield [a];
        await hang();
      },
    });
    listen();
    await clock.advance(0);
    expect(given?.aborted).toBe(false);
    await instancer.close();
    expect(isDiscoveryError(given?.reason, "CLOSED")).toBe(true);
  });

  it("survives a source that comes back to close it", async () => {
    const [clock, closings]: [ReturnType<typeof manualClock>, Promise<void>[]] = [manualClock(), []];
    const instancer: Instancer = createInstancer(
      "lorem",
      {
        name: "recursive",
        async *watch(signal) {
          signal.addEventListener("abort", () => closings.push(instancer.close()));
          yield [a];
          await hang();
        },
      },
      { env: clock.env },
    );
    instancer.subscribe(ignore);
    await clock.advance(0);
    const closing = instancer.close();
    await closing;
    expect(closings).toEqual([closing]);
  });

  it("makes no unhandled rejection of what a source throws upon it", async () => {
    const unhandled: unknown[] = [];
    const onUnhandled = (error: unknown): void => void unhandled.push(error);
    process.on("unhandledRejection", onUnhandled);
    const { clock, instancer, listen } = setup({
      name: "sore",
      async *watch(signal) {
        yield [a];
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
        await new Promise((resolve) => setImmediate(resolve));
        throw signal.reason;
      },
    });
    listen();
    await clock.advance(0);
    await instancer.close();
    await turns();
    process.off("unhandledRejection", onUnhandled);
    expect(unhandled).toEqual([]);
    expect(brief(instancer)).toBe("1 live a");
  });

  it("works with await using", async () => {
    const { source, clock } = scripted();
    {
      await using instancer = createInstancer("lorem", source, { env: clock.env });
      instancer.subscribe(ignore);
      await clock.advance(0);
      expect(source.active).toBe(1);
    }
    await clock.advance(0);
    expect(source.active).toBe(0);
  });
});

describe("in the long run", () => {
  it("no listener and no timer gathers, however often the watch fails, is lost or says something", async () => {
    const signals = new Set<AbortSignal>();
    let [round, most] = [0, 0];
    const restless: Source = {
      name: "restless",
      async *watch(signal) {
        signals.add(signal);
        most = Math.max(most, getEventListeners(signal, "abort").length);
        if (++round % 3 === 0) throw down;
        yield round % 2 === 0 ? [a] : [a, b];
        yield [];
      },
    };
    const { clock, instancer, listen } = setup(restless);
    listen();
    for (let step = 0; step < 3_000; step++) {
      await clock.runNext();
      expect(clock.pending).toBeLessThanOrEqual(2);
    }
    expect(round).toBeGreaterThan(2_000);
    expect(most).toBeLessThanOrEqual(2);
    await instancer.close();
    expect(clock.pending).toBe(0);
    for (const signal of signals) expect(getEventListeners(signal, "abort")).toEqual([]);
  });
});

describe("createInstancer", () => {
  it.each<[string, unknown, unknown, unknown, string]>([
    ["an empty service", "", scriptedSource(), {}, "service"],
    ["a service that is no string", 7, scriptedSource(), {}, "service"],
    ["no source", "lorem", undefined, {}, "source"],
    ["a source that cannot watch", "lorem", { name: "x" }, {}, "source"],
    ["an unknown option", "lorem", scriptedSource(), { graceMs: 1 }, "graceMs"],
    ["an environment that is none", "lorem", scriptedSource(), { env: { now: 1 } }, "env"],
    ["a negative grace period", "lorem", scriptedSource(), { emptyGraceMs: -1 }, "emptyGraceMs"],
    ["a grace period that is NaN", "lorem", scriptedSource(), { emptyGraceMs: Number.NaN }, "emptyGraceMs"],
  ])("refuses %s, before it starts anything", (_what, service, source, options, path) => {
    let error: unknown;
    try {
      createInstancer(service as string, source as ScriptedSource, options as object);
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ code: "INVALID_OPTION", path });
  });

  it("accepts a source that is the instance of a class, and calls it as its method", async () => {
    class Polling implements Source {
      readonly name = "polling";
      readonly set = [a];
      async *watch(): AsyncGenerator<readonly Instance[]> {
        yield this.set;
      }
    }
    const { clock, instancer, listen } = setup(new Polling());
    listen();
    await clock.advance(0);
    expect(brief(instancer)).toBe("1 live a");
  });
});
