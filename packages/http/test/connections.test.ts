import { spawn } from "node:child_process";
import { once } from "node:events";
import { type Server, createServer } from "node:http";
import { type AddressInfo, type Socket, connect } from "node:net";
import type { InstanceInit } from "@rollcall/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { request } from "undici";
import { createFetch } from "../src/fetch.ts";
import { discoveryDispatcher } from "../src/index.ts";
import { clientOf, httpServer, inFlight, rawServer, registryOf } from "./servers.ts";

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A server of node:http with this keepAliveTimeout, which counts its connections. */
async function keepAliveServer(keepAliveMs: number) {
  let connections = 0;
  const closed = Promise.withResolvers<void>();
  const server: Server = createServer((_, response) => void response.end("ok"));
  server.on("connection", (socket) => {
    connections++;
    socket.once("close", () => closed.resolve());
  });
  server.keepAliveTimeout = keepAliveMs;
  // Node adds a second of its own, for clients that are slow to notice.
  Reflect.set(server, "keepAliveTimeoutBuffer", 0);
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return {
    instance: { service: "lorem", host: "127.0.0.1", port },
    connections: () => connections,
    closed: () => closed.promise,
  };
}

/**
 * An instance behind which packets vanish: its process was stopped, and its queue of connections is full, so that nothing
 * answers any more.
 */
async function blackHole(): Promise<InstanceInit> {
  const code =
    'require("net").createServer().listen({port:0,host:"127.0.0.1",backlog:1},function(){console.log(this.address().port)})';
  const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  const sockets: Socket[] = [];
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const port = Number(String(line));
  child.kill("SIGSTOP");
  // Until one is not accepted any more.
  for (let full = false; !full && sockets.length < 20;) {
    const socket = connect(port, "127.0.0.1").on("error", () => undefined);
    sockets.push(socket);
    full = await Promise.race([once(socket, "connect").then(() => false), pause(250).then(() => true)]);
  }
  return { service: "lorem", host: "127.0.0.1", port };
}

describe("an idle connection", () => {
  it("is used again while the server keeps it", async () => {
    await using server = await httpServer((_, response) => void response.end("ok"));
    await using client = clientOf([server]);
    for (let n = 0; n < 5; n++) {
      await (await client.request("/", { method: "POST" })).body.dump();
      await pause(20);
    }
    expect(server.connections()).toBe(1);
  });

  it("is given up two seconds before the server closes it, if that says when: no POST meets its end", async () => {
    const server = await keepAliveServer(3_000);
    await using client = clientOf([server.instance]);
    const post = async (): Promise<void> => (await client.request("/", { method: "POST", body: "x" })).body.dump();
    await post();
    await pause(100);
    await post();
    expect(server.connections()).toBe(1);
    // It is the client that ends it; undici's timer takes up to half a second more.
    const ended = performance.now();
    await server.closed();
    expect(performance.now() - ended).toBeGreaterThan(800);
    expect(performance.now() - ended).toBeLessThan(2_500);
    await post();
    expect(server.connections()).toBe(2);
  });

  it("that a server closes without a word is noticed: the next request has another one, be it a POST", async () => {
    await using silent = await rawServer((socket, received) => {
      if (received.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
      setTimeout(() => socket.end(), 50);
    });
    await using client = clientOf([silent]);
    for (let n = 0; n < 5; n++) {
      expect(await (await client.request("/", { method: "POST" })).body.text()).toBe("ok");
      await pause(100);
    }
    expect(silent.connections()).toBe(5);
  });

  it("that dies in the very moment of the next request costs no GET", async () => {
    await using rude = await rawServer((socket, received) => {
      if (!received.endsWith("\r\n\r\n")) return;
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
      setTimeout(() => socket.resetAndDestroy(), 20);
    });
    const registry = await registryOf([rude]);
    const retry = { backoff: () => 0, budget: false } as const;
    await using client = clientOf([rude]);
    await using dispatcher = discoveryDispatcher({ registry, defaults: { retry } });
    await using fetched = createFetch({ registry, defaults: { retry } });
    for (let n = 0; n < 40; n++) {
      const answers = await Promise.all([
        client.request("/").then(({ body }) => body.text()),
        request("http://lorem/", { dispatcher }).then(({ body }) => body.text()),
        fetched("http://lorem/").then((response) => response.text()),
      ]);
      expect(answers).toEqual(["ok", "ok", "ok"]);
      await pause(15 + (n % 10));
    }
    expect(inFlight(client)).toEqual([0]);
  });

  it("is kept no longer than keepAliveTimeoutMs where the server does not say", async () => {
    await using silent = await rawServer((socket, received) => {
      if (received.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    await using client = clientOf([silent], { keepAliveTimeoutMs: 100 });
    await (await client.request("/")).body.dump();
    expect(silent.open()).toBe(1);
    await expect.poll(() => silent.open(), { timeout: 4_000 }).toBe(0);
  });
});

describe("an instance from which nothing comes back", () => {
  it("costs connectTimeoutMs, and then a POST goes elsewhere: nothing was sent", async () => {
    const hole = await blackHole();
    await using good = await httpServer((_, response) => void response.end("ok"));
    await using client = clientOf([hole, good], { connectTimeoutMs: 300 });
    const registry = await registryOf([hole, good]);
    await using dispatcher = discoveryDispatcher({ registry, defaults: { connectTimeoutMs: 300 } });
    const ask: readonly (() => Promise<string>)[] = [
      async () => (await client.request("/", { method: "POST" })).body.text(),
      async () => (await request("http://lorem/", { dispatcher, method: "POST" })).body.text(),
    ];
    for (const one of ask) {
      const tookMs: number[] = [];
      for (let n = 0; n < 2; n++) {
        const before = performance.now();
        expect(await one()).toBe("ok");
        tookMs.push(performance.now() - before);
      }
      // One of two went to the hole first. undici's timer may add half a second.
      expect(Math.max(...tookMs)).toBeGreaterThan(250);
      expect(Math.max(...tookMs)).toBeLessThan(3_000);
    }
    expect(inFlight(client)).toEqual([0, 0]);
  });

  it("costs no more than the deadline where there is no other", async () => {
    const hole = await blackHole();
    await using client = clientOf([hole], { retry: { timeoutMs: 400 } });
    await using fetched = createFetch({ registry: await registryOf([hole]), defaults: { retry: { timeoutMs: 400 } } });
    const before = performance.now();
    await expect(client.request("/")).rejects.toMatchObject({ code: "RETRY", reason: "deadline" });
    await expect(fetched("http://lorem/")).rejects.toMatchObject({ code: "RETRY", reason: "deadline" });
    expect(performance.now() - before).toBeLessThan(3_000);
    expect(inFlight(client)).toEqual([0]);
  });
});
