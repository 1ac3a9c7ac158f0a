import "reflect-metadata";
import { once } from "node:events";
import { type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Controller, Get, type INestApplication, Res } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { type MicroserviceOptions, Transport } from "@nestjs/microservices";
import { type MemoryRegistry, type Registry, createRegistry, memoryRegistry, untilAborted } from "@rollcall/core";
import type { HttpClient } from "@rollcall/http";
import { beforeEach, describe, expect, it, vi } from "vitest";
import {
  ADAPTERS,
  type Adapter,
  application,
  closing,
  freePort,
  listen,
  moduleOf,
  until,
} from "../test/application.ts";
import {
  Announcer,
  DiscoveryModule,
  type ForRootOptions,
  type Instances,
  getClientToken,
  getInstancesToken,
} from "./index.ts";

let registry: MemoryRegistry;

beforeEach(() => {
  registry = closing(memoryRegistry());
});

/** A registry that takes its time until it is let go. */
function slow(): { registry: Registry; accepted: Set<string>; letGo: () => void } {
  const gate = Promise.withResolvers<void>();
  const accepted = new Set<string>();
  const made = createRegistry({
    name: "slow",
    source: () => ({ name: "slow", watch: async function* () {} }),
    sink: ({ id }) => ({
      name: "slow",
      async register(_, signal) {
        await untilAborted(gate.promise, signal);
        accepted.add(id);
        return { remove: async () => void accepted.delete(id) };
      },
    }),
  });
  return { registry: closing(made), accepted, letGo: gate.resolve };
}

let hanging: ServerResponse[];

/** A request that hangs: how it ends. */
function hang(url: string): Promise<"answered" | "cut"> {
  return fetch(`${url}/hang`).then(
    () => "answered",
    () => "cut",
  );
}

@Controller()
class HangController {
  @Get("/hang")
  hang(@Res() answer: ServerResponse & { raw?: ServerResponse; hijack?: () => void }): void {
    answer.hijack?.(); // Fastify is told that the answer is made here
    hanging.push(answer.raw ?? answer);
  }
}

function app(options: Partial<ForRootOptions>, adapter: Adapter = "express"): Promise<INestApplication<Server>> {
  hanging = [];
  const discovery = DiscoveryModule.forRoot({ registry, register: { service: "shop" }, drainMs: 0, ...options });
  return application({ imports: [discovery], controllers: [HangController] }, adapter);
}

