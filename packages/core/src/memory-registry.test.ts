import { getEventListeners } from "node:events";
import { manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import type { Instancer } from "./instancer.ts";
import { type MemoryRegistryOptions, memoryRegistry } from "./memory-registry.ts";

const init = { service: "lorem", host: "10.0.0.1", port: 80, id: "a" };
const ignore = (): void => undefined;

function setup(options: Omit<MemoryRegistryOptions, "env"> = {}) {
  const clock = manualClock();
  const registry = memoryRegistry({ env: clock.env, ...options });
  /** Registers an instance of lorem with this id. */
  const register = async (id: string, rest: object = {}) => {
    const registrar = registry.registrar({ ...init, id, ...rest });
    await registrar.register();
    return registrar;
  };
  /** Watches a query. */
  const watch = (query: Parameters<typeof registry.instancer>[0] = "lorem") => {
    const instancer = registry.instancer(query);
    const seen: string[] = [];
    instancer.subscribe(() => seen.push(brief(instancer)));
    return { instancer, seen };
  };
  /** The ids that are registered now. */
  const ids = (service = "lorem"): string[] =>
    registry
      .instances(service)
      .map((instance) => instance.id)
      .toSorted();
  return { clock, registry, register, watch, ids };
}

/** `stale a,b` */
function brief({ snapshot }: Instancer): string {
  return `${snapshot.state} ${snapshot.instances.map((instance) => instance.id).join()}`;
}

describe("memoryRegistry", () => {
  it("shows what is registered as soon as register resolves, and no longer when deregister does", async () => {
    const { clock, register, watch, ids } = setup();
    const { seen } = watch();
    await clock.advance(0);
    const registrar = await register("a");
    expect(ids()).toEqual(["a"]);
    await clock.advance(0);
    await registrar.deregister();
    expect(ids()).toEqual([]);
    await clock.advance(0);
    expect(seen).toEqual(["live ", "live a", "live "]);
  });

  it("round-trips everything an instance has", async () => {
    const { clock, registry, watch } = setup();
    const full = { ...init, host: "::1", weight: 0.5, zone: "z", tags: ["t", "u"], metadata: { k: "v" } };
    await registry.registrar(full).register();
    const { instancer } = watch();
    await clock.advance(0);
    expect(instancer.snapshot.instances).toStrictEqual([full]);
  });

  it("tells services apart whose names begin alike, and selects by all tags", async () => {
    const { clock, registry, register, watch } = setup();
    await register("a", { tags: ["x", "y"] });
    await register("b", { tags: ["x"] });
    await registry.registrar({ ...init, service: "lorem-2", id: "c", tags: ["x", "y"] }).register();
    const found = [
      watch("lorem"),
      watch({ service: "lorem", tags: ["y", "x"] }),
      watch({ service: "lorem", tags: ["z"] }),
      watch({ service: "lorem-2", passingOnly: false }),
      watch("lor"),
    ];
    await clock.advance(0);
    expect(found.map(({ instancer }) => brief(instancer))).toEqual(["live a,b", "live a", "live ", "live c", "live "]);
  });

  it("misses no change, however many come between two looks", async () => {
    const { clock, register, watch } = setup();
    const { instancer } = watch();
    const registrars = await Promise.all(["a", "b", "c", "d"].map((id) => register(id)));
    await clock.advance(0);
    expect(brief(instancer)).toBe("live a,b,c,d");
    await Promise.all(registrars.slice(1).map((registrar) => registrar.deregister()));
    await clock.advance(0);
    expect(brief(instancer)).toBe("live a");
  });

  it("notifies nobody of what does not concern its service", async () => {
    const { clock, registry, register, watch } = setup();
    await register("a");
    const { seen } = watch();
    await clock.advance(0);
    await registry.registrar({ ...init, service: "ipsum" }).register();
    await clock.advance(60_000);
    expect(seen).toEqual(["live a"]);
  });

  it("keeps what is renewed for ever, and forgets by its TTL what is not", async () => {
    const { clock, registry, register, ids } = setup();
    await register("a");
    await register("b");
    await clock.advance(1_000_000);
    expect(ids()).toEqual(["a", "b"]);
    registry.freeze("a");
    await clock.advance(15_000);
    expect(ids()).toEqual(["b"]);
  });

  it("lives as long as its TTL says, and renews three times as often", async () => {
    const { clock, registry, register, watch } = setup({ ttlMs: 300 });
    await register("a");
    const { seen } = watch();
    await clock.advance(50); // renewed next at 100: the record then lives until 400
    await clock.advance(60);
    registry.freeze("a");
    await clock.advance(289);
    expect(seen).toEqual(["live a"]);
    await clock.advance(1);
    expect(seen).toEqual(["live a", "live "]);
  });

  it("a frozen instance does not come back, nor does anybody deregister it, until it registers anew", async () => {
    const { clock, registry, register, ids } = setup();
    const frozen = await register("a");
    registry.freeze("a");
    await frozen.deregister();
    expect(ids()).toEqual(["a"]);
    await clock.advance(15_000);
    expect(ids()).toEqual([]);
    await frozen.register();
    await clock.advance(60_000);
    expect(ids()).toEqual(["a"]);
  });

  it("freezing an id that nobody has does nothing", () => {
    setup().registry.freeze("nobody");
  });

  it("lets the newest registration of an id count: neither renewing nor removing the older one touches it", async () => {
    const { clock, registry, register, ids } = setup();
    const older = await register("a");
    const newer = await register("a", { weight: 5 });
    expect(registry.instances("lorem").map((instance) => instance.weight)).toEqual([5]);
    await older.deregister();
    expect(ids()).toEqual(["a"]);
    await clock.advance(60_000);
    expect(registry.instances("lorem").map((instance) => instance.weight)).toEqual([5]);
    await newer.deregister();
    expect(ids()).toEqual([]);
  });

  it("shows no gap when an id is taken over: the older record's end is not the newer one's", async () => {
    const { clock, registry, register, watch } = setup();
    const older = await register("a");
    const { seen } = watch();
    await clock.advance(0);
    registry.freeze("a");
    await clock.advance(10_000);
    await register("a", { weight: 5 });
    await clock.advance(60_000);
    expect(seen).toEqual(["live a", "live a"]);
    expect(older.registered).toBe(true);
  });

  it("tells the same id of two services apart", async () => {
    const { registry, register, ids } = setup();
    const lorem = await register("a");
    await registry.registrar({ ...init, service: "ipsum" }).register();
    await lorem.deregister();
    expect([ids("lorem"), ids("ipsum")]).toEqual([[], ["a"]]);
  });

  it("two registries have nothing in common", async () => {
    const [one, other] = [setup(), setup()];
    await one.register("a");
    expect([one.ids(), other.ids()]).toEqual([["a"], []]);
  });
});

describe("a memory registry that is stopped", () => {
  it("makes watches stale at once and rejects writes; started again, all is well without anybody's help", async () => {
    const { clock, registry, register, watch, ids } = setup();
    const registrar = await register("a");
    const { instancer, seen } = watch();
    await clock.advance(0);
    const error = new Error("killed");
    registry.stop(error);
    await clock.advance(0);
    expect(instancer.snapshot).toMatchObject({ state: "stale", error });
    const late = registry.registrar({ ...init, id: "b" });
    await expect(late.register()).rejects.toBe(error);
    await expect(registrar.deregister()).rejects.toBe(error);
    void registrar.register();
    await clock.advance(8_000);
    registry.start();
    await clock.advance(2_000);
    expect(ids()).toEqual(["a", "b"]);
    expect(brief(instancer)).toBe("live a,b");
    expect(seen[1]).toBe("stale a");
  });

  it("has an error of its own if none is given", async () => {
    const { clock, registry, watch } = setup();
    registry.stop();
    const { instancer } = watch();
    await clock.advance(0);
    expect(instancer.snapshot).toMatchObject({ state: "pending", error: { message: "memory registry is stopped" } });
  });

  it("and started in the same turn has broken its watches all the same", async () => {
    const { clock, registry, register, watch } = setup();
    await register("a");
    const { seen } = watch();
    await clock.advance(0);
    registry.stop();
    registry.start();
    await clock.advance(2_000);
    expect(seen).toEqual(["live a", "stale a", "live a"]);
  });

  it("for longer than the TTL loses its records, and gets back those whose owners live", async () => {
    const { clock, registry, register, watch, ids } = setup();
    await register("a");
    await register("b");
    registry.freeze("b");
    const { seen } = watch();
    await clock.advance(0);
    registry.stop();
    await clock.advance(60_000);
    expect(ids()).toEqual([]);
    registry.start();
    await clock.advance(3_000);
    expect(ids()).toEqual(["a"]);
    expect(seen).toEqual(["live a,b", "stale a,b", "live a"]);
  });
});

describe("a memory registry that is wiped", () => {
  it("gets its instances back by itself, and its clients never see an empty set", async () => {
    const { clock, registry, register, watch, ids } = setup();
    await register("a");
    await register("b");
    const { seen } = watch();
    await clock.advance(0);
    registry.wipe();
    expect(ids()).toEqual([]);
    await clock.advance(15_000);
    expect(ids()).toEqual(["a", "b"]);
    expect(seen.some((line) => line.endsWith(" "))).toBe(false);
    expect(seen.at(-1)).toBe("live a,b");
  });

  it("and stopped, as when a server restarts with an empty disk", async () => {
    const { clock, registry, register, watch } = setup();
    await register("a");
    const { seen } = watch();
    await clock.advance(0);
    registry.stop();
    registry.wipe();
    await clock.advance(5_000);
    registry.start();
    await clock.advance(15_000);
    expect(seen).toEqual(["live a", "stale a", "live a"]);
  });

  it("is believed to be empty after the grace period if nobody comes back", async () => {
    const { clock, registry, register, watch } = setup({ emptyGraceMs: 10_000 });
    await register("a");
    registry.freeze("a");
    const { seen } = watch();
    await clock.advance(0);
    registry.wipe();
    await clock.advance(9_000);
    expect(seen).toEqual(["live a"]);
    await clock.advance(3_000);
    expect(seen).toEqual(["live a", "live "]);
  });
});

describe("closing a memory registry", () => {
  it("deregisters, ends its watches, and leaves no timer", async () => {
    const { clock, registry, register, watch, ids } = setup();
    const registrar = await register("a");
    const { seen } = watch();
    await clock.advance(0);
    await registry.close();
    expect([ids(), registrar.registered, clock.pending]).toEqual([[], false, 0]);
    await clock.advance(60_000);
    expect(seen).toEqual(["live a"]);
  });

  it.each<[string, (registry: ReturnType<typeof memoryRegistry>) => void]>([
    ["stopped", (registry) => registry.stop()],
    ["wiped", (registry) => registry.wipe()],
    ["frozen", (registry) => registry.freeze("a")],
  ])("leaves no timer when it is %s", async (_how, hurt) => {
    const { clock, registry, register, watch } = setup();
    await register("a");
    watch();
    await clock.advance(0);
    hurt(registry);
    await clock.advance(100);
    await registry.close();
    await clock.advance(60_000);
    expect(clock.pending).toBe(0);
  });

  it("works with await using, and leaves nothing on its watches' signals", async () => {
    const clock = manualClock();
    const before = process.listenerCount("exit");
    {
      await using registry = memoryRegistry({ env: clock.env });
      registry.instancer("lorem").subscribe(ignore);
      await registry.registrar(init).register();
    }
    expect([clock.pending, process.listenerCount("exit")]).toEqual([0, before]);
    expect(getEventListeners(process, "exit")).toHaveLength(before);
  });
});

describe("the options of memoryRegistry", () => {
  it.each<[string, unknown, string]>([
    ["an unknown one", { ttl: 5 }, "ttl"],
    ["a TTL of nothing", { ttlMs: 0 }, "ttlMs"],
    ["a negative TTL", { ttlMs: -1 }, "ttlMs"],
    ["a TTL that is NaN", { ttlMs: Number.NaN }, "ttlMs"],
    ["a negative grace period", { emptyGraceMs: -1 }, "emptyGraceMs"],
    ["an environment that is none", { env: { now: "noon" } }, "env"],
    ["null", null, "options"],
  ])("are refused: %s", (_what, options, path) => {
    let error: unknown;
    try {
      memoryRegistry(options as MemoryRegistryOptions);
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ code: "INVALID_OPTION", path });
  });
});
