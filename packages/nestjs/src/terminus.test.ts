import "reflect-metadata";
import type { Server } from "node:http";
import { Controller, Get, Inject, type INestApplication } from "@nestjs/common";
import { HealthCheck, type HealthCheckResult, HealthCheckService, TerminusModule } from "@nestjs/terminus";
import { type MemoryRegistry, memoryRegistry } from "@rollcall/core";
import type { HttpClient } from "@rollcall/http";
import { beforeEach, describe, expect, it } from "vitest";
import { ADAPTERS, type Adapter, application, closing, instanceOf, listen, until } from "../test/application.ts";
import { Announcer, type ClientFeature, DiscoveryModule, type ForRootOptions, getClientToken } from "./index.ts";
import { DiscoveryHealthIndicator, type DiscoveryHealthOptions } from "./terminus.ts";

let registry: MemoryRegistry;

beforeEach(() => {
  registry = closing(memoryRegistry());
});

/** An application with a health check, and how to ask it over HTTP. */
async function start(
  options: Partial<ForRootOptions>,
  features: readonly (ClientFeature | string)[],
  { adapter, check = {} }: { readonly adapter?: Adapter; readonly check?: DiscoveryHealthOptions } = {},
): Promise<{ app: INestApplication<Server>; health: () => Promise<unknown[]> }> {
  @Controller("health")
  class HealthController {
    constructor(
      @Inject(HealthCheckService) readonly checks: HealthCheckService,
      @Inject(DiscoveryHealthIndicator) readonly discovery: DiscoveryHealthIndicator,
    ) {}

    @Get()
    @HealthCheck()
    health(): Promise<HealthCheckResult> {
      return this.checks.check([() => this.discovery.isHealthy("discovery", check)]);
    }
  }
  const app = await application(
    {
      imports: [
        DiscoveryModule.forRoot({ registry, drainMs: 0, ...options }),
        DiscoveryModule.forFeature(...features),
        TerminusModule.forRoot({ logger: false }),
      ],
      controllers: [HealthController],
      providers: [DiscoveryHealthIndicator],
    },
    adapter,
  );
  const url = await listen(app);
  const health = async (): Promise<unknown[]> => {
    const answer = await fetch(`${url}/health`);
    const { details } = (await answer.json()) as { details?: { discovery?: unknown } };
    return [answer.status, details?.discovery];
  };
  return { app, health };
}

const up = (data: object): unknown[] => [200, { status: "up", ...data }];
const degraded = (data: object): unknown[] => [200, { status: "up", degraded: true, ...data }];
const down = (data: object): unknown[] => [503, { status: "down", ...data }];

describe.each(ADAPTERS)("DiscoveryHealthIndicator on %s", (adapter) => {
  it("is up, then degraded while the registry is away, then up again", async () => {
    await instanceOf(registry, { service: "lorem" }, (_, response) => response.end("lorem"));
    const { app, health } = await start({ register: { service: "shop" } }, ["lorem", "none"], { adapter });
    await app.get(Announcer).ready();
    const none = { state: "live", instances: 0 };
    const well = up({
      services: { lorem: { state: "live", instances: 1 }, none },
      registrations: { default: { registered: true } },
    });
    await until(async () => expect(await health()).toEqual(well));

    const stoppedAt = Date.now();
    registry.stop(new Error("connect ECONNREFUSED 10.1.2.3:8500, token s3cret"));
    const staleForMs = expect.any(Number);
    const stale = degraded({
      degradedSince: expect.any(String),
      services: {
        lorem: { state: "stale", instances: 1, staleForMs },
        none: { state: "stale", instances: 0, staleForMs },
      },
      registrations: { default: { registered: true } },
    });
    await until(async () => expect(await health()).toEqual(stale));
    const answer = (await health())[1] as {
      degradedSince: string;
      services: { lorem: { staleForMs: number } };
    };
    expect(Math.abs(Date.parse(answer.degradedSince) - stoppedAt)).toBeLessThan(1_000);
    expect(answer.services.lorem.staleForMs).toBeLessThan(2_000);
    expect(JSON.stringify(answer)).not.toMatch(/ECONNREFUSED|10\.1\.2\.3|127\.0\.0\.1|s3cret/);
    // It still calls what was known before.
    expect((await app.get<HttpClient>(getClientToken("lorem")).request("/")).statusCode).toBe(200);

    registry.start();
    await until(async () => expect(await health()).toEqual(well));
  });

  it("is down while nothing was ever heard of, and up as soon as the registry speaks", async () => {
    registry.stop(new Error("down"));
    const { health } = await start({}, ["lorem"], { adapter });
    expect(await health()).toEqual(
      down({ services: { lorem: { state: "pending", instances: 0 } }, registrations: {} }),
    );
    registry.start();
    const well = up({ services: { lorem: { state: "live", instances: 0 } }, registrations: {} });
    await until(async () => expect(await health()).toEqual(well));
    // Known to have none, and then no word: there is nothing left to call.
    registry.stop(new Error("down"));
    await until(async () => expect((await health())[0]).toBe(503));
    expect((await health())[1]).toMatchObject({ services: { lorem: { state: "stale", instances: 0 } } });
  });
});

