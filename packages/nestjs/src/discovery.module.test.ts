import "reflect-metadata";
import { once } from "node:events";
import { type Server, type ServerResponse, createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import {
  Controller,
  Get,
  Inject,
  Injectable,
  type INestApplication,
  type INestApplicationContext,
  Logger,
  Module,
  type ModuleMetadata,
  Res,
} from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { ExpressAdapter } from "@nestjs/platform-express";
import { FastifyAdapter } from "@nestjs/platform-fastify";
import { Test } from "@nestjs/testing";
import { type MemoryRegistry, type Registry, memoryRegistry } from "@rollcall/core";
import type { HttpClient } from "@rollcall/http";
import { announce } from "@rollcall/http/server";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import {
  DiscoveryModule,
  type DiscoveryModuleOptions,
  InjectClient,
  InjectRegistry,
  Announcer,
  getClientToken,
  getInstancesToken,
  getRegistryToken,
} from "./index.ts";

let registry: MemoryRegistry;
const open: { close(): Promise<unknown> }[] = [];

beforeEach(() => {
  registry = memoryRegistry();
});

afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
  await registry.close();
});

const adapters = {
  express: () => new ExpressAdapter(),
  fastify: () => new FastifyAdapter(),
} as const;

@Controller()
class WordController {
  @Get("/word")
  word(): { message: string } {
    return { message: "lorem" };
  }
}

function root(metadata: ModuleMetadata): new () => object {
  @Module(metadata)
  class RootModule {}
  return RootModule;
}

async function create(
  options: Omit<DiscoveryModuleOptions, "registry"> & { registry?: DiscoveryModuleOptions["registry"] },
  adapter: keyof typeof adapters = "express",
  metadata: ModuleMetadata = {},
): Promise<INestApplication<Server>> {
  const module = root({
    ...metadata,
    imports: [DiscoveryModule.forRoot({ registry, ...options }), ...(metadata.imports ?? [])],
    controllers: [WordController, ...(metadata.controllers ?? [])],
  });
  const app: INestApplication<Server> = await NestFactory.create(module, adapters[adapter](), {
    logger: false,
    abortOnError: false,
  });
  open.push(app);
  return app;
}

async function listen(app: INestApplication<Server>): Promise<number> {
  await app.listen(0, "127.0.0.1");
  return (app.getHttpServer().address() as AddressInfo).port;
}

/** An instance of `lorem` that is no Nest application. */
async function lorem(text: string, tags: readonly string[] = []): Promise<void> {
  const server = createServer((_, response) => response.end(text)).listen(0, "127.0.0.1");
  open.push(await announce(server, { registry, service: "lorem", tags, drainMs: 0, signals: false }));
}

