import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { type MemoryRegistry, memoryRegistry, type Registry } from "@rollcall/core";
import { type Framework, type LoremServer, startLoremServer } from "@rollcall/lorem-server";
import { describe, expect, it, onTestFinished } from "vitest";
import { type LoremClient, startLoremClient } from "./lorem-client.ts";

const host = "127.0.0.1";

async function client(registry: Registry, print?: (line: string) => void): Promise<LoremClient> {
  const started = await startLoremClient({ registry, host, print });
  onTestFinished(() => started.close());
  return started;
}

async function server(registry: Registry, framework: Framework): Promise<LoremServer> {
  const started = await startLoremServer({ registry, framework, host, drainMs: 0 });
  onTestFinished(() => started.close());
  return started;
}

function embedded(): MemoryRegistry {
  const registry = memoryRegistry();
  onTestFinished(() => registry.close());
  return registry;
}

/** An instance of the service that accepts connections and never answers. */
async function silentServer(registry: Registry): Promise<Server> {
  const silent = createServer();
  await new Promise<void>((resolve) => silent.listen(0, host, resolve));
  onTestFinished(() => void silent.close());
  const { port } = silent.address() as AddressInfo;
  await registry.registrar({ service: "lorem", tags: ["lorem", "ru-rocker"], host, port }).register();
  return silent;
}

