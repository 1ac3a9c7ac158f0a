import { createServer } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { type MemoryRegistry, memoryRegistry } from "@rollcall/core";
import { type HttpClient, serviceClient } from "@rollcall/http";
import express from "express";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Announced, announce, gateway } from "../src/index.ts";
import { load } from "./load.ts";

let registry: MemoryRegistry;
let client: HttpClient;
/** How often each numbered POST was done. */
let done: Map<string, number>;
const open: { close(): Promise<unknown> }[] = [];

beforeEach(() => {
  registry = memoryRegistry();
  done = new Map();
});

afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each.close();
  await registry.close();
});

async function start(name: string, port = 0): Promise<Announced> {
  const app = express();
  app.get("/name", (_, response) => void response.send(name));
  app.get("/slow", async (_, response) => {
    response.write(name.slice(0, 1));
    await delay(100);
    response.end(name.slice(1));
  });
  app.post("/done/:number", (request, response) => {
    done.set(request.params.number, (done.get(request.params.number) ?? 0) + 1);
    response.send(name);
  });
  const server = createServer(app).listen(port, "127.0.0.1");
  const announced = await announce(server, { registry, service: "lorem", drainMs: 0, signals: false });
  open.push(announced);
  return announced;
}

describe("a rolling restart under load", { timeout: 30_000 }, () => {
  it.each([
    ["called directly", false],
    ["through the gateway", true],
  ])("loses no call and does none twice, %s, round after round", async (_, throughGateway) => {
    const names = ["one", "two", "three"];
    const servers: Announced[] = [];
    for (const name of names) servers.push(await start(name));
    if (throughGateway) {
      const proxy = gateway("lorem", { registry });
      const front = createServer(proxy).listen(0, "127.0.0.1");
      await using _announced = await announce(front, { registry, service: "front", drainMs: 0, signals: false });
      open.push(proxy);
      client = serviceClient(registry, { service: "front", retry: false });
      for (let round = 0; round < 2; round++) await restartAll(servers, names);
      await client.close();
    } else {
      client = serviceClient(registry, "lorem");
      open.push(client);
      for (let round = 0; round < 2; round++) await restartAll(servers, names);
    }
  });
});

async function restartAll(servers: Announced[], names: readonly string[]): Promise<void> {
  done.clear();
  const running = load(client);
  await running.more(40);
  for (const [index, server] of servers.entries()) {
    await server.close();
    servers[index] = await start(names[index] ?? "", server.instance.port);
    await running.more(40);
  }
  const { failures, answers } = await running.stop();
  expect(failures).toEqual([]);
  expect(Object.keys(answers).toSorted()).toEqual(names.toSorted());
  expect([...done.values()].filter((times) => times !== 1)).toEqual([]);
}