describe.each(["express", "fastify"] as const)("DiscoveryModule on %s", (adapter) => {
  it("registers when the server listens, at its port, and not before", async () => {
    const app = await create({ register: { service: "shop", tags: ["a"], weight: 2 }, drainMs: 0 }, adapter);
    await app.init();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(registry.instances("shop")).toEqual([]);
    const port = await listen(app);
    await app.get(Announcer).ready();
    expect(registry.instances("shop")).toEqual([
      expect.objectContaining({ host: "127.0.0.1", port, tags: ["a"], weight: 2 }),
    ]);
    expect(app.get(Announcer).registrar()?.registered).toBe(true);
  });

  it("never registers in a test that only calls init(), and closes without waiting", async () => {
    const app = await create({ register: { service: "shop", port: 80 }, drainMs: 60_000 }, adapter);
    await app.init();
    await app.close();
    expect(registry.instances("shop")).toEqual([]);
  });

  it("deregisters first, then serves on for drainMs, then closes", async () => {
    const app = await create({ register: { service: "shop", health: { path: "/health" } }, drainMs: 300 }, adapter);
    const url = `http://127.0.0.1:${await listen(app)}`;
    await app.get(Announcer).ready();
    const before = await fetch(`${url}/health`);
    expect([before.status, await before.json()]).toEqual([200, { status: "ok" }]);
    expect(before.headers.get("cache-control")).toBe("no-store");
    const startedMs = performance.now();
    const closing = app.close();
    await vi.waitFor(() => expect(registry.instances("shop")).toEqual([]));
    const after = await fetch(`${url}/health`);
    expect([after.status, await after.json()]).toEqual([503, { status: "draining" }]);
    const word = await fetch(`${url}/word`);
    expect([word.status, word.headers.get("connection")]).toEqual([200, "close"]);
    await closing;
    expect(performance.now() - startedMs).toBeGreaterThan(290);
    expect(performance.now() - startedMs).toBeLessThan(1_500);
    await expect(fetch(`${url}/word`)).rejects.toThrow("fetch failed");
  });

  it("does not wait for connections that were busy when the server closed", async () => {
    let finish = (): void => undefined;
    @Controller()
    class SlowController {
      @Get("/slow")
      slow(@Res() answer: ServerResponse & { raw?: ServerResponse; hijack?: () => void }): void {
        answer.hijack?.(); // Fastify is told that the answer is made here
        const response = answer.raw ?? answer;
        response.write("first,"); // its head has left, as keep-alive, before the shutdown begins
        finish = () => response.end("last");
      }
    }
    const app = await create({ register: { service: "shop" }, drainMs: 0 }, adapter, { controllers: [SlowController] });
    const url = `http://127.0.0.1:${await listen(app)}`;
    await app.get(Announcer).ready();
    const answer = fetch(`${url}/slow`);
    await once(app.getHttpServer(), "request");
    const closing = app.close();
    await vi.waitFor(() => expect(app.getHttpServer().listening).toBe(false));
    finish();
    const finishedMs = performance.now();
    expect(await (await answer).text()).toBe("first,last");
    await closing;
    expect(performance.now() - finishedMs).toBeLessThan(1_000);
  });

  it("serves the health check beside a global prefix and leaves a route of the application alone", async () => {
    @Controller()
    class HealthController {
      @Get("/health")
      health(): string {
        return "own";
      }
    }
    const options = { register: { service: "shop", health: { path: "/health" } }, drainMs: 0 };
    const prefixed = await create(options, adapter);
    prefixed.setGlobalPrefix("api");
    expect(await (await fetch(`http://127.0.0.1:${await listen(prefixed)}/health`)).json()).toEqual({ status: "ok" });
    const own = await create(options, adapter, { controllers: [HealthController] });
    expect(await (await fetch(`http://127.0.0.1:${await listen(own)}/health`)).text()).toBe("own");
  });

  it("injects balanced clients", async () => {
    await lorem("a");
    await lorem("b");
    @Controller()
    class ShopController {
      constructor(@InjectClient("lorem") private readonly client: HttpClient) {}
      @Get("/shop")
      async shop(): Promise<string> {
        return (await this.client.request("/")).body.text();
      }
    }
    const app = await create({}, adapter, {
      imports: [DiscoveryModule.forFeature("lorem")],
      controllers: [ShopController],
    });
    const url = `http://127.0.0.1:${await listen(app)}`;
    const texts: string[] = [];
    for (let n = 0; n < 4; n++) texts.push(await (await fetch(`${url}/shop`)).text());
    expect(texts.toSorted()).toEqual(["a", "a", "b", "b"]);
  });
});