describe("DiscoveryHealthIndicator", () => {
  it("is never down for an application that watches nothing, and says when it is not registered", async () => {
    registry.stop(new Error("down"));
    const { app, health } = await start({ register: { service: "shop" } }, []);
    await expect(app.get(Announcer).ready()).rejects.toThrow("down");
    expect(await health()).toEqual(degraded({ services: {}, registrations: { default: { registered: false } } }));
    registry.start();
    const well = up({ services: {}, registrations: { default: { registered: true } } });
    await until(async () => expect(await health()).toEqual(well));
  });

  it("counts what can be called: nothing after staleAfterMs, though instances were known", async () => {
    await instanceOf(registry, { service: "lorem" }, (_, response) => response.end("lorem"));
    const { app, health } = await start({}, [{ service: "lorem", staleAfterMs: 50 }]);
    await app.get<HttpClient>(getClientToken("lorem")).ready();
    expect(await health()).toEqual(up({ services: { lorem: { state: "live", instances: 1 } }, registrations: {} }));
    registry.stop(new Error("down"));
    await until(async () => expect((await health())[0]).toBe(503));
    expect((await health())[1]).toMatchObject({ services: { lorem: { state: "stale", instances: 0 } } });
  });

  it("looks only at the features and the registry that it is asked for", async () => {
    const away = closing(memoryRegistry());
    away.stop(new Error("down"));
    const features = [{ service: "lorem" }, { name: "far", service: "lorem", registry: "dc2" }];
    const other = DiscoveryModule.forRoot({ name: "dc2", registry: away, register: { service: "shop", port: 1 } });
    const app = await application({
      imports: [DiscoveryModule.forRoot({ registry }), other, DiscoveryModule.forFeature(...features), TerminusModule],
      providers: [DiscoveryHealthIndicator],
    });
    await app.init();
    await app.get<HttpClient>(getClientToken("lorem")).ready();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const indicator = app.get(DiscoveryHealthIndicator);
    const lorem = { state: "live", instances: 0 };
    const far = { state: "pending", instances: 0 };
    const registrations = { dc2: { registered: false } };
    expect(indicator.isHealthy("all")).toEqual({
      all: { status: "up", degraded: true, services: { lorem, "far@dc2": far }, registrations },
    });
    expect(indicator.isHealthy("far", { services: ["far"] })).toEqual({
      far: { status: "down", services: { "far@dc2": far }, registrations },
    });
    expect(indicator.isHealthy("one", { registry: "default" })).toEqual({
      one: { status: "up", services: { lorem }, registrations: {} },
    });
    for (const [path, wrong] of Object.entries({
      "services.0": { services: ["nobody"] },
      services: { services: "lorem" },
      registry: { registry: "dc3" },
      nonsense: { nonsense: 1 },
    })) {
      expect(() => indicator.isHealthy("all", wrong as DiscoveryHealthOptions)).toThrow(
        expect.objectContaining({ code: "INVALID_OPTION", path }),
      );
    }
  });

  it("counts the worse of two features that two modules have under one name", async () => {
    await instanceOf(registry, { service: "lorem", tags: ["a"] }, (_, response) => response.end());
    const a = DiscoveryModule.forFeature({ service: "lorem", tags: ["a"] });
    const b = DiscoveryModule.forFeature({ service: "lorem", tags: ["b"] });
    const app = await application({
      imports: [DiscoveryModule.forRoot({ registry }), a, b, TerminusModule],
      providers: [DiscoveryHealthIndicator],
    });
    const indicator = app.get(DiscoveryHealthIndicator);
    const worse = { status: "up", services: { lorem: { state: "live", instances: 0 } }, registrations: {} };
    await until(() => expect(indicator.isHealthy("a")).toEqual({ a: worse }));
  });
});
