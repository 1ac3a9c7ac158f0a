import "./augment.ts";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { memoryRegistry } from "@rollcall/core";
import express from "express";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { type DiscoveryOptions, announce, discovery } from "./index.ts";

async function serve(app: ReturnType<typeof express>): Promise<string> {
  const server = createServer(app).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function made(): ReturnType<typeof memoryRegistry> {
  const registry = memoryRegistry();
  onTestFinished(() => registry.close());
  return registry;
}

async function lorem(registry: ReturnType<typeof memoryRegistry>, tags: readonly string[] = []): Promise<void> {
  const app = express().get("/word", (_, response) => void response.json({ message: tags.join() }));
  const server = createServer(app).listen(0, "127.0.0.1");
  const announced = await announce(server, { registry, service: "lorem", tags, drainMs: 0, signals: false });
  onTestFinished(() => announced.close());
}

describe("discovery", () => {
  it("puts balanced clients at hand in every request, one for all of them", async () => {
    const registry = made();
    await lorem(registry, ["a"]);
    await lorem(registry, ["b"]);
    await using own = discovery({ registry, clients: { lorem: {} } });
    const seen = new Set<unknown>();
    const app = express().use(own);
    app.get("/word", (request, response, next) => {
      const client = request.discovery.client("lorem");
      seen.add(client);
      client
        .fetch("/word")
        .then((answer) => answer.json())
        .then((word) => response.json(word), next);
    });
    const url = await serve(app);
    const words: string[] = [];
    for (let n = 0; n < 4; n++)
      words.push(((await (await fetch(`${url}/word`)).json()) as { message: string }).message);
    expect(words.toSorted()).toEqual(["a", "a", "b", "b"]);
    expect([...seen]).toEqual([own.client("lorem")]);
  });

  it("knows the same service under several names", async () => {
    const registry = made();
    await lorem(registry, ["a"]);
    await lorem(registry, ["b"]);
    await using own = discovery({
      registry,
      clients: { a: { service: "lorem", tags: ["a"] }, b: { service: "lorem", tags: ["b"] } },
    });
    for (let n = 0; n < 3; n++) {
      expect(await (await own.client("a").fetch("/word")).json()).toEqual({ message: "a" });
      expect(await (await own.client("b").fetch("/word")).json()).toEqual({ message: "b" });
    }
  });

  it("discovers nothing before a client is used, and closes what it made", async () => {
    const registry = made();
    const instancer = vi.spyOn(registry, "instancer");
    const own = discovery({ registry, clients: { lorem: {}, other: {} } });
    expect(instancer).not.toHaveBeenCalled();
    const client = own.client("lorem");
    expect(instancer).toHaveBeenCalledOnce();
    await own.close();
    await expect(client.request("/")).rejects.toMatchObject({ code: "CLOSED" });
    expect(() => own.client("other")).toThrow(expect.objectContaining({ code: "CLOSED" }));
    await own.close();
  });

  it("refuses a name that was not declared, also those that every object has", async () => {
    await using own = discovery({ registry: made(), clients: { lorem: {} } });
    for (const name of ["lorme", "constructor", "__proto__", ""]) {
      // @ts-expect-error: it is not one of the declared names
      expect(() => own.client(name)).toThrow(expect.objectContaining({ code: "INVALID_OPTION", path: "name" }));
    }
  });

  it("tells clients which request they serve, so that one that was repeated is not multiplied", async () => {
    const registry = made();
    let seen = 0;
    for (const tag of ["a", "b", "c"]) {
      const failing = createServer((_, response) => {
        seen++;
        response.writeHead(503).end();
      }).listen(0, "127.0.0.1");
      const options = { registry, service: "lorem", tags: [tag], drainMs: 0, signals: false } as const;
      const announced = await announce(failing, options);
      onTestFinished(() => announced.close());
    }
    await using own = discovery({ registry, clients: { lorem: {} } });
    const app = express().use(own);
    app.get("/word", (request, response, next) => {
      const answer = request.discovery.client("lorem").request("/word");
      answer.then(({ statusCode, body }) => body.dump().then(() => response.sendStatus(statusCode)), next);
    });
    const url = await serve(app);
    expect((await fetch(`${url}/word`)).status).toBe(503);
    expect(seen).toBe(3);
    seen = 0;
    expect((await fetch(`${url}/word`, { headers: { "x-rollcall-attempt": "2" } })).status).toBe(503);
    expect(seen).toBe(1);
  });

  it.each<[string, object]>([
    ["registry", { registry: undefined }],
    ["registry.instancer", { registry: {} }],
    ["clients", { clients: undefined }],
    ["clients.lorem", { clients: { lorem: 1 } }],
    ["clients.lorem.retry.timeoutMs", { clients: { lorem: { retry: { timeoutMs: -1 } } } }],
    ["clients.lorem.polici", { clients: { lorem: { polici: 1 } } }],
    ["clients.lorem.service", { clients: { lorem: { service: "" } } }],
    ["nonsense", { nonsense: 1 }],
  ])("refuses a wrong %s", (path, wrong) => {
    const options = { registry: made(), clients: {}, ...wrong } as DiscoveryOptions<string>;
    expect(() => discovery(options)).toThrow(expect.objectContaining({ code: "INVALID_OPTION", path }));
  });
});
