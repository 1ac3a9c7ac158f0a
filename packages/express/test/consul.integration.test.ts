import { createServer } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { consulRegistry } from "@rollcall/consul";
import { serviceClient } from "@rollcall/http";
import { type TestServer, serverSkipped, startConsul } from "@rollcall/testing/servers";
import express from "express";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { type Announced, announce, gateway } from "../src/index.ts";
import { load } from "./load.ts";

describe.skipIf(serverSkipped("consul"))("with a real Consul", () => {
  let consul: TestServer;
  let services = 0;
  const open: { close(): Promise<unknown> }[] = [];

  beforeAll(async () => {
    consul = await startConsul({ faults: ["kill", "freeze"] });
  });
  afterEach(async () => {
    for (const each of open.splice(0).toReversed()) await each.close();
    await consul.thaw();
    await consul.start();
  });
  afterAll(() => consul?.close());

  const newService = (): string => `express-${process.pid}-${++services}`;

  /** A server with a registry of its own, as if it were a process of its own. */
  async function start(service: string, name: string, port = 0, drainMs = 100): Promise<Announced> {
    const registry = consulRegistry({ url: consul.url, check: { ttlMs: 10_000 } });
    const app = express();
    app.get("/name", (_, response) => void response.send(name));
    app.get("/slow", (_, response) => void delay(100).then(() => response.send(name)));
    app.post("/done/:number", (_, response) => void response.send(name));
    const server = createServer(app).listen(port, "127.0.0.1");
    const options = { registry, service, drainMs, closeAfter: [registry], onError: () => undefined };
    const announced = await announce(server, { ...options, signals: false });
    open.push(announced);
    return announced;
  }

  it("loses no call of a rolling restart, through a gateway", async () => {
    const service = newService();
    const names = ["one", "two", "three"];
    const servers: Announced[] = [];
    for (const name of names) servers.push(await start(service, name));
    const registry = consulRegistry({ url: consul.url });
    const proxy = gateway(service, { registry });
    open.push(registry, proxy);
    const front = createServer(proxy).listen(0, "127.0.0.1");
    const there = await announce(front, { registry, service: `${service}-front`, drainMs: 0, signals: false });
    open.push(there);
    const client = serviceClient(registry, { service: `${service}-front`, retry: false });
    open.push(client);

    const running = load(client);
    await running.more(60);
    for (const [index, server] of servers.entries()) {
      await server.close();
      await start(service, names[index] ?? "", server.instance.port);
      await running.more(60);
    }
    const { failures, answers } = await running.stop();
    expect(failures).toEqual([]);
    expect(Object.keys(answers).toSorted()).toEqual(names.toSorted());
  });

  it("serves although Consul is dead at the start, and registers when it is there", async () => {
    await consul.kill();
    const service = newService();
    const announced = await start(service, "late");
    expect(announced.registrar.registered).toBe(false);
    expect((await fetch(`http://127.0.0.1:${announced.instance.port}/name`)).status).toBe(200);
    await consul.start();
    await vi.waitFor(() => expect(announced.registrar.registered).toBe(true), 5_000);
    const registry = consulRegistry({ url: consul.url });
    open.push(registry);
    await using client = serviceClient(registry, service);
    expect(await (await client.fetch("/name")).text()).toBe("late");
  });

  it("ends within bounds although Consul is dead, or does not answer", async () => {
    for (const fault of ["kill", "freeze"] as const) {
      const announced = await start(newService(), "any");
      await consul[fault]();
      const startedMs = performance.now();
      await announced.close();
      // Two tries of two seconds to deregister, the drain, and the moment of quiet.
      expect(performance.now() - startedMs).toBeLessThan(6_000);
      await consul.thaw();
      await consul.start();
    }
  });
});
