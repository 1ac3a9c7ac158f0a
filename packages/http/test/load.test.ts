import { EventEmitter, getEventListeners, once } from "node:events";
import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { createCache, type Instancer, createInstance } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { httpClient } from "../src/index.ts";
import { clientOf, httpServer, inFlight, rawServer, until } from "./servers.ts";

/** A server whose responses the test writes. */
async function manualServer() {
  const arrivals = new EventEmitter();
  const responses: ServerResponse[] = [];
  const server = await httpServer((_, response) => {
    responses.push(response);
    arrivals.emit("request");
  });
  return Object.assign(server, {
    next: async (): Promise<ServerResponse> => {
      if (responses.length === 0) await once(arrivals, "request");
      const response = responses.shift();
      if (response === undefined) throw new Error("no response");
      return response;
    },
  });
}

describe("a response body", () => {
  it("counts as load until it has arrived", async () => {
    await using server = await manualServer();
    await using client = clientOf([server]);
    const call = client.request("/");
    const response = await server.next();
    expect(inFlight(client)).toEqual([1]);
    response.write("first");
    const { body } = await call;
    expect(inFlight(client)).toEqual([1]);
    const read = body.text();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(inFlight(client)).toEqual([1]);
    response.end(" last");
    expect(await read).toBe("first last");
    expect(inFlight(client)).toEqual([0]);
    expect(client.endpoints[0]?.stats).toMatchObject({ successes: 1, failures: 0 });
  });

  it("that has arrived is no load, though it was never read", async () => {
    await using server = await httpServer((_, response) => void response.end("x".repeat(10_000)));
    await using client = clientOf([server]);
    for (let n = 0; n < 3; n++) await client.request("/");
    await until(() => inFlight(client)[0] === 0);
    expect(client.endpoints[0]?.stats.successes).toBe(3);
  });

  it("that breaks off is the endpoint's failure, and the reader's error", async () => {
    await using server = await rawServer((socket) => {
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
      setTimeout(() => void socket.resetAndDestroy(), 20);
    });
    await using client = clientOf([server]);
    const { body, statusCode } = await client.request("/");
    expect(statusCode).toBe(200);
    expect(inFlight(client)).toEqual([1]);
    await expect(body.text()).rejects.toMatchObject({ code: expect.stringMatching(/ECONNRESET|UND_ERR_SOCKET/) });
    expect(inFlight(client)).toEqual([0]);
    expect(client.endpoints[0]?.stats).toMatchObject({ successes: 0, failures: 1 });
    expect(server.seen.length).toBe(1);
  });

  it("that is shorter than announced is a failure too", async () => {
    await using server = await rawServer(
      (socket) => void socket.end("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
    );
    await using client = clientOf([server]);
    const { body } = await client.request("/");
    await expect(body.text()).rejects.toThrow();
    expect(client.endpoints[0]?.stats).toMatchObject({ inFlight: 0, successes: 0, failures: 1 });
  });

  it("that falls silent is given up after bodyTimeoutMs, as a failure", async () => {
    await using server = await manualServer();
    await using client = clientOf([server]);
    const call = client.request("/", { bodyTimeoutMs: 50 });
    (await server.next()).write("first");
    const { body } = await call;
    await expect(body.text()).rejects.toMatchObject({ code: "UND_ERR_BODY_TIMEOUT" });
    expect(client.endpoints[0]?.stats).toMatchObject({ inFlight: 0, failures: 1 });
  });

  it.each([
    ["destroyed", (body: Readable) => void body.on("error", () => undefined).destroy()],
    ["destroyed with an error", (body: Readable) => void body.on("error", () => undefined).destroy(new Error("mine"))],
    ["left after its first chunk", async (body: Readable) => { for await (const _ of body) break; }], // prettier-ignore
  ])("that is %s by its reader releases the slot and teaches nothing", async (_, leave) => {
    await using server = await manualServer();
    await using client = clientOf([server]);
    const call = client.request("/");
    const response = await server.next();
    response.write("first");
    const { body } = await call;
    await leave(body);
    await until(() => inFlight(client)[0] === 0);
    expect(client.endpoints[0]?.stats).toMatchObject({ successes: 0, failures: 0 });
    await until(() => response.destroyed);
  });

  it("that is dumped, however long, releases the slot", async () => {
    await using server = await httpServer((_, response) => void response.end("x".repeat(1_000_000)));
    await using client = clientOf([server]);
    const { body } = await client.request("/");
    await body.dump();
    await until(() => inFlight(client)[0] === 0);
  });

  it("holds back a busy reader's server: memory does not grow with the body", async () => {
    await using server = await httpServer((_, response) => void Readable.from(chunks(200)).pipe(response));
    await using client = clientOf([server]);
    const { body } = await client.request("/");
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(body.readableLength).toBeLessThan(1_000_000);
    let bytes = 0;
    for await (const chunk of body) bytes += (chunk as Buffer).length;
    expect(bytes).toBe(200 * 65_536);
    expect(inFlight(client)).toEqual([0]);
  });

  it("is cut off when its instance has left and drainMs is over, not before", async () => {
    await using server = await manualServer();
    const cache = createCache();
    const instancer: Instancer = { ...closableNothing(), service: "lorem", get snapshot() { return cache.snapshot; }, subscribe: cache.subscribe.bind(cache) }; // prettier-ignore
    cache.update([createInstance(server.instance)]);
    await using client = httpClient({ instancer, drainMs: 100 });
    const call = client.request("/");
    (await server.next()).write("first");
    const { body } = await call;
    const read = body.text();
    read.catch(() => undefined);
    cache.update([]);
    const start = performance.now();
    await expect(read).rejects.toMatchObject({ code: "UND_ERR_DESTROYED" });
    expect(performance.now() - start).toBeGreaterThan(80);
  });
});

describe("the caller's signal", () => {
  it("rejects with its reason before anything is sent, if it has aborted already", async () => {
    await using server = await httpServer((_, response) => void response.end());
    await using client = clientOf([server]);
    const reason = new Error("never mind");
    await expect(client.request("/", { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(server.connections()).toBe(0);
  });

  it("ends a request that is still connecting, which then is never sent", async () => {
    await using server = await httpServer((_, response) => void response.end());
    await using client = clientOf([server]);
    await client.ready();
    const controller = new AbortController();
    const call = client.request("/", { method: "POST", signal: controller.signal });
    controller.abort();
    await expect(call).rejects.toMatchObject({ name: "AbortError" });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(server.seen).toEqual([]);
    expect(client.endpoints[0]?.stats).toMatchObject({ inFlight: 0, failures: 0, successes: 0 });
  });

  it("ends a request that waits for its response: the server sees it go", async () => {
    await using server = await manualServer();
    await using client = clientOf([server]);
    const controller = new AbortController();
    const call = client.request("/", { signal: controller.signal });
    const response = await server.next();
    controller.abort(new Error("enough"));
    await expect(call).rejects.toThrow("enough");
    await until(() => response.destroyed);
    expect(client.endpoints[0]?.stats).toMatchObject({ inFlight: 0, failures: 0, successes: 0 });
    expect(server.seen.length).toBe(1);
  });

  it("ends a body: its reader gets the reason, the endpoint no blame", async () => {
    await using server = await manualServer();
    await using client = clientOf([server]);
    const controller = new AbortController();
    const call = client.request("/", { signal: controller.signal });
    const response = await server.next();
    response.write("first");
    const { body } = await call;
    const read = body.text();
    await new Promise((resolve) => setTimeout(resolve, 10));
    controller.abort(new Error("enough"));
    await expect(read).rejects.toThrow("enough");
    expect(client.endpoints[0]?.stats).toMatchObject({ inFlight: 0, failures: 0, successes: 0 });
    await until(() => response.destroyed);
  });

  it.each([
    ["nobody reads", () => undefined],
    ["is read without a listener for errors", (body: Readable) => void body.on("data", () => undefined)],
  ])("ends a body that %s, without an uncaught error", async (_, consume) => {
    await using server = await manualServer();
    await using client = clientOf([server]);
    const controller = new AbortController();
    const call = client.request("/", { signal: controller.signal });
    (await server.next()).write("first");
    consume((await call).body);
    await new Promise((resolve) => setTimeout(resolve, 10));
    controller.abort(new Error("enough"));
    await until(() => inFlight(client)[0] === 0);
  });

  it("keeps no listener, whatever came of the call", async () => {
    await using server = await httpServer((request, response) => {
      if (request.url === "/reset") request.socket.resetAndDestroy();
      else if (request.url === "/503") response.writeHead(503).end("busy");
      else response.end("x".repeat(100_000));
    });
    await using client = clientOf([server]);
    const { signal } = new AbortController();
    for (const path of ["/", "/503", "/reset"]) {
      for (const method of ["GET", "POST"]) {
        await client.request(path, { method, signal }).then(({ body }) => body.text(), () => undefined); // prettier-ignore
      }
    }
    await (await client.fetch("/", { signal })).text();
    await (await client.request("/", { signal })).body.dump();
    const { body } = await client.request("/", { signal });
    expect(getEventListeners(signal, "abort").length).toBe(1);
    body.on("error", () => undefined).destroy();
    await until(() => getEventListeners(signal, "abort").length === 0);
    expect(inFlight(client)).toEqual([0]);
  });
});

describe("a request body", () => {
  it("is given up when the response is here before it has ended", async () => {
    await using server = await httpServer((_, response) => void response.end("enough"));
    await using client = clientOf([server]);
    const endless = new Readable({ read() { setTimeout(() => this.push("more"), 5); } }); // prettier-ignore
    const answer = await client.request("/", { method: "POST", body: endless });
    expect(await answer.body.text()).toBe("enough");
    await until(() => endless.destroyed);
    expect(inFlight(client)).toEqual([0]);
  });

  it("is given up when the caller aborts", async () => {
    await using server = await manualServer();
    await using client = clientOf([server]);
    const controller = new AbortController();
    let returned = false;
    async function* endless() {
      try { for (;;) { yield "more"; await new Promise((resolve) => setTimeout(resolve, 5)); } } finally { returned = true; } // prettier-ignore
    }
    const call = client.request("/", { method: "POST", body: endless(), signal: controller.signal });
    await server.next();
    controller.abort();
    await expect(call).rejects.toMatchObject({ name: "AbortError" });
    await until(() => returned);
    expect(inFlight(client)).toEqual([0]);
  });
});

function* chunks(count: number) {
  for (let n = 0; n < count; n++) yield Buffer.alloc(65_536);
}

function closableNothing() {
  const close = async (): Promise<void> => undefined;
  return { close, [Symbol.asyncDispose]: close };
}