describe("DiscoveryModule", () => {
  it("starts although the registry is down, says so once in Nest's log, and registers when it is back", async () => {
    const lines: string[] = [];
    const module = root({
      imports: [DiscoveryModule.forRoot({ registry, register: { service: "shop" }, drainMs: 0 })],
    });
    registry.stop(new Error("registry is down"));
    const push = (message: unknown): void => void lines.push(String(message));
    const logger = { log: push, error: push, warn: push };
    onTestFinished(() => Logger.overrideLogger(false));
    const app: INestApplication<Server> = await NestFactory.create(module, { logger });
    open.push(app);
    await listen(app);
    await expect(app.get(Announcer).ready()).rejects.toThrow("registry is down");
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(lines.filter((line) => line.includes("registry is down"))).toHaveLength(1);
    registry.start();
    await vi.waitFor(() => expect(registry.instances("shop")).toHaveLength(1), 5_000);
    await app.close();
    expect(lines.filter((line) => line.startsWith("Registered shop-"))).toHaveLength(1);
    expect(lines.filter((line) => line.startsWith("Took back shop-"))).toHaveLength(1);
  });

  it("refuses to start without the registry if that is required", async () => {
    registry.stop(new Error("registry is down"));
    const app = await create({ register: { service: "shop" }, required: true });
    await expect(app.listen(0)).rejects.toThrow("registry is down");
    registry.start();
    const second = await create({ register: { service: "shop" }, required: true, drainMs: 0 });
    await listen(second);
    await second.get(Announcer).ready();
  });

  it("is not held up by a registry that is down at the end, and does not say that it was told", async () => {
    const app = await create({ register: { service: "shop" }, drainMs: 20 });
    const lines: string[] = [];
    const push = (message: unknown): void => void lines.push(String(message));
    app.useLogger({ log: push, error: push, warn: push });
    onTestFinished(() => Logger.overrideLogger(false));
    await listen(app);
    await app.get(Announcer).ready();
    registry.stop(new Error("down"));
    await app.close();
    expect(lines.filter((line) => line.startsWith("Could not deregister shop-"))).toHaveLength(1);
    expect(lines.filter((line) => line.startsWith("Took back"))).toEqual([]);
  });

  it("does not register when the port is taken", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    onTestFinished(() => void other.close());
    const app = await create({ register: { service: "shop" } });
    await expect(app.listen((other.address() as AddressInfo).port, "127.0.0.1")).rejects.toMatchObject({
      code: "EADDRINUSE",
    });
    expect(registry.instances("shop")).toEqual([]);
  });

  it("gives up a registration that is under way when the application closes", async () => {
    registry.stop(new Error("down"));
    const app = await create({ register: { service: "shop" }, drainMs: 60_000 });
    await listen(app);
    await app.close();
    registry.start();
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(registry.instances("shop")).toEqual([]);
  });

  it("advertises the host and port that it is told", async () => {
    const app = await create({ register: { service: "shop", host: "shop.example", port: 80 }, drainMs: 0 });
    await listen(app);
    await app.get(Announcer).ready();
    expect(registry.instances("shop")).toEqual([expect.objectContaining({ host: "shop.example", port: 80 })]);
  });

  it("is a mere client without `register`", async () => {
    const app = await create({ register: false });
    await listen(app);
    expect(app.get(Announcer).registrar()).toBeUndefined();
  });

  it("closes the clients at the end, and the registry only if it made it or is told to", async () => {
    const closed = async (options: Partial<DiscoveryModuleOptions>): Promise<boolean> => {
      const own = memoryRegistry();
      onTestFinished(() => own.close());
      const close = vi.spyOn(own, "close");
      const given = options.registry === undefined ? {} : { registry: () => own };
      const app = await create({ registry: own, ...options, ...given }, "express", {
        imports: [DiscoveryModule.forFeature("lorem")],
      });
      const client: HttpClient = app.get(getClientToken("lorem"));
      expect(app.get(getRegistryToken())).toBe(own);
      await app.init();
      await app.close();
      await expect(client.request("/")).rejects.toMatchObject({ code: "CLOSED" });
      return close.mock.calls.length > 0;
    };
    expect(await closed({})).toBe(false);
    expect(await closed({ registry: () => registry })).toBe(true);
    expect(await closed({ closeRegistry: true })).toBe(true);
    expect(await closed({ registry: () => registry, closeRegistry: false })).toBe(false);
  });

  it("takes its options from a factory, with what that needs", async () => {
    @Injectable()
    class Settings {
      readonly service = "configured";
    }
    @Module({ providers: [Settings], exports: [Settings] })
    class SettingsModule {}
    const module = root({
      imports: [
        DiscoveryModule.forRootAsync({
          imports: [SettingsModule],
          inject: [Settings],
          useFactory: async (settings: Settings) => ({ registry, register: { service: settings.service }, drainMs: 0 }),
        }),
      ],
    });
    const app: INestApplication<Server> = await NestFactory.create(module, { logger: false });
    open.push(app);
    await listen(app);
    await app.get(Announcer).ready();
    expect(registry.instances("configured")).toHaveLength(1);
  });

  it("checks what the factory returned", async () => {
    const module = root({
      imports: [DiscoveryModule.forRootAsync({ useFactory: () => ({ registry, drainMs: -1 }) })],
    });
    await expect(NestFactory.create(module, { logger: false, abortOnError: false })).rejects.toMatchObject({
      code: "INVALID_OPTION",
      path: "drainMs",
    });
  });

  it.each<[string, unknown]>([
    ["registry()", undefined],
    ["registry().instancer", {}],
  ])("refuses a function whose %s is none", async (path, made) => {
    const module = root({ imports: [DiscoveryModule.forRoot({ registry: () => made as Registry })] });
    await expect(NestFactory.create(module, { logger: false, abortOnError: false })).rejects.toMatchObject({
      code: "INVALID_OPTION",
      path,
    });
  });

  it.each<[string, object]>([
    ["registry", { registry: undefined }],
    ["registry.instancer", { registry: {} }],
    ["register.service", { register: {} }],
    ["register.servise", { register: { service: "a", servise: "b" } }],
    ["register.port", { register: { service: "a", port: 0 } }],
    ["register.host", { register: { service: "a", host: "http://a" } }],
    ["register.weight", { register: { service: "a", weight: -1 } }],
    ["register.health.path", { register: { service: "a", health: { path: "health" } } }],
    ["drainMs", { drainMs: "5s" }],
    ["required", { required: 1 }],
    ["nonsense", { nonsense: true }],
  ])("refuses a wrong %s", (path, wrong) => {
    const options = { registry, ...wrong } as DiscoveryModuleOptions;
    expect(() => DiscoveryModule.forRoot(options)).toThrow(expect.objectContaining({ code: "INVALID_OPTION", path }));
  });
});

