import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { text } from "node:stream/consumers";
import { memoryRegistry } from "@rollcall/core";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  FRAMEWORKS,
  type Framework,
  type LoremServer,
  type LoremServerOptions,
  startLoremServer,
} from "./lorem-server.ts";

async function start(framework: Framework, options: Partial<LoremServerOptions> = {}): Promise<LoremServer> {
  const registry = options.registry ?? memoryRegistry();
  const server = await startLoremServer({ registry, framework, host: "127.0.0.1", drainMs: 0, ...options });
  onTestFinished(async () => {
    await server.close();
    await registry.close();
  });
  return server;
}

interface Answer {
  readonly status: number | undefined;
  readonly type: string | undefined;
  readonly instance: unknown;
  readonly body: string;
}

/** A request as it is written: `fetch` would tidy the path. */
async function ask(server: LoremServer, method: string, path: string, body?: string): Promise<Answer> {
  const { hostname, port } = new URL(server.url);
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  const sent = request({ hostname, port, method, path, headers, agent: false });
  sent.end(body);
  const [response]: IncomingMessage[] = await once(sent, "response");
  if (response === undefined) throw new Error("no response");
  const { "content-type": type, "x-instance": instance } = response.headers;
  return { status: response.statusCode, type, instance, body: await text(response) };
}

/** Requests, the status that they get, and what is in the answer. */
const REQUESTS = [
  ["POST", "/lorem/word/10/10", 200, /^\{"message":"[a-z]{10}"\}$/],
  ["POST", "/lorem/WORD/1/1", 200, /^\{"message":"[a-z]"\}$/],
  ["POST", "/lorem/sentence/3/3", 200, /^\{"message":"[A-Z][a-z]*,? [a-z]+,? [a-z]+\."\}$/],
  ["POST", "/lorem/paragraph/2/2?query=ignored", 200, /^\{"message":"[^.]+\. [^.]+\."\}$/],
  ["POST", "/lorem/novel/1/2", 400, /^\{"error":"type must be word, sentence, paragraph, not \\"novel\\""\}$/],
  ["POST", "/lorem/toString/1/2", 400, /^\{"error":"type must be/],
  ["POST", "/lorem/word/a/2", 400, /^\{"error":"min must be a whole number/],
  ["POST", "/lorem/word/2/1", 400, /^\{"error":"min must not be above max/],
  ["POST", "/lorem/word/-1/2", 400, /^\{"error":"min must be a whole number/],
  ["POST", "/lorem/word/0/2", 400, /^\{"error":"min must be a whole number/],
  ["POST", "/lorem/word/1/14", 400, /^\{"error":"max must be a whole number/],
  ["POST", "/lorem/sentence/0/0", 400, /^\{"error":"min must be a whole number/],
  ["POST", "/lorem/paragraph/1/1001", 400, /^\{"error":"max must be a whole number/],
  ["POST", `/lorem/paragraph/1/${"9".repeat(3_000)}`, 400, /^\{"error":"max must be a whole number/],
  ["POST", "/lorem/word/%zz/3", 400, /^\{"error":/],
  ["POST", "/lorem/word/%2e%2e/3", 400, /^\{"error":"min must be a whole number/],
  ["POST", "/lorem/word/1", 404, /^\{"error":"Cannot POST \/lorem\/word\/1"\}$/],
  ["GET", "/lorem/word/1/2", 404, /^\{"error":"Cannot GET \/lorem\/word\/1\/2"\}$/],
  ["GET", "/nowhere?at=all", 404, /^\{"error":"Cannot GET \/nowhere\?at=all"\}$/],
  ["GET", "/", 404, /^\{"error":/],
  ["GET", "/health", 200, /^\{"status":"ok"\}$/],
] as const;

describe.each(FRAMEWORKS)("a lorem server on %s", (framework) => {
  it.each(REQUESTS)("answers %s %s with %i", async (method, path, status, body) => {
    const server = await start(framework);
    const answer = await ask(server, method, path);
    expect(answer.body).toMatch(body);
    expect(answer).toMatchObject({
      status,
      type: expect.stringContaining("application/json"),
      instance: server.instanceId,
    });
  });

  it("ignores a body, also one that is no JSON", async () => {
    const server = await start(framework);
    expect(await ask(server, "POST", "/lorem/word/3/3", "{no json")).toMatchObject({ status: 200 });
  });

  it("does not tell what it is made with", async () => {
    const server = await start(framework);
    const response = await fetch(`${server.url}/health`);
    await response.body?.cancel();
    expect(response.headers.get("x-powered-by")).toBeNull();
  });

  it("is registered with its tags as soon as it has started, under the name that its answers bear", async () => {
    const registry = memoryRegistry();
    const server = await start(framework, { registry });
    expect(registry.instances("lorem")).toEqual([
      expect.objectContaining({
        id: server.instanceId,
        host: "127.0.0.1",
        port: Number(new URL(server.url).port),
        tags: ["lorem", "ru-rocker"],
      }),
    ]);
  });

  it("tells clients the host that it was told to advertise", async () => {
    const registry = memoryRegistry();
    const server = await start(framework, { registry, advertiseHost: "lorem.example" });
    expect(registry.instances("lorem")[0]).toMatchObject({ id: server.instanceId, host: "lorem.example" });
    expect((await ask(server, "GET", "/health")).instance).toBe(server.instanceId);
  });

  it("leaves the registry before it stops answering, and says meanwhile that it is draining", async () => {
    const registry = memoryRegistry();
    const lines: string[] = [];
    const server = await start(framework, { registry, drainMs: 300, print: (line) => lines.push(line) });
    const closing = server.close();
    await expect.poll(() => registry.instances("lorem")).toEqual([]);
    expect(await ask(server, "POST", "/lorem/word/3/3")).toMatchObject({ status: 200 });
    expect(await ask(server, "GET", "/health")).toMatchObject({ status: 503, body: '{"status":"draining"}' });
    await closing;
    await expect(ask(server, "GET", "/health")).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect(lines).toEqual([
      `listening on ${server.url} (${framework}, instance ${server.instanceId})`,
      "registered as lorem [lorem, ru-rocker] in memory",
      "deregistered from memory",
    ]);
  });

  it("starts while the registry is down, and registers when it is back", async () => {
    const registry = memoryRegistry();
    const lines: string[] = [];
    registry.stop(new Error("connect ECONNREFUSED"));
    const server = await start(framework, { registry, print: (line) => lines.push(line) });
    expect(await ask(server, "GET", "/health")).toMatchObject({ status: 200 });
    expect(lines).toContain("memory cannot register it: connect ECONNREFUSED; trying on");
    registry.start();
    await expect.poll(() => lines, { timeout: 5_000 }).toContain("registered as lorem [lorem, ru-rocker] in memory");
  });

  it("rejects when its port is taken, and leaves nothing in the registry", async () => {
    const registry = memoryRegistry();
    const first = await start(framework);
    const port = Number(new URL(first.url).port);
    await expect(startLoremServer({ registry, framework, host: "127.0.0.1", port })).rejects.toMatchObject({
      code: "EADDRINUSE",
      port,
    });
    expect(registry.instances("lorem")).toEqual([]);
    await registry.close();
  });
});
