import "reflect-metadata";
import { Get, Inject, Injectable } from "@nestjs/common";
import { Test } from "@nestjs/testing";
import { type MemoryRegistry, type Registry, memoryRegistry } from "@rollcall/core";
import type { HttpClient } from "@rollcall/http";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { ADAPTERS, application, closing, controllerOf, instanceOf, listen, until } from "../test/application.ts";
import {
  Announcer,
  DiscoveryModule,
  InjectClient,
  InjectInstances,
  InjectRegistry,
  type Instances,
  getClientToken,
  getInstancesToken,
  getRegistryToken,
} from "./index.ts";

let one: MemoryRegistry;
let two: MemoryRegistry;

beforeEach(() => {
  one = closing(memoryRegistry());
  two = closing(memoryRegistry());
});

describe("several registries", () => {
  it("are injected by their names, and features name theirs", async () => {
    await instanceOf(one, { service: "lorem" }, (_, response) => response.end("one"));
    await instanceOf(two, { service: "lorem" }, (_, response) => response.end("two"));
    @Injectable()
    class Shop {
      constructor(
        @InjectRegistry() readonly one: Registry,
        @InjectRegistry("dc2") readonly two: Registry,
        @InjectClient("lorem") readonly near: HttpClient,
        @InjectClient("far") readonly far: HttpClient,
        @InjectInstances("far") readonly instances: Instances,
      ) {}
    }
    const app = await application({
      imports: [
        DiscoveryModule.forRoot({ registry: one }),
        DiscoveryModule.forRootAsync({ name: "dc2", useFactory: () => ({ registry: two }) }),
        DiscoveryModule.forFeature("lorem", { name: "far", service: "lorem", registry: "dc2" }),
      ],
      providers: [Shop],
    });
    const shop = app.get(Shop);
    expect([shop.one, shop.two]).toEqual([one, two]);
    expect(await (await shop.near.request("/")).body.text()).toBe("one");
    expect(await (await shop.far.request("/")).body.text()).toBe("two");
    expect(shop.instances.instances).toEqual(two.instances("lorem"));
    await expect(app.get(Announcer).ready()).resolves.toBeUndefined();
  });

  it.each(ADAPTERS)("hold the application all at once, and are left all at once, on %s", async (adapter) => {
    const app = await application(
      {
        imports: [
          DiscoveryModule.forRoot({ registry: one, register: { service: "shop" }, drainMs: 1_000 }),
          DiscoveryModule.forRoot({ name: "old", registry: two, register: { service: "store" }, drainMs: 1_000 }),
        ],
        controllers: [controllerOf([Get("/word"), () => "lorem"])],
      },
      adapter,
    );
    const url = await listen(app);
    await app.get(Announcer).ready();
    expect([one.instances("shop").length, two.instances("store").length]).toEqual([1, 1]);
    expect(app.get(Announcer).registrar("old")?.instance.service).toBe("store");
    const startedMs = performance.now();
    const closed = app.close();
    await until(() => expect([...one.instances("shop"), ...two.instances("store")]).toEqual([]));
    expect(performance.now() - startedMs).toBeLessThan(900);
    expect((await fetch(`${url}/word`)).status).toBe(200);
    await closed;
    // One drain of a second, not two one after another.
    expect(performance.now() - startedMs).toBeGreaterThan(990);
    expect(performance.now() - startedMs).toBeLessThan(1_990);
  });

  it("are announced in each on its own: one that is down holds up nobody", async () => {
    two.stop(new Error("dc2 is down"));
    const app = await application({
      imports: [
        DiscoveryModule.forRoot({ registry: one, register: { service: "shop" }, drainMs: 0 }),
        DiscoveryModule.forRoot({ name: "dc2", registry: two, register: { service: "shop" }, drainMs: 0 }),
      ],
    });
    await listen(app);
    await app.get(Announcer).ready("default");
    await expect(app.get(Announcer).ready("dc2")).rejects.toThrow("dc2 is down");
    await expect(app.get(Announcer).ready()).rejects.toThrow("dc2 is down");
    await expect(app.get(Announcer).ready("dc3")).rejects.toMatchObject({ code: "INVALID_OPTION" });
    expect(one.instances("shop")).toHaveLength(1);
  });

  it("refuses the start, and leaves no registration, if one that is required is down", async () => {
    two.stop(new Error("dc2 is down"));
    const app = await application({
      imports: [
        DiscoveryModule.forRoot({ registry: one, register: { service: "shop" } }),
        DiscoveryModule.forRoot({ name: "dc2", registry: two, register: { service: "shop" }, required: true }),
      ],
    });
    await expect(app.listen(0, "127.0.0.1")).rejects.toThrow("dc2 is down");
    expect(one.instances("shop")).toEqual([]);
    two.start();
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(two.instances("shop")).toEqual([]);
    expect(app.getHttpServer().listening).toBe(false);
  });

  it("are closed at the end, if the modules made them", async () => {
    const app = await application({
      imports: [
        DiscoveryModule.forRoot({ registry: one }),
        DiscoveryModule.forRoot({ name: "dc2", registry: () => two }),
      ],
    });
    await app.init();
    await app.close();
    expect(() => two.instancer("lorem")).toThrow(expect.objectContaining({ code: "CLOSED" }));
    expect(() => one.instancer("lorem")).not.toThrow();
  });

  it("refuses two of one name, a name that is none, and a feature of an unknown one", async () => {
    const imports = [DiscoveryModule.forRoot({ registry: one }), DiscoveryModule.forRoot({ registry: two })];
    await expect(application({ imports })).rejects.toMatchObject({ code: "INVALID_OPTION", path: "name" });
    expect(() => DiscoveryModule.forRoot({ name: "", registry: one })).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION", path: "name" }),
    );
    const lost = [
      DiscoveryModule.forRoot({ registry: one }),
      DiscoveryModule.forFeature({ service: "a", registry: "b" }),
    ];
    await expect(application({ imports: lost })).rejects.toThrow("@rollcall/nestjs/registry:b");
  });
});