describe.each(ADAPTERS)("the life of an application on %s", (adapter) => {
  it("serves a liveness check beside the readiness check, which stays well during the drain", async () => {
    const health = { path: "/ready", live: "/live" };
    const shop = await app({ register: { service: "shop", health }, drainMs: 200 }, adapter);
    shop.setGlobalPrefix("api");
    const url = await listen(shop);
    await shop.get(Announcer).ready();
    const statuses = async (): Promise<number[]> =>
      Promise.all(["/ready", "/live"].map(async (path) => (await fetch(url + path)).status));
    expect([await statuses(), shop.get(Announcer).draining]).toEqual([[200, 200], false]);
    const closed = shop.close();
    await until(() => expect(registry.instances("shop")).toEqual([]));
    expect([await statuses(), shop.get(Announcer).draining]).toEqual([[503, 200], true]);
    await closed;
  });

  it("cuts requests that hang after graceMs, and not before", async () => {
    const shop = await app({ graceMs: 300 }, adapter);
    const url = await listen(shop);
    await shop.get(Announcer).ready();
    const hung = hang(url);
    await until(() => expect(hanging).toHaveLength(1));
    const startedMs = performance.now();
    const closed = shop.close();
    expect(await hung).toBe("cut");
    expect(performance.now() - startedMs).toBeGreaterThan(300);
    await closed;
    expect(performance.now() - startedMs).toBeLessThan(5_000);
  });

  it("ends as gracefully where nothing is announced: clients leave, what hangs is cut after graceMs", async () => {
    const client = await app({ register: false, graceMs: 300 }, adapter);
    const url = await listen(client);
    const hung = hang(url);
    await until(() => expect(hanging).toHaveLength(1));
    const startedMs = performance.now();
    const closed = client.close();
    await until(() => expect(client.get(Announcer).draining).toBe(true));
    expect((await fetch(`${url}/none`)).headers.get("connection")).toBe("close");
    expect(await hung).toBe("cut");
    await closed;
    expect(performance.now() - startedMs).toBeGreaterThan(290);
    expect(performance.now() - startedMs).toBeLessThan(5_000);
  });

  it("cuts what hangs where nothing is announced at the second signal, too", async () => {
    const client = await app({ register: false, graceMs: 60_000 }, adapter);
    const url = await listen(client);
    const hung = hang(url);
    await until(() => expect(hanging).toHaveLength(1));
    // As Nest calls it at the first signal; what it does next is to close the server.
    await client.get(Announcer).beforeApplicationShutdown("SIGUSR2");
    client.getHttpServer().close();
    process.emit("SIGUSR2");
    expect(await hung).toBe("cut");
    await client.close();
  });

  it("with required, listens only when it is registered", async () => {
    const gate = slow();
    const shop = await app({ registry: gate.registry, required: true }, adapter);
    let listening = false;
    const done = listen(shop).then(() => (listening = true));
    await until(() => expect(shop.getHttpServer().listening).toBe(true));
    await delay(30);
    expect(listening).toBe(false);
    gate.letGo();
    await done;
    expect(gate.accepted.size).toBe(1);
  });

  it("with required, is refused its start without its registry, and does not listen", async () => {
    registry.stop(new Error("registry is down"));
    const shop = await app({ required: true }, adapter);
    await expect(shop.listen(0, "127.0.0.1")).rejects.toThrow("registry is down");
    expect(shop.getHttpServer().listening).toBe(false);
    registry.start();
    await delay(700);
    expect(registry.instances("shop")).toEqual([]);
    await shop.close();
  });

  it("with required, is refused its start when it is closed meanwhile", async () => {
    const gate = slow();
    const shop = await app({ registry: gate.registry, required: true }, adapter);
    const refused = expect(shop.listen(0, "127.0.0.1")).rejects.toThrow("closed");
    await until(() => expect(shop.getHttpServer().listening).toBe(true));
    await shop.close();
    await refused;
    gate.letGo();
    await delay(20);
    expect(gate.accepted.size).toBe(0);
  });

  it.each([false, true])(
    "does not begin when the port is taken, and fails as Nest does (required: %s)",
    async (required) => {
      const other = createServer().listen(0, "127.0.0.1");
      await once(other, "listening");
      const { port } = other.address() as AddressInfo;
      try {
        const plain = await application({}, adapter);
        const own: unknown = await plain.listen(port, "127.0.0.1").catch((error: unknown) => error);
        expect(own).toMatchObject({ code: "EADDRINUSE" });
        const shop = await app({ required }, adapter);
        await expect(shop.listen(port, "127.0.0.1")).rejects.toEqual(own);
        await delay(20);
        expect(registry.instances("shop")).toEqual([]);
        await shop.close();
        await expect(shop.get(Announcer).ready()).rejects.toThrow("closed before it was registered");
      } finally {
        other.close();
      }
    },
  );

  it("leaves the registry at once when somebody else closes its server", async () => {
    const shop = await app({ drainMs: 60_000 }, adapter);
    await listen(shop);
    await shop.get(Announcer).ready();
    shop.getHttpServer().close();
    await until(() => expect(registry.instances("shop")).toEqual([]));
    await shop.close();
  });

  it("is registered by app.listen() though a test has opened and closed its server before", async () => {
    const shop = await (await app({}, adapter)).init();
    const server: Server = shop.getHttpServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    server.close();
    await once(server, "close");
    await listen(shop);
    await shop.get(Announcer).ready();
    expect(registry.instances("shop")).toHaveLength(1);
  });

  it("registers nothing when it is closed while it begins to listen", async () => {
    const shop = await app({}, adapter);
    const listening = shop.listen(0, "127.0.0.1").catch(() => undefined);
    const closed = shop.close();
    await Promise.race([listening, delay(500)]);
    await closed;
    await delay(50);
    expect(registry.instances("shop")).toEqual([]);
  });
});