describe("DiscoveryModule.forFeature", () => {
  it("provides several clients, by service or by name", async () => {
    await lorem("a", ["a"]);
    await lorem("b", ["b"]);
    const features = [
      { name: "first", service: "lorem", tags: ["a"] },
      { name: "second", service: "lorem", tags: ["b"] },
    ];
    const app = await create({}, "express", { imports: [DiscoveryModule.forFeature(...features, "lorem")] });
    const text = async (name: string): Promise<string> =>
      (await app.get<HttpClient>(getClientToken(name)).request("/")).body.text();
    expect([await text("first"), await text("first"), await text("second")]).toEqual(["a", "a", "b"]);
    expect([await text("lorem"), await text("lorem")].toSorted()).toEqual(["a", "b"]);
  });

  it("shares one client among modules that ask for the same", async () => {
    const feature = { service: "lorem", retry: { maxAttempts: 2 } };
    @Module({ imports: [DiscoveryModule.forFeature("other", feature)] })
    class A {}
    @Module({ imports: [DiscoveryModule.forFeature("other", feature)] })
    class B {}
    const app = await create({}, "express", { imports: [A, B] });
    await app.init();
    for (const name of ["other", "lorem"]) {
      const [one, two] = [A, B].map((module) => app.select(module).get(getClientToken(name), { strict: false }));
      expect(one).toBe(two);
    }
  });

  it.each<[string, unknown]>([
    ["service", ""],
    ["service", {}],
    ["feature", undefined],
    ["feature", null],
    ["name", { service: "a", name: "" }],
    ["name", { service: "a", name: 1 }],
    ["retry.timeoutMs", { service: "a", retry: { timeoutMs: -1 } }],
    ["nonsense", { service: "a", nonsense: 1 }],
  ])("refuses a wrong %s", (path, feature) => {
    expect(() => DiscoveryModule.forFeature(feature as string)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION", path }),
    );
  });

  it("begins to discover with the application: one that could not be made leaves nothing running", async () => {
    const instancers = vi.spyOn(registry, "instancer");
    const began = (): boolean => instancers.mock.results.some(({ value }) => value.snapshot.state !== "pending");
    const features = DiscoveryModule.forFeature("lorem");
    const broken = {
      provide: "broken",
      inject: [getClientToken("lorem"), getInstancesToken("lorem")],
      useFactory: () => {
        throw new Error("another provider failed");
      },
    };
    await lorem("a");
    await expect(create({}, "express", { imports: [features], providers: [broken] })).rejects.toThrow("another");
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(began()).toBe(false);
    const app = await create({}, "express", { imports: [features] });
    await app.init();
    await vi.waitFor(() => expect(began()).toBe(true));
  });

  it("refuses calls of a client that was never used after the end", async () => {
    const app = await create({}, "express", { imports: [DiscoveryModule.forFeature("lorem")] });
    const client = app.get<HttpClient>(getClientToken("lorem"));
    await client.close();
    await expect(client.request("/")).rejects.toMatchObject({ code: "CLOSED" });
    expect(client.endpoints).toEqual([]);
  });

  it("refuses two features of one name", () => {
    const wrong = expect.objectContaining({ code: "INVALID_OPTION", path: "name" });
    expect(() => DiscoveryModule.forFeature("a", { service: "a", tags: ["b"] })).toThrow(wrong);
    const feature = { name: "a", useFactory: () => ({}) };
    expect(() => DiscoveryModule.forFeatureAsync(feature, feature)).toThrow(wrong);
  });

  it("injects the registry, and lets tests override clients and registry", async () => {
    @Injectable()
    class Shop {
      constructor(
        @InjectRegistry() readonly registry: Registry,
        @InjectClient("lorem") readonly client: HttpClient,
        @Inject(Announcer) readonly announcer: Announcer,
      ) {}
    }
    const imports = [
      DiscoveryModule.forRoot({ registry, register: { service: "shop" } }),
      DiscoveryModule.forFeature("lorem"),
    ];
    const fake = { request: () => undefined };
    const own = memoryRegistry();
    onTestFinished(() => own.close());
    const testing = await Test.createTestingModule({ imports, providers: [Shop] })
      .setLogger({ log: () => undefined, error: () => undefined, warn: () => undefined })
      .overrideProvider(getClientToken("lorem"))
      .useValue(fake)
      .overrideProvider(getRegistryToken())
      .useValue(own)
      .compile();
    open.push(testing);
    await testing.init();
    expect(testing.get(Shop).client).toBe(fake);
    expect(testing.get(Shop).registry).toBe(own);
    expect(testing.get(Shop).announcer.registrar()).toBeUndefined();
  });
});

