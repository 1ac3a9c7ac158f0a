import "reflect-metadata";
import { setTimeout as delay } from "node:timers/promises";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Controller, Get, HttpCode, type INestApplication, Module, Param, Post } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { ExpressAdapter } from "@nestjs/platform-express";
import { FastifyAdapter } from "@nestjs/platform-fastify";
import { type MemoryRegistry, memoryRegistry } from "@rollcall/core";
import { serviceClient } from "@rollcall/http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DiscoveryModule, Announcer } from "../src/index.ts";

let registry: MemoryRegistry;
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

const adapters = { express: () => new ExpressAdapter(), fastify: () => new FastifyAdapter() } as const;

async function start(adapter: keyof typeof adapters, name: string, port: number): Promise<INestApplication<Server>> {
  @Controller()
  class LoremController {
    @Get("/name")
    name(): string {
      return name;
    }
    @Get("/slow")
    async slow(): Promise<string> {
      await delay(100);
      return name;
    }
    @Post("/done/:number")
    @HttpCode(200)
    done(@Param("number") number: string): string {
      done.set(number, (done.get(number) ?? 0) + 1);
      return name;
    }
  }
  @Module({
    imports: [DiscoveryModule.forRoot({ registry, register: { service: "lorem" }, drainMs: 0 })],
    controllers: [LoremController],
  })
  class LoremModule {}
  const app: INestApplication<Server> = await NestFactory.create(LoremModule, adapters[adapter](), { logger: false });
  open.push(app);
  await app.listen(port, "127.0.0.1");
  await app.get(Announcer).ready();
  return app;
}

describe("a rolling restart under load", { timeout: 30_000 }, () => {
  it.each(["express", "fastify"] as const)("loses no call and does none twice, on %s", async (adapter) => {
    const names = ["one", "two", "three"];
    const apps: INestApplication<Server>[] = [];
    for (const name of names) apps.push(await start(adapter, name, 0));
    const client = serviceClient(registry, "lorem");
    open.push(client);

    let running = true;
    let ended = 0;
    const answers = new Set<string>();
    const failures: unknown[] = [];
    const side = async (): Promise<void> => {
      for (let number = 0; running; number++) {
        const path = number % 2 === 0 ? `/done/${Math.random()}` : number % 4 === 1 ? "/name" : "/slow";
        try {
          const { statusCode, body } = await client.request(path, { method: number % 2 === 0 ? "POST" : "GET" });
          const text = await body.text();
          if (statusCode === 200) answers.add(text);
          else failures.push(new Error(`${path}: ${statusCode} ${text}`));
        } catch (error) {
          failures.push(error);
        }
        ended++;
      }
    };
    const more = async (calls: number): Promise<void> => {
      for (const until = ended + calls; ended < until;) await delay(5);
    };
    const sides = Promise.all(Array.from({ length: 20 }, side));
    await more(40);
    for (const [index, app] of apps.entries()) {
      const { port } = app.getHttpServer().address() as AddressInfo;
      await app.close();
      await start(adapter, names[index] ?? "", port);
      await more(40);
    }
    running = false;
    await sides;
    expect(failures).toEqual([]);
    expect([...answers].toSorted()).toEqual(names.toSorted());
    expect([...done.values()].filter((times) => times !== 1)).toEqual([]);
  });
});
