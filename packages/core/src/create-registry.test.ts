import { manualClock, scriptedSink, scriptedSource } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { type NormalizedQuery, type RegistryParts, createRegistry } from "./create-registry.ts";
import { type Instance, createInstance } from "./instance.ts";
import type { ServiceQuery } from "./registry.ts";

const init = { service: "lorem", host: "10.0.0.1", port: 80 };
const [a, b] = [createInstance(init), createInstance({ ...init, port: 81 })];
const ignore = (): void => undefined;

/** A registry whose every source and sink is scripted, and which writes down what it is asked for. */
function setup(parts: Partial<RegistryParts> = {}) {
  const clock = manualClock();
  const queries: NormalizedQuery[] = [];
  const sources: ReturnType<typeof scriptedSource>[] = [];
  const sunk: Instance[] = [];
  const sink = scriptedSink({ renewEveryMs: 1_000 });
  const ends: string[] = [];
  const registry = createRegistry({
    name: "scripted",
    env: clock.env,
    source(query) {
      queries.push(query);
      const source = scriptedSource();
      sources.push(source);
      return source;
    },
    sink(instance) {
      sunk.push(instance);
      return sink;
    },
    close: async () => void ends.push("connection"),
    ...parts,
  });
  return { clock, queries, sources, sunk, sink, ends, registry };
}