/** `POST /sd-lorem` with this body: an object is sent as JSON, a string as it is. */
async function ask(
  { url }: LoremClient,
  body: unknown,
): Promise<{ status: number; instance: string | null; body: unknown }> {
  const response = await fetch(`${url}/sd-lorem`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  return { status: response.status, instance: response.headers.get("x-instance"), body: await response.json() };
}

const word = { requestType: "word", min: 5, max: 5 };

describe("the lorem client", () => {
  it("passes on the answer of a server, and the name of the instance, in turns", async () => {
    const registry = embedded();
    const servers = [await server(registry, "nest"), await server(registry, "express")];
    const lorem = await client(registry);
    const answers = [];
    for (let n = 0; n < 10; n++) answers.push(await ask(lorem, word));
    for (const { status, body } of answers) {
      expect(status).toBe(200);
      expect(body).toEqual({ message: expect.stringMatching(/^[a-z]{5}$/) });
    }
    for (const { instanceId } of servers)
      expect(answers.filter(({ instance }) => instance === instanceId)).toHaveLength(5);
  });

  it("starts before any server does, says so, and finds the first one that comes", async () => {
    const registry = embedded();
    const lines: string[] = [];
    const lorem = await client(registry, (line) => lines.push(line));
    expect(await ask(lorem, word)).toMatchObject({
      status: 503,
      body: { error: 'no instance of "lorem" is available' },
    });
    const { instanceId } = await server(registry, "express");
    expect(await ask(lorem, word)).toMatchObject({ status: 200, instance: instanceId });
    expect(lines.map((line) => line.replace(/127.*/, "…"))).toEqual([
      expect.stringMatching(/^(listening|lorem is live: no instances)/),
      expect.stringMatching(/^(listening|lorem is live: no instances)/),
      "lorem is live: …",
    ]);
  });

  it("says why it knows nothing", async () => {
    const registry = embedded();
    registry.stop(new Error("the registry is away"));
    const lines: string[] = [];
    await client(registry, (line) => lines.push(line));
    await expect.poll(() => lines).toContain("lorem is pending: no instances (the registry is away)");
  });

  it.each([
    ["no JSON", "{", /JSON|Expected/],
    ["JSON that is no object", "[]", /the body must be a JSON object/],
    ["null", "null", /./],
    ["an empty object", {}, /type must be word, sentence, paragraph, not nothing/],
    ["an unknown type", { ...word, requestType: "../health" }, /type must be/],
    ["a bound that is no number", { ...word, min: "few" }, /min must be a whole number/],
    ["a negative bound", { ...word, min: -1 }, /min must be a whole number/],
    ["half a letter", { ...word, max: 5.5 }, /max must be a whole number/],
    ["too much", { ...word, max: 14 }, /max must be a whole number/],
    ["bounds the wrong way round", { ...word, max: 4 }, /min must not be above max/],
  ])("refuses %s without asking a server", async (_, body, message) => {
    const registry = embedded();
    const lorem = await client(registry);
    expect(await ask(lorem, body)).toEqual({
      status: 400,
      instance: null,
      body: { error: expect.stringMatching(message) },
    });
  });

  it("answers 404 in the same form", async () => {
    const lorem = await client(embedded());
    const response = await fetch(`${lorem.url}/nowhere`);
    expect([response.status, await response.json()]).toEqual([404, { error: "Cannot GET /nowhere" }]);
  });

  it("is well although there is no server", async () => {
    const lorem = await client(embedded());
    const response = await fetch(`${lorem.url}/health`);
    expect([response.status, await response.json()]).toEqual([200, { status: "ok" }]);
  });

  it("loses no call when a server is killed, and shows what it knows", async () => {
    const registry = embedded();
    const [nest, express] = [await server(registry, "nest"), await server(registry, "express")];
    const lorem = await client(registry);
    await ask(lorem, word);
    registry.freeze(express.instanceId);
    express.http.close();
    express.http.closeAllConnections();
    for (let n = 0; n < 20; n++)
      expect(await ask(lorem, word)).toMatchObject({ status: 200, instance: nest.instanceId });
    const response = await fetch(`${lorem.url}/sd-lorem/instances`);
    const seen = (await response.json()) as { service: string; instances: { id: string; failures: number }[] };
    expect(seen.instances.map(({ id }) => id).toSorted()).toEqual([nest.instanceId, express.instanceId].toSorted());
    expect(seen.instances.find(({ id }) => id === express.instanceId)?.failures).toBeGreaterThan(5);
    expect(seen.instances.find(({ id }) => id === nest.instanceId)?.failures).toBe(0);
  });

  it("answers 503 when no server can be reached", async () => {
    const registry = embedded();
    const { http, instanceId } = await server(registry, "express");
    const lorem = await client(registry);
    registry.freeze(instanceId);
    http.close();
    http.closeAllConnections();
    expect(await ask(lorem, word)).toMatchObject({
      status: 503,
      body: { error: '"lorem" could not be reached, or broke off' },
    });
  });

  it("answers 504 when no server answers in time", async () => {
    const registry = embedded();
    await silentServer(registry);
    const lorem = await client(registry);
    const startedAt = performance.now();
    expect(await ask(lorem, word)).toMatchObject({
      status: 504,
      body: { error: '"lorem" did not answer in time' },
    });
    expect(performance.now() - startedAt).toBeLessThan(4_000);
  });

  it("gives up the call to the server when its own caller leaves", async () => {
    const registry = embedded();
    const silent = await silentServer(registry);
    const lorem = await client(registry);
    const caller = new AbortController();
    const asked = fetch(`${lorem.url}/sd-lorem`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(word),
      signal: caller.signal,
    });
    const [socket]: Socket[] = await once(silent, "connection");
    const closed = once(socket ?? silent, "close");
    socket?.resume();
    const leftAt = performance.now();
    caller.abort();
    await expect(asked).rejects.toMatchObject({ name: "AbortError" });
    await closed;
    expect(performance.now() - leftAt).toBeLessThan(800);
  });

  it("reaches every path of the service through the gateway", async () => {
    const registry = embedded();
    const { instanceId } = await server(registry, "nest");
    const lorem = await client(registry);
    const through = async (method: string, path: string): Promise<unknown[]> => {
      const response = await fetch(`${lorem.url}/api${path}`, { method });
      return [response.status, response.headers.get("x-instance"), await response.json()];
    };
    expect(await through("POST", "/lorem/word/4/4")).toEqual([
      200,
      instanceId,
      { message: expect.stringMatching(/^[a-z]{4}$/) },
    ]);
    expect(await through("POST", "/lorem/word/4/3")).toEqual([
      400,
      instanceId,
      { error: expect.stringContaining("min must not") },
    ]);
    expect(await through("GET", "/health")).toEqual([200, instanceId, { status: "ok" }]);
    expect(await through("GET", "/nowhere")).toEqual([404, instanceId, { error: "Cannot GET /nowhere" }]);
  });
});
