import { manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { type Cache, createCache } from "./cache.ts";
import { channels } from "./channels.ts";
import { isDiscoveryError } from "./errors.ts";
import { type Instance, type InstanceInit, createInstance } from "./instance.ts";

const make = (id: string, rest: Partial<InstanceInit> = {}): Instance =>
  createInstance({ service: "lorem", host: "10.0.0.1", port: 80, id, ...rest });

const [a, b, c] = [make("a"), make("b"), make("c")];
const down = new Error("registry is down");

/** Counts the notifications of a cache. */
function count(cache: Cache): () => number {
  let calls = 0;
  cache.subscribe(() => calls++);
  return () => calls;
}

describe("a new cache", () => {
  it("is pending, at revision 0, with a frozen empty set and no error", () => {
    const { snapshot } = createCache();
    expect(snapshot).toStrictEqual({ state: "pending", revision: 0, instances: [] });
    expect([snapshot, snapshot.instances].every(Object.isFrozen)).toBe(true);
  });

  it("refuses options it does not know, and an environment that is none", () => {
    expect(() => createCache({ clock: 1 } as object)).toThrow("clock");
    expect(() => createCache({ env: { now: 5 } as object })).toThrow("env");
  });
});

describe("update", () => {
  it("makes the cache live, also with nothing", () => {
    const cache = createCache();
    const calls = count(cache);
    cache.update([]);
    expect(cache.snapshot).toStrictEqual({ state: "live", revision: 1, instances: [] });
    expect(calls()).toBe(1);
  });

  it("sorts by address, then id, by code units", () => {
    const unsorted = [
      make("é", { host: "b.example" }),
      make("z", { host: "b.example" }),
      make("Z", { host: "b.example" }),
      make("1", { host: "10.0.0.2", port: 9 }),
      make("2", { host: "10.0.0.10", port: 9 }),
      make("3", { host: "10.0.0.2", port: 80 }),
      make("4", { host: "::1" }),
      make("5", { host: "B.example" }),
    ];
    const cache = createCache();
    cache.update(unsorted);
    expect(cache.snapshot.instances.map((instance) => instance.id)).toEqual(["2", "3", "1", "5", "4", "Z", "z", "é"]);
  });

  it("collapses duplicate ids; the first wins", () => {
    const cache = createCache();
    cache.update([make("a", { weight: 2 }), b, make("a", { weight: 3, host: "10.9.9.9" })]);
    expect(cache.snapshot.instances).toEqual([make("a", { weight: 2 }), b]);
  });

  it("does not change what it is given, and does not keep it either", () => {
    const given = [c, a, a, b];
    const cache = createCache();
    cache.update(given);
    expect(given).toEqual([c, a, a, b]);
    expect(Object.isFrozen(given)).toBe(false);
    given.length = 0;
    expect(cache.snapshot.instances).toEqual([a, b, c]);
  });

  it("takes a frozen array", () => {
    const cache = createCache();
    cache.update(Object.freeze([b, a]));
    expect(cache.snapshot.instances).toEqual([a, b]);
  });

  it("freezes the set, and copies instances that their maker could still change", () => {
    const open = { ...a, tags: ["t"], metadata: { k: "v" } };
    const cache = createCache();
    cache.update([open]);
    open.tags.push("u");
    open.metadata.k = "changed";
    open.host = "10.9.9.9";
    const [kept] = cache.snapshot.instances;
    expect(kept).toStrictEqual(make("a", { tags: ["t"], metadata: { k: "v" } }));
    expect([cache.snapshot.instances, kept, kept?.tags, kept?.metadata].every(Object.isFrozen)).toBe(true);
    expect([open, open.tags].some(Object.isFrozen)).toBe(false);
  });

  it("ignores what else an instance carries, such as a backend's own record", () => {
    const cache = createCache();
    cache.update([{ ...a, record: { Node: "x" } } as Instance]);
    expect(cache.snapshot.instances).toStrictEqual([a]);
  });

  it.each<[string, unknown]>([
    ["no instance at all", null],
    ["an instance without an address", { id: "x", service: "lorem" }],
    ["a weight that is NaN, though frozen", Object.freeze({ ...b, weight: Number.NaN })],
  ])("refuses %s, and stays as it was", (_what, junk) => {
    const cache = createCache();
    cache.update([a]);
    const before = cache.snapshot;
    let error: unknown;
    try {
      cache.update([b, junk as Instance]);
    } catch (caught) {
      error = caught;
    }
    expect(isDiscoveryError(error, "INVALID_OPTION")).toBe(true);
    expect(cache.snapshot).toBe(before);
  });

  it("tells nobody about an equal set while live, in whatever order and however often", () => {
    const cache = createCache();
    cache.update([a, b, c]);
    const before = cache.snapshot;
    const calls = count(cache);
    cache.update([c, b, a]);
    cache.update([make("b"), a, make("b", { weight: 9 }), make("c"), a]);
    expect(cache.snapshot).toBe(before);
    expect(calls()).toBe(0);
  });

  it("keeps the identity of the array when a set is equal, and of the instances that did not change", () => {
    const cache = createCache();
    cache.update([a, b]);
    const { instances } = cache.snapshot;
    cache.fail(down);
    expect(cache.snapshot.instances).toBe(instances);
    cache.update([make("b"), make("a")]);
    expect(cache.snapshot.instances).toBe(instances);
    cache.update([make("a"), make("b", { weight: 2 })]);
    expect(cache.snapshot.instances).not.toBe(instances);
    expect(cache.snapshot.instances[0]).toBe(a);
    expect(instances).toEqual([a, b]);
  });

  it.each<[string, Partial<InstanceInit>]>([
    ["host", { host: "10.0.0.2" }],
    ["port", { port: 81 }],
    ["weight", { weight: 2 }],
    ["zone", { zone: "a" }],
    ["tags", { tags: ["t"] }],
    ["metadata", { metadata: { k: "v" } }],
  ])("notices that the %s of an instance changed", (_what, change) => {
    const cache = createCache();
    cache.update([a]);
    const calls = count(cache);
    cache.update([make("a", change)]);
    expect(calls()).toBe(1);
    expect(cache.snapshot.instances).toEqual([make("a", change)]);
  });

  it("notifies while stale, even if the set is equal, and is live without an error then", () => {
    const cache = createCache();
    cache.update([a]);
    cache.fail(down);
    const calls = count(cache);
    cache.update([a]);
    expect(calls()).toBe(1);
    expect(cache.snapshot).toStrictEqual({ state: "live", revision: 3, instances: [a] });
  });

  it("notifies while pending with an error, even with nothing, and the error is gone", () => {
    const cache = createCache();
    cache.fail(down);
    const calls = count(cache);
    cache.update([]);
    expect(calls()).toBe(1);
    expect(cache.snapshot).toStrictEqual({ state: "live", revision: 2, instances: [] });
  });
});

describe("fail", () => {
  it("keeps the first error while pending, and tells of it once", () => {
    const cache = createCache();
    const calls = count(cache);
    cache.fail(down);
    cache.fail(new Error("later"));
    expect(cache.snapshot).toStrictEqual({ state: "pending", revision: 1, instances: [], error: down });
    expect(calls()).toBe(1);
  });

  it("keeps undefined for a first error, if that is what was thrown", () => {
    const cache = createCache();
    const calls = count(cache);
    cache.fail(undefined);
    cache.fail(down);
    expect(cache.snapshot).toStrictEqual({ state: "pending", revision: 1, instances: [], error: undefined });
    expect(calls()).toBe(1);
  });

  it("makes a live cache stale: the last good set, the error, and since when", async () => {
    const clock = manualClock({ startMs: 1_000 });
    const cache = createCache({ env: clock.env });
    cache.update([a]);
    await clock.advance(234);
    const calls = count(cache);
    cache.fail(down);
    expect(cache.snapshot).toStrictEqual({
      state: "stale",
      revision: 2,
      instances: [a],
      error: down,
      staleSinceMs: 1_234,
    });
    expect(Object.isFrozen(cache.snapshot)).toBe(true);
    expect(calls()).toBe(1);
  });

  it("makes a cache stale that was live and empty", () => {
    const cache = createCache();
    cache.update([]);
    cache.fail(down);
    expect(cache.snapshot).toMatchObject({ state: "stale", instances: [], error: down });
  });

  it("changes nothing and tells nobody while stale, until the next update", async () => {
    const clock = manualClock();
    const cache = createCache({ env: clock.env });
    cache.update([a]);
    cache.fail(down);
    const before = cache.snapshot;
    const calls = count(cache);
    await clock.advance(500);
    cache.fail(new Error("later"));
    expect(cache.snapshot).toBe(before);
    expect(calls()).toBe(0);
    cache.update([a]);
    cache.fail(new Error("anew"));
    expect(cache.snapshot).toMatchObject({ state: "stale", staleSinceMs: 500, error: new Error("anew") });
  });

  it("holds no timer", () => {
    const clock = manualClock();
    const cache = createCache({ env: clock.env });
    cache.update([a]);
    cache.fail(down);
    expect(clock.pending).toBe(0);
  });
});

describe("listeners", () => {
  it("run synchronously inside update and fail, in the order of subscription, and see the new snapshot", () => {
    const cache = createCache();
    const seen: string[] = [];
    for (const name of ["1", "2", "3"]) cache.subscribe(() => seen.push(`${name}:${cache.snapshot.revision}`));
    cache.update([a]);
    expect(seen).toEqual(["1:1", "2:1", "3:1"]);
    cache.fail(down);
    expect(seen.slice(3)).toEqual(["1:2", "2:2", "3:2"]);
  });

  it("are not called when they subscribe", () => {
    const cache = createCache();
    cache.update([a]);
    expect(count(cache)()).toBe(0);
  });

  it("are called once per subscription, when the same function subscribes twice", () => {
    const cache = createCache();
    let calls = 0;
    const listener = (): void => void calls++;
    const first = cache.subscribe(listener);
    cache.subscribe(listener);
    cache.update([a]);
    expect(calls).toBe(2);
    first();
    first();
    cache.update([]);
    expect(calls).toBe(3);
  });

  it("that throw disturb no other and do not reach the updater; the error goes to the channel", () => {
    const errors: unknown[] = [];
    const unsubscribe = channels.listenerError.subscribe(({ error }) => errors.push(error));
    const cache = createCache();
    const before = count(cache);
    cache.subscribe(() => {
      throw down;
    });
    const after = count(cache);
    cache.update([a]);
    cache.fail(down);
    unsubscribe();
    expect([before(), after()]).toEqual([2, 2]);
    expect(errors).toEqual([down, down]);
  });

  it("that reject do not reach the process; the error goes to the channel", async () => {
    const [errors, unhandled]: [unknown[], unknown[]] = [[], []];
    const unsubscribe = channels.listenerError.subscribe(({ error }) => errors.push(error));
    const onUnhandled = (reason: unknown): void => void unhandled.push(reason);
    process.on("unhandledRejection", onUnhandled);
    const cache = createCache();
    // What the compiler lets pass where a function of no result is wanted.
    const listener: () => unknown = () => Promise.reject(down);
    cache.subscribe(listener);
    cache.update([a]);
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", onUnhandled);
    unsubscribe();
    expect(errors).toEqual([down]);
    expect(unhandled).toEqual([]);
  });

  it("that unsubscribe themselves disturb no other", () => {
    const cache = createCache();
    const seen: string[] = [];
    const leave = cache.subscribe(() => {
      seen.push("once");
      leave();
    });
    cache.subscribe(() => seen.push("always"));
    cache.update([a]);
    cache.update([b]);
    expect(seen).toEqual(["once", "always", "always"]);
  });

  it("that unsubscribe a later one in time prevent its call", () => {
    const cache = createCache();
    let calls = 0;
    cache.subscribe(() => leave());
    const leave = cache.subscribe(() => calls++);
    cache.update([a]);
    expect(calls).toBe(0);
  });

  it("that are subscribed by a listener hear of the next change, not of this one", () => {
    const cache = createCache();
    let calls = 0;
    const leave = cache.subscribe(() => {
      leave();
      cache.subscribe(() => calls++);
    });
    cache.update([a]);
    expect(calls).toBe(0);
    cache.update([b]);
    expect(calls).toBe(1);
  });

  it("that update the cache themselves make nobody hear of one revision twice, nor of an older one late", () => {
    const cache = createCache();
    const seen: string[] = [];
    const record = (name: string) => (): void => void seen.push(`${name}:${cache.snapshot.revision}`);
    cache.subscribe(record("before"));
    cache.subscribe(() => {
      record("updater")();
      if (cache.snapshot.revision === 1) cache.update([a, b]);
      if (cache.snapshot.revision === 2) cache.fail(down);
    });
    cache.subscribe(record("after"));
    cache.update([a]);
    expect(cache.snapshot).toMatchObject({ state: "stale", revision: 3, instances: [a, b] });
    expect(seen).toEqual(["before:1", "updater:1", "before:2", "updater:2", "before:3", "updater:3", "after:3"]);
  });

  it("that update the cache for ever do not reach the updater", () => {
    const cache = createCache();
    let weight = 1;
    cache.subscribe(() => cache.update([make("a", { weight: ++weight })]));
    expect(() => cache.update([a])).not.toThrow();
  });
});
