import "reflect-metadata";
import type { Server } from "node:http";
import { Controller, Get, type INestApplication, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { consulRegistry } from "@rollcall/consul";
import type { HttpClient } from "@rollcall/http";
import { type TestServer, serverSkipped, startConsul } from "@rollcall/testing/servers";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { DiscoveryModule, type DiscoveryModuleOptions, Announcer, getClientToken } from "../src/index.ts";

describe.skipIf(serverSkipped("consul"))("with a real Consul", () => {
  let consul: TestServer;
  let services = 0;
  const open: { close(): Promise<unknown> }[] = [];

  beforeAll(async () => {
    consul = await startConsul({ faults: ["kill", "freeze", "wipe"] });
  });
  afterEach(async () => {
    for (const each of open.splice(0).toReversed()) await each.close();
    await consul.thaw();
    await consul.start();
  });
  afterAll(() => consul?.close());

  const newService = (): string => `nest-${process.pid}-${++services}`;

  async function start(
    service: string,
    options: Partial<DiscoveryModuleOptions> = {},
  ): Promise<INestApplication<Server>> {
    @Controller()
    class NameController {
      @Get("/name")
      name(): string {
        return service;
      }
    }
    @Module({
      imports: [
        DiscoveryModule.forRoot({
          registry: () => consulRegistry({ url: consul.url, check: { ttlMs: 10_000 } }),
          register: { service, health: { path: "/health" } },
          drainMs: 100,
          ...options,
        }),
        DiscoveryModule.forFeature(service),
      ],
      controllers: [NameController],
    })
    class AppModule {}
    const app: INestApplication<Server> = await NestFactory.create(AppModule, { logger: false, abortOnError: false });
    open.push(app);
    await app.listen(0, "127.0.0.1");
    return app;
  }

  /** What Consul itself says. */
  async function passing(service: string): Promise<number> {
    const answer = await fetch(`${consul.url}/v1/health/service/${service}?passing`);
    return ((await answer.json()) as unknown[]).length;
  }

  it("is found as soon as it is registered, and gone as soon as it is closed", async () => {
    const service = newService();
    const app = await start(service);
    await app.get(Announcer).ready();
    expect(await passing(service)).toBe(1);
    const client: HttpClient = app.get(getClientToken(service));
    expect(await (await client.fetch("/name")).text()).toBe(service);
    await app.close();
    expect(await passing(service)).toBe(0);
  });

  it("lets Consul call its health check", async () => {
    const service = newService();
    const app = await start(service, {
      registry: () => consulRegistry({ url: consul.url, check: { http: "/health", intervalMs: 1_000 } }),
      drainMs: 3_000,
    });
    await app.get(Announcer).ready();
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(await passing(service)).toBe(1);
  });

  it("starts without Consul, and registers when it is there; refuses to if that is required", async () => {
    await consul.kill();
    await expect(start(newService(), { required: true })).rejects.toThrow();
    const service = newService();
    const app = await start(service);
    await expect(app.get(Announcer).ready()).rejects.toThrow();
    await consul.start();
    await vi.waitFor(async () => expect(await passing(service)).toBe(1), 5_000);
  });

  it("registers again after Consul has lost everything", async () => {
    const service = newService();
    const app = await start(service);
    await app.get(Announcer).ready();
    await consul.restart({ wipe: true });
    await vi.waitFor(async () => expect(await passing(service)).toBe(1), 15_000);
  });

  it("closes within bounds although Consul does not answer", async () => {
    const app = await start(newService());
    await app.get(Announcer).ready();
    await consul.freeze();
    const startedMs = performance.now();
    await app.close();
    expect(performance.now() - startedMs).toBeLessThan(6_000);
  });
});