/** The error that `run` throws. */
function thrown(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe("instancers of a registry", () => {
  it("cost one watch for the same query, however it is put", async () => {
    const { clock, queries, sources, registry } = setup();
    const asked: (ServiceQuery | string)[] = [
      "lorem",
      { service: "lorem" },
      { service: "lorem", tags: [] },
      { service: "lorem", tags: undefined, passingOnly: undefined },
      { service: "lorem", passingOnly: true },
    ];
    for (const query of asked) registry.instancer(query).subscribe(ignore);
    await clock.advance(0);
    expect(queries).toStrictEqual([{ service: "lorem", tags: [], passingOnly: true }]);
    expect(sources.map((source) => source.watches)).toEqual([1]);
  });

  it("cost one watch for the same tags in any order, however often one is named; the query is not changed", async () => {
    const { queries, registry } = setup();
    const tags = ["b", "a", "b"];
    registry.instancer({ service: "lorem", tags });
    registry.instancer({ service: "lorem", tags: ["a", "b"] });
    registry.instancer(Object.freeze({ service: "lorem", tags: Object.freeze(["b", "a"]) }));
    expect(queries).toStrictEqual([{ service: "lorem", tags: ["a", "b"], passingOnly: true }]);
    expect(tags).toEqual(["b", "a", "b"]);
  });

  it("are different for different queries, also for those that look alike when joined", () => {
    const { queries, registry } = setup();
    for (const query of [
      { service: "lorem" },
      { service: "ipsum" },
      { service: "lorem", passingOnly: false },
      { service: "lorem", tags: ["a"] },
      { service: "lorem", tags: ["a,b"] },
      { service: "lorem", tags: ["a", "b"] },
      { service: "lorem", tags: ["true"] },
      { service: "lorem,a" },
    ]) {
      registry.instancer(query);
    }
    expect(queries).toHaveLength(8);
  });

  it("do no I/O before the first listener", async () => {
    const { clock, sources, registry } = setup();
    const instancer = registry.instancer("lorem");
    await clock.advance(60_000);
    expect([instancer.service, instancer.snapshot.state]).toEqual(["lorem", "pending"]);
    expect([sources[0]?.watches, clock.pending]).toEqual([0, 0]);
  });

  it("see the same snapshot, and each its own notifications", async () => {
    const { clock, sources, registry } = setup();
    const [first, second] = [registry.instancer("lorem"), registry.instancer("lorem")];
    expect(first).not.toBe(second);
    const seen: string[] = [];
    first.subscribe(() => seen.push("first"));
    second.subscribe(() => seen.push("second"));
    sources[0]?.yield([b, a]);
    await clock.advance(0);
    expect(seen).toEqual(["first", "second"]);
    expect(first.snapshot).toBe(second.snapshot);
    expect(first.snapshot.instances).toEqual([a, b]);
  });

  it("are closed one by one: the others go on, and the watch ends with the last", async () => {
    const { clock, sources, registry } = setup();
    const handles = [registry.instancer("lorem"), registry.instancer("lorem"), registry.instancer("lorem")];
    const calls: number[] = [];
    for (const [index, handle] of handles.entries()) handle.subscribe(() => calls.push(index));
    const [source] = sources;
    let weight = 0;
    for (const [index, handle] of handles.entries()) {
      source?.yield([createInstance({ ...init, weight: ++weight })]);
      await clock.advance(0);
      await handle.close();
      await handle.close();
      await clock.advance(0);
      expect(source?.active).toBe(index < 2 ? 1 : 0);
      expect(thrown(() => handle.subscribe(ignore))).toMatchObject({ code: "CLOSED" });
    }
    expect(calls).toEqual([0, 1, 2, 1, 2, 2]);
    expect(clock.pending).toBe(0);
  });

  it("that are closed twice, also at once, do not close those of others", async () => {
    const { clock, sources, registry } = setup();
    const [mine, other] = [registry.instancer("lorem"), registry.instancer("lorem")];
    other.subscribe(ignore);
    await Promise.all([mine.close(), mine.close(), mine[Symbol.asyncDispose]()]);
    await mine.close();
    await clock.advance(0);
    expect(sources[0]?.active).toBe(1);
    expect(() => other.subscribe(ignore)).not.toThrow();
  });

  it("that are closed by what their own closing sets off do not close those of others", async () => {
    const clock = manualClock();
    const registry = createRegistry({
      name: "recursive",
      env: clock.env,
      source: () => ({
        name: "recursive",
        async *watch(signal) {
          signal.addEventListener("abort", () => void mine.close());
          yield [a];
          await new Promise(ignore);
        },
      }),
      sink: () => scriptedSink(),
    });
    const mine = registry.instancer("lorem");
    mine.subscribe(ignore);
    await clock.advance(0);
    const other = registry.instancer("lorem");
    await mine.close();
    expect(() => other.subscribe(ignore)).not.toThrow();
  });

  it("that were closed stay silent while others listen", async () => {
    const { clock, sources, registry } = setup();
    const [mine, other] = [registry.instancer("lorem"), registry.instancer("lorem")];
    const seen: string[] = [];
    mine.subscribe(() => seen.push("mine"));
    other.subscribe(() => seen.push("other"));
    await mine.close();
    sources[0]?.yield([a]);
    await clock.advance(0);
    expect(seen).toEqual(["other"]);
  });

  it("closed by a listener keep their later listeners from being called, but not those of others", async () => {
    const { clock, sources, registry } = setup();
    const [mine, other] = [registry.instancer("lorem"), registry.instancer("lorem")];
    const seen: string[] = [];
    mine.subscribe(() => void mine.close());
    mine.subscribe(() => seen.push("mine"));
    other.subscribe(() => seen.push("other"));
    sources[0]?.yield([a]);
    await clock.advance(0);
    expect(seen).toEqual(["other"]);
  });

  it("leave a listener that leaves twice no harm", async () => {
    const { clock, sources, registry } = setup();
    const [mine, other] = [registry.instancer("lorem"), registry.instancer("lorem")];
    const leave = mine.subscribe(ignore);
    other.subscribe(ignore);
    leave();
    leave();
    await mine.close();
    leave();
    await clock.advance(0);
    expect(sources[0]?.active).toBe(1);
  });

  it("begin anew, pending, after all of the same query were closed", async () => {
    const { clock, sources, registry } = setup();
    const first = registry.instancer("lorem");
    first.subscribe(ignore);
    sources[0]?.yield([a]);
    await clock.advance(0);
    await first.close();
    const second = registry.instancer("lorem");
    expect(sources).toHaveLength(2);
    expect(second.snapshot.state).toBe("pending");
    await first.close();
    second.subscribe(ignore);
    await clock.advance(0);
    expect(sources[1]?.active).toBe(1);
  });

  it("hold back an empty answer as long as the registry says", async () => {
    const { clock, sources, registry } = setup({ emptyGraceMs: 5_000 });
    const instancer = registry.instancer("lorem");
    instancer.subscribe(ignore);
    sources[0]?.yield([a]);
    sources[0]?.end();
    sources[0]?.yield([]);
    await clock.advance(250 + 4_999);
    expect(instancer.snapshot.instances).toEqual([a]);
    await clock.advance(1);
    expect(instancer.snapshot.instances).toEqual([]);
  });

  it.each<[string, unknown, string]>([
    ["nothing", undefined, "options"],
    ["null", null, "options"],
    ["an empty name", "", "service"],
    ["a blank service", { service: " " }, "service"],
    ["no service", {}, "service"],
    ["one tag that is no array", { service: "lorem", tags: "a" }, "tags"],
    ["a tag that is no string", { service: "lorem", tags: [1] }, "tags"],
    ["passingOnly that is no boolean", { service: "lorem", passingOnly: "yes" }, "passingOnly"],
    ["an unknown key", { service: "lorem", tag: "a" }, "tag"],
  ])("refuse %s", (_what, query, path) => {
    const { queries, registry } = setup();
    expect(thrown(() => registry.instancer(query as string))).toMatchObject({ code: "INVALID_OPTION", path });
    expect(queries).toEqual([]);
  });
});

describe("registrars of a registry", () => {
  it("complete their instance, and write nothing before register", async () => {
    const { clock, sink, sunk, registry } = setup();
    const registrar = registry.registrar(init);
    await clock.advance(60_000);
    expect(registrar.instance).toStrictEqual(a);
    expect(sunk).toEqual([registrar.instance]);
    expect([sink.operations, registrar.registered, clock.pending]).toEqual([[], false, 0]);
  });

  it("register, renew and deregister", async () => {
    const { clock, sink, registry } = setup();
    const registrar = registry.registrar(init);
    await registrar.register();
    expect(registrar.registered).toBe(true);
    await clock.advance(1_000);
    await registrar.deregister();
    expect(registrar.registered).toBe(false);
    expect(sink.operations).toEqual(["register", "renew", "remove"]);
  });

  it("heed signals", async () => {
    const { registry } = setup();
    const registrar = registry.registrar(init);
    const reason = new Error("enough");
    await expect(registrar.register({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await registrar.register();
    await expect(registrar.deregister({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  it("are independent of each other, and of the instancers", async () => {
    const { sink, registry, sources, clock } = setup();
    const [first, second] = [registry.registrar(init), registry.registrar({ ...init, port: 81 })];
    registry.instancer("lorem").subscribe(ignore);
    await Promise.all([first.register(), second.register()]);
    await first.close();
    await clock.advance(1_000);
    expect([...sink.registered.values()]).toEqual([b]);
    expect([second.registered, sources[0]?.active]).toEqual([true, 1]);
  });

  it("refuse a bad instance at construction", () => {
    const { registry, sunk } = setup();
    expect(thrown(() => registry.registrar({ ...init, port: 0 }))).toMatchObject({
      code: "INVALID_OPTION",
      path: "port",
    });
    expect(sunk).toEqual([]);
  });
});

describe("closing a registry", () => {
  it("closes its instancers, then deregisters, then closes the connection, and nothing stays", async () => {
    const { clock, sources, sink, ends, registry } = setup();
    const instancer = registry.instancer("lorem");
    let calls = 0;
    instancer.subscribe(() => calls++);
    const registrar = registry.registrar(init);
    await registrar.register();
    sink.hang("remove");
    const closing = registry.close();
    await clock.advance(100);
    expect([ends, sources[0]?.active]).toEqual([[], 0]);
    sink.accept();
    await closing;
    expect(ends).toEqual(["connection"]);
    expect([sink.registered.size, registrar.registered, clock.pending]).toEqual([0, false, 0]);
    sources[0]?.yield([a]);
    await clock.advance(60_000);
    expect([calls, instancer.snapshot.state]).toEqual([0, "pending"]);
  });

  it("is idempotent, and all calls share one promise", async () => {
    const { ends, registry } = setup();
    const closing = registry.close();
    expect(registry.close()).toBe(closing);
    expect(registry[Symbol.asyncDispose]()).toBe(closing);
    await closing;
    await registry.close();
    expect(ends).toEqual(["connection"]);
  });

  it("makes everything that was made from it, and the making of more, end with ClosedError", async () => {
    const { registry } = setup();
    const [instancer, registrar] = [registry.instancer("lorem"), registry.registrar(init)];
    const closing = registry.close();
    expect(thrown(() => registry.instancer("lorem"))).toMatchObject({ code: "CLOSED" });
    expect(thrown(() => registry.registrar(init))).toMatchObject({ code: "CLOSED" });
    expect(thrown(() => instancer.subscribe(ignore))).toMatchObject({ code: "CLOSED" });
    await expect(registrar.register()).rejects.toMatchObject({ code: "CLOSED" });
    await closing;
    await Promise.all([instancer.close(), registrar.close(), registrar.deregister()]);
    await expect(registrar.register()).rejects.toMatchObject({ code: "CLOSED" });
  });

  it("does not deregister again what was closed before", async () => {
    const { sink, registry } = setup();
    const registrar = registry.registrar(init);
    await registrar.register();
    await registrar.close();
    await registry.close();
    expect(sink.operations).toEqual(["register", "remove"]);
  });

  it("is held up by a registry that does not answer for two seconds at most", async () => {
    const { clock, sink, ends, registry } = setup();
    for (const port of [81, 82, 83]) await registry.registrar({ ...init, port }).register();
    sink.hang("remove");
    const closing = registry.close();
    await clock.advance(2_000);
    await closing;
    expect([ends, clock.pending]).toEqual([["connection"], 0]);
  });

  it("keeps the process alive while it closes, but not for ever", async () => {
    const { clock, registry } = setup({ close: () => new Promise(() => undefined) });
    void registry.close();
    await clock.advance(9_999);
    expect(clock.keptAlive).toBe(1);
    await clock.advance(1);
    expect(clock.pending).toBe(0);
  });

  it("rejects if the connection cannot be closed, after everything else is", async () => {
    const failure = new Error("stuck");
    const { sink, registry } = setup({ close: () => Promise.reject(failure) });
    await registry.registrar(init).register();
    await expect(registry.close()).rejects.toBe(failure);
    expect(sink.registered.size).toBe(0);
  });

  it("works without a connection to close", async () => {
    const { registry } = setup({ close: undefined });
    await expect(registry.close()).resolves.toBeUndefined();
  });
});

describe("createRegistry", () => {
  it("has the name it is given", () => {
    expect(setup().registry.name).toBe("scripted");
  });

  it.each<[string, object, string]>([
    ["an empty name", { name: "" }, "name"],
    ["no source", { source: undefined }, "source"],
    ["no sink", { sink: undefined }, "sink"],
    ["a sink that is no function", { sink: scriptedSink() }, "sink"],
    ["a close that is no function", { close: true }, "close"],
    ["an environment that is none", { env: { now: 1 } }, "env"],
    ["a negative grace period", { emptyGraceMs: -1 }, "emptyGraceMs"],
    ["a part it does not know", { sinks: ignore }, "sinks"],
  ])("refuses %s", (_what, parts, path) => {
    expect(thrown(() => setup(parts))).toMatchObject({ code: "INVALID_OPTION", path });
  });
});
