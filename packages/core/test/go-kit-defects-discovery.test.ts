import { type ManualClock, manualClock, scriptedSink, scriptedSource } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import {
  type Endpointer,
  type Instancer,
  type MemoryRegistry,
  address,
  createCache,
  createEndpointer,
  createInstance,
  createInstancer,
  createRegistrar,
  createRegistry,
  memoryRegistry,
} from "../src/index.ts";

// go-kit's `sd` packages have known defects; the numbers are those of our list of them. Each test shows what Rollcall
// does instead, on its public names alone.

const init = { service: "lorem", host: "10.0.0.1", port: 80, id: "a" };
const a = createInstance(init);
const b = createInstance({ ...init, id: "b" });
const down = new Error("registry is down");
const ignore = (): void => undefined;

const ids = (instancer: Instancer): string => instancer.snapshot.instances.map((instance) => instance.id).join();

function memory(clock: ManualClock = manualClock()): { clock: ManualClock; registry: MemoryRegistry } {
  return { clock, registry: memoryRegistry({ env: clock.env }) };
}

describe("what go-kit does wrong in discovering and registering", () => {
  it("1: closing twice panics there; here everything can be closed twice, in any order", async () => {
    const { clock, registry } = memory();
    const [instancer, registrar] = [registry.instancer("lorem"), registry.registrar(init)];
    instancer.subscribe(ignore);
    await registrar.register();
    const closings = [registry, instancer, registrar, registry, instancer, registrar].map((each) => each.close());
    await Promise.all(closings);
    expect(clock.pending).toBe(0);
  });

  it("2: a duplicate instance leaks an endpoint there; here it is one instance, and the first wins", () => {
    const cache = createCache();
    cache.update([a, createInstance({ ...init, weight: 9 }), a]);
    expect(cache.snapshot.instances).toEqual([a]);
  });

  it("5: an outage empties the cache there; here the last good set stays, also for who comes late", async () => {
    const clock = manualClock();
    const source = scriptedSource();
    const instancer = createInstancer("lorem", source, { env: clock.env });
    instancer.subscribe(ignore);
    source.yield([a, b]);
    source.fail(down);
    await clock.advance(0);
    instancer.subscribe(ignore);
    expect(instancer.snapshot).toMatchObject({ state: "stale", instances: [a, b], error: down, staleSinceMs: 0 });
  });

  it("6: a slow factory blocks all others there; here nobody waits for it, nor for a listener", async () => {
    const clock = manualClock();
    const source = scriptedSource();
    const instancer = createInstancer("lorem", source, { env: clock.env });
    const slow: Endpointer<string> = createEndpointer(instancer, () => new Promise<string>(ignore), { env: clock.env });
    const quick = createEndpointer(instancer, ({ id }) => id, { env: clock.env });
    instancer.subscribe(() => {
      throw new Error("a bad listener");
    });
    source.yield([a]);
    await clock.advance(0);
    source.yield([a, b]);
    await clock.advance(0);
    expect(quick.endpoints.map((endpoint) => endpoint.client)).toEqual(["a", "b"]);
    expect(slow.endpoints).toEqual([]);
  });

  it("7: registering twice makes deregistering hang there; here it is one registration, and it ends", async () => {
    const clock = manualClock();
    const sink = scriptedSink({ renewEveryMs: 1_000 });
    const registrar = createRegistrar(a, sink, { env: clock.env });
    await registrar.register();
    await registrar.register();
    await registrar.deregister();
    expect(sink.operations).toEqual(["register", "remove"]);
  });

  it("7: deregistering during a heartbeat brings the dead back there; here nothing is written after it", async () => {
    const clock = manualClock();
    const sink = scriptedSink({ renewEveryMs: 1_000 });
    const registrar = createRegistrar(a, sink, { env: clock.env });
    await registrar.register();
    sink.hang("renew");
    await clock.advance(1_000);
    const deregistering = registrar.deregister();
    await clock.advance(100);
    sink.accept();
    await deregistering;
    await clock.advance(600_000);
    expect(sink.operations).toEqual(["register", "renew", "remove"]);
    expect(sink.registered.size).toBe(0);
  });

  it("8: a watch that ended is not started again there; here it is, and an error is told at once", async () => {
    const clock = manualClock();
    const source = scriptedSource();
    const instancer = createInstancer("lorem", source, { env: clock.env });
    instancer.subscribe(ignore);
    source.yield([a]);
    for (const stop of [() => source.end(), () => source.fail(down)]) {
      stop();
      await clock.advance(3_000);
      expect(source.active).toBe(1);
    }
    expect(instancer.snapshot).toMatchObject({ state: "stale", error: down });
    source.yield([b]);
    await clock.advance(0);
    expect(ids(instancer)).toBe("b");
  });

  it("9: one client for watching and registering breaks the watch there; here one registry does both", async () => {
    const { clock, registry } = memory();
    const instancer = registry.instancer("lorem");
    instancer.subscribe(ignore);
    await clock.advance(0);
    await registry.registrar(init).register();
    await clock.advance(0);
    await registry.registrar({ ...init, id: "b" }).register();
    await clock.advance(60_000);
    expect(ids(instancer)).toBe("a,b");
  });

  it("10: of two registrars on one client one vanishes by its TTL there; here both are renewed", async () => {
    const { clock, registry } = memory();
    await registry.registrar(init).register();
    await registry.registrar({ ...init, id: "b" }).register();
    await clock.advance(600_000);
    expect(registry.instances("lorem")).toHaveLength(2);
  });

  it("11: after an outage longer than the TTL the key is gone for good there; here it is registered anew", async () => {
    const { clock, registry } = memory();
    const registrar = registry.registrar(init);
    const instancer = registry.instancer("lorem");
    instancer.subscribe(ignore);
    await registrar.register();
    await clock.advance(1_000);
    registry.stop(down);
    await clock.advance(60_000);
    expect([registrar.registered, instancer.snapshot.state, ids(instancer)]).toEqual([false, "stale", "a"]);
    registry.start();
    await clock.advance(3_000);
    expect([registrar.registered, instancer.snapshot.state, ids(instancer)]).toEqual([true, "live", "a"]);
  });

  it("12: what happens between reading and watching is lost there; here it is not, however things interleave", async () => {
    for (let hops = 0; hops < 12; hops++) {
      const { clock, registry } = memory();
      await registry.registrar(init).register();
      const instancer = registry.instancer("lorem");
      instancer.subscribe(ignore);
      for (let hop = 0; hop < hops; hop++) await Promise.resolve();
      void registry.registrar({ ...init, id: "b" }).register();
      await clock.advance(0);
      expect(ids(instancer)).toBe("a,b");
    }
  });

  it("13: a service sees those whose names begin with its own there; here it does not", async () => {
    const { clock, registry } = memory();
    for (const service of ["lorem", "lorem2", "lorem/2", "lore"]) {
      await registry.registrar({ ...init, service, id: service }).register();
    }
    const instancer = registry.instancer("lorem");
    instancer.subscribe(ignore);
    await clock.advance(0);
    expect(ids(instancer)).toBe("lorem");
  });

  it("14: a failed re-read kills the watch silently there; here each failure is followed by another try", async () => {
    const clock = manualClock();
    const source = scriptedSource();
    const instancer = createInstancer("lorem", source, { env: clock.env });
    instancer.subscribe(ignore);
    source.yield([a]);
    source.end();
    for (let failure = 0; failure < 20; failure++) source.fail(down);
    source.yield([b]);
    await clock.advance(60_000);
    expect(instancer.snapshot).toMatchObject({ state: "live", instances: [b] });
  });

  it("14: an expired session is not registered again there; here a lost registration is", async () => {
    const clock = manualClock();
    const sink = scriptedSink({ renewEveryMs: 1_000 });
    const registrar = createRegistrar(a, sink, { env: clock.env });
    await registrar.register();
    sink.forget();
    await clock.advance(3_000);
    expect([registrar.registered, sink.registered.size]).toEqual([true, 1]);
  });

  it("18: the back-off cannot be cancelled there, nor the long poll; here closing ends both at once", async () => {
    for (const state of ["parked", "backing off"]) {
      const clock = manualClock();
      const source = scriptedSource();
      const instancer = createInstancer("lorem", source, { env: clock.env });
      instancer.subscribe(ignore);
      if (state === "backing off") source.fail(down);
      await clock.advance(10);
      await instancer.close();
      await clock.advance(0);
      expect([source.active, clock.pending]).toEqual([0, 0]);
    }
  });

  it("18: the news of an error waits for the back-off there; here it comes first", async () => {
    const clock = manualClock();
    const source = scriptedSource();
    const instancer = createInstancer("lorem", source, { env: clock.env });
    let toldAtMs: number | undefined;
    instancer.subscribe(() => (toldAtMs = clock.now()));
    source.fail(down);
    await clock.advance(60_000);
    expect(toldAtMs).toBe(0);
  });

  it("18: good data are thrown away when the index is reset there; here nobody sees an empty set", async () => {
    const { clock, registry } = memory();
    await registry.registrar(init).register();
    const instancer = registry.instancer("lorem");
    const seen: string[] = [];
    instancer.subscribe(() => seen.push(ids(instancer)));
    await clock.advance(0);
    registry.wipe();
    await clock.advance(60_000);
    expect(new Set(seen)).toEqual(new Set(["a"]));
  });

  it("18: an IPv6 address has no brackets there; here it has", () => {
    expect(address(createInstance({ ...init, host: "fe80::1" }))).toBe("[fe80::1]:80");
  });

  it("19: a second Stop blocks for ever there; here it is the same promise", async () => {
    const { registry } = memory();
    const instancer = registry.instancer("lorem");
    instancer.subscribe(ignore);
    await instancer.close();
    await instancer.close();
    expect(registry.close()).toBe(registry.close());
    await registry.close();
  });

  it("20: an update sorts the caller's array in place there; here it is not touched", () => {
    const given = [b, a, b];
    createCache().update(given);
    expect(given).toEqual([b, a, b]);
    const frozen = Object.freeze([b, a]);
    const cache = createCache();
    cache.update(frozen);
    expect(cache.snapshot.instances).toEqual([a, b]);
  });

  it("one watch per method is what its clients cost there; here the same query costs one, however many ask", async () => {
    const clock = manualClock();
    const source = scriptedSource();
    const registry = createRegistry({ name: "x", env: clock.env, source: () => source, sink: () => scriptedSink() });
    for (let client = 0; client < 50; client++) registry.instancer({ service: "lorem" }).subscribe(ignore);
    await clock.advance(0);
    expect(source.watches).toBe(1);
  });
});