describe("@InjectInstances", () => {
  it("is a live view, which shares the watch of the client", async () => {
    const watch = vi.spyOn(one, "instancer");
    @Injectable()
    class Shop {
      constructor(@InjectInstances("lorem") readonly lorem: Instances) {}
    }
    const app = await application({
      imports: [
        DiscoveryModule.forRoot({ registry: one }),
        DiscoveryModule.forFeature({ service: "lorem", tags: ["a"] }),
      ],
      providers: [Shop],
    });
    const { lorem } = app.get(Shop);
    await app.get<HttpClient>(getClientToken("lorem")).ready();
    // The same question, so the registry sees one watch.
    expect(watch.mock.calls.map(([query]) => query)).toEqual([
      { service: "lorem", tags: ["a"], passingOnly: undefined },
      { service: "lorem", tags: ["a"], passingOnly: undefined },
    ]);
    expect([lorem.service, lorem.snapshot.state, lorem.instances]).toEqual(["lorem", "live", []]);
    const seen: number[] = [];
    const unsubscribe = lorem.subscribe(() => seen.push(lorem.instances.length));
    await instanceOf(one, { service: "lorem", tags: ["a"] }, (_, response) => response.end());
    await instanceOf(one, { service: "lorem", tags: ["b"] }, (_, response) => response.end());
    await until(() => expect(seen).toEqual([1]));
    expect([...lorem]).toEqual(one.instances("lorem").filter(({ tags }) => tags.includes("a")));
    unsubscribe();
    one.stop(new Error("down"));
    await until(() => expect(lorem.snapshot).toMatchObject({ state: "stale", instances: [...lorem] }));
    expect(seen).toEqual([1]);
    await app.close();
    expect(() => lorem.subscribe(() => undefined)).toThrow(expect.objectContaining({ code: "CLOSED" }));
    expect(lorem.instances).toHaveLength(1);
  });

  it("watches on its own where a test has replaced the client, and can be replaced itself", async () => {
    await instanceOf(one, { service: "lorem" }, (_, response) => response.end());
    @Injectable()
    class Shop {
      constructor(
        @Inject(getInstancesToken("lorem")) readonly lorem: Instances,
        @InjectInstances("other") readonly other: Instances,
      ) {}
    }
    const testing = await Test.createTestingModule({
      imports: [
        DiscoveryModule.forRoot({ registry: () => Promise.reject(new Error("a real registry, in a test?")) }),
        DiscoveryModule.forFeature("lorem", "other"),
      ],
      providers: [Shop],
    })
      .overrideProvider(getRegistryToken())
      .useValue(one)
      .overrideProvider(getClientToken("lorem"))
      .useValue({})
      .overrideProvider(getInstancesToken("other"))
      .useValue({ instances: [] })
      .compile();
    closing(testing);
    const { lorem, other } = testing.get(Shop);
    expect(other).toEqual({ instances: [] });
    expect(lorem.snapshot.state).toBe("pending");
    await until(() => expect([...lorem]).toHaveLength(1));
  });
});