describe("DiscoveryModule without an HTTP server", () => {
  async function context(port: number | undefined, metadata: ModuleMetadata = {}): Promise<INestApplicationContext> {
    const register = { service: "worker", host: "127.0.0.1", port };
    const imports = [DiscoveryModule.forRoot({ registry, register, drainMs: 0 })];
    const app = await NestFactory.createApplicationContext(root({ ...metadata, imports }), { logger: false });
    open.push(app);
    return app;
  }

  async function freePort(): Promise<number> {
    const server = createTcpServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, "close");
    return port;
  }

  it("registers when a server of this process listens on the given port, and takes it back", async () => {
    const port = await freePort();
    const app = await context(port);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(registry.instances("worker")).toEqual([]);
    const server = createTcpServer().listen(port, "127.0.0.1");
    onTestFinished(() => void server.close());
    await app.get(Announcer).ready();
    expect(registry.instances("worker")).toEqual([expect.objectContaining({ host: "127.0.0.1", port })]);
    await app.close();
    expect(registry.instances("worker")).toEqual([]);
  });

  it("registers for a server that a provider has started while the application was made", async () => {
    const port = await freePort();
    const server = createTcpServer();
    onTestFinished(() => void server.close());
    @Injectable()
    class Worker {
      async onModuleInit(): Promise<void> {
        server.listen(port, "127.0.0.1");
        await once(server, "listening");
      }
    }
    const app = await context(port, { providers: [Worker] });
    await app.get(Announcer).ready();
    expect(registry.instances("worker")).toHaveLength(1);
  });

  it("does not take the place of another process that listens on that port", async () => {
    const other = createTcpServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    onTestFinished(() => void other.close());
    const app = await context((other.address() as AddressInfo).port);
    await app.close();
    expect(registry.instances("worker")).toEqual([]);
    await expect(app.get(Announcer).ready()).rejects.toThrow("before it was registered");
  });

  it("starts without a port, too, and is not registered", async () => {
    const app = await context(undefined);
    expect(app.get(Announcer).registrar()).toBeUndefined();
  });
});
