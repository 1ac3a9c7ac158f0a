import type { IncomingMessage } from "node:http";
import { type MemoryRegistry, memoryRegistry } from "@rollcall/core";
import express from "express";
import express4 from "express4";
import { describe, expect, it, onTestFinished } from "vitest";
import { type Announced, type Discovery, announce, discovery, health } from "../src/index.ts";
import { listen, stacks } from "./stacks.ts";

async function announced(
  registry: MemoryRegistry,
  service: string,
  server: ReturnType<typeof listen>,
  drainMs = 0,
): Promise<Announced> {
  const made = await announce(server, { registry, service, drainMs, signals: false });
  onTestFinished(() => made.close());
  return made;
}

async function get(url: string, headers: Record<string, string> = {}): Promise<string> {
  const answer = await fetch(url, { headers });
  return `${answer.status} ${await answer.text()}`;
}

describe.each(Object.entries(stacks))("under %s", (_, stack) => {
  it("calls other services, is announced, and says how it is until its end", async () => {
    const registry = memoryRegistry();
    onTestFinished(() => registry.close());
    let failing = false;
    const seen: (string | undefined)[] = [];
    for (let copy = 0; copy < 3; copy++) {
      const lorem = listen((request, response) => {
        seen.push(request.headers["x-rollcall-attempt"] as string | undefined);
        response.writeHead(failing ? 503 : 200).end("ipsum");
      });
      await announced(registry, "lorem", lorem);
    }
    const clients = discovery({ registry, clients: { lorem: {} } });
    let warm = false;
    const server = listen(
      stack({
        clients,
        live: health("live"),
        ready: health("ready", { checks: { warm: () => warm } }),
        word: (request: IncomingMessage & { discovery?: Discovery }, response) => {
          const answering = async (): Promise<void> => {
            const answer = await request.discovery?.client("lorem").request("/word");
            response.statusCode = answer?.statusCode ?? 500;
            response.end(await answer?.body.text());
          };
          void answering();
        },
      }),
    );
    const shop = await announced(registry, "shop", server, 300);
    expect(registry.instances("shop")).toEqual([shop.instance]);
    const url = `http://127.0.0.1:${shop.instance.port}`;

    expect(await get(`${url}/live`)).toBe('200 {"status":"ok"}');
    expect(await get(`${url}/ready`)).toBe('503 {"status":"unavailable","checks":{"warm":"failed"}}');
    warm = true;
    expect(await get(`${url}/ready`)).toBe('200 {"status":"ok"}');
    expect(await get(`${url}/word`)).toBe("200 ipsum");

    failing = true;
    seen.length = 0;
    expect(await get(`${url}/word`)).toBe("503 ipsum");
    expect(seen).toEqual([undefined, "2", "3"]);
    seen.length = 0;
    expect(await get(`${url}/word`, { "x-rollcall-attempt": "2" })).toBe("503 ipsum");
    expect(seen).toHaveLength(1);

    const closing = shop.close();
    expect(await get(`${url}/live`)).toBe('200 {"status":"ok"}');
    expect(await get(`${url}/ready`)).toBe('503 {"status":"draining"}');
    await closing;
    expect(registry.instances("shop")).toEqual([]);
    await expect(get(`${url}/live`)).rejects.toThrow();
    await clients.close();
  });
});

describe.each([
  ["Express 5", express],
  ["Express 4", express4],
])("under %s", (_, make) => {
  it("still knows which request is served behind a body parser, which waits for the body", async () => {
    const registry = memoryRegistry();
    onTestFinished(() => registry.close());
    let seen = 0;
    for (let copy = 0; copy < 3; copy++) {
      const lorem = listen((_request, response) => {
        seen++;
        response.writeHead(503).end();
      });
      await announced(registry, "lorem", lorem);
    }
    await using clients = discovery({ registry, clients: { lorem: {} } });
    const app = make().use(clients).use(make.json());
    app.post("/word", (request, response, next) => {
      const answer = clients.client("lorem").request("/word");
      answer.then(({ body }) => body.dump()).then(() => response.json(request.body), next);
    });
    const shop = await announced(registry, "shop", listen(app));
    const headers = { "content-type": "application/json", "x-rollcall-attempt": "2" };
    const body = JSON.stringify({ pad: "x".repeat(90_000) });
    const answer = await fetch(`http://127.0.0.1:${shop.instance.port}/word`, { method: "POST", headers, body });
    expect([answer.status, await answer.text()]).toEqual([200, body]);
    expect(seen).toBe(1);
  });
});