describe("required, where nothing is registered", () => {
  const start = async (options: Partial<ForRootOptions>, ...features: string[]): Promise<INestApplication> => {
    const imports = [
      DiscoveryModule.forRoot({ registry, required: true, ...options }),
      DiscoveryModule.forFeature(...features),
    ];
    return (await application({ imports })).init();
  };

  it("is about reading: the services of all features, or any", async () => {
    await start({});
    await start({}, "lorem", "other");
    const read = vi.spyOn(registry, "instancer");
    registry.stop(new Error("registry is down"));
    await expect(start({})).rejects.toThrow("registry is down");
    expect(read).toHaveBeenCalledWith("rollcall");
    await expect(start({}, "lorem")).rejects.toThrow("registry is down");
  });

  it("does not let a test that only calls init() wait for a registration", async () => {
    registry.stop(new Error("registry is down"));
    await start({ register: { service: "shop" } });
  });
});

describe("application contexts", () => {
  it("have clients and live views, and announce nothing", async () => {
    const url = new URL(await listen(await app({})));
    const imports = [DiscoveryModule.forRoot({ registry }), DiscoveryModule.forFeature("shop")];
    const context = closing(await NestFactory.createApplicationContext(moduleOf({ imports }), { logger: false }));
    await context.get(Announcer).ready();
    const client: HttpClient = context.get(getClientToken("shop"));
    expect((await client.request("/nothing")).statusCode).toBe(404);
    const instances: Instances = context.get(getInstancesToken("shop"));
    expect(Array.from(instances, ({ port }) => port)).toEqual([Number(url.port)]);
    await context.close();
    await expect(client.request("/")).rejects.toMatchObject({ code: "CLOSED" });
  });
});

describe("microservices", () => {
  const tcp = (port: number): MicroserviceOptions => ({
    transport: Transport.TCP,
    options: { host: "127.0.0.1", port },
  });
  const forRoot = (port: number, more: Partial<ForRootOptions> = {}) =>
    DiscoveryModule.forRoot({
      registry,
      register: { service: "worker", host: "127.0.0.1", port },
      drainMs: 300,
      ...more,
    });

  it("are registered when their transport listens, and not in init()", async () => {
    const port = await freePort();
    const imports = [forRoot(port)];
    const worker = closing(
      await NestFactory.createMicroservice(moduleOf({ imports }), { ...tcp(port), logger: false }),
    );
    await worker.init();
    await delay(30);
    expect(registry.instances("worker")).toEqual([]);
    await worker.listen();
    await worker.get(Announcer).ready();
    expect(registry.instances("worker")).toEqual([expect.objectContaining({ host: "127.0.0.1", port })]);
  });

  it("are not waited for when close() has closed their transport before it called any hook", async () => {
    const port = await freePort();
    const imports = [forRoot(port, { drainMs: 60_000 })];
    const worker = closing(
      await NestFactory.createMicroservice(moduleOf({ imports }), { ...tcp(port), logger: false }),
    );
    await worker.listen();
    await worker.get(Announcer).ready();
    await worker.close();
    expect(registry.instances("worker")).toEqual([]);
  });

  it("with required, refuse their start while the registry cannot be read", async () => {
    registry.stop(new Error("registry is down"));
    const port = await freePort();
    const module = moduleOf({ imports: [forRoot(port, { required: true })] });
    const worker = closing(await NestFactory.createMicroservice(module, { ...tcp(port), logger: false }));
    await expect(worker.listen()).rejects.toThrow("registry is down");
  });

  it("of a hybrid application are announced beside its HTTP server", async () => {
    const port = await freePort();
    const imports = [
      DiscoveryModule.forRoot({ registry, register: { service: "shop" }, drainMs: 0 }),
      forRoot(port, { name: "tcp", drainMs: 0 }),
    ];
    const hybrid = await application({ imports });
    hybrid.connectMicroservice(tcp(port));
    await hybrid.startAllMicroservices();
    const url = new URL(await listen(hybrid));
    await hybrid.get(Announcer).ready();
    const ports = ["shop", "worker"].map((service) => registry.instances(service).map((instance) => instance.port));
    expect(ports).toEqual([[Number(url.port)], [port]]);
    await hybrid.close();
    expect([...registry.instances("shop"), ...registry.instances("worker")]).toEqual([]);
  });
});
