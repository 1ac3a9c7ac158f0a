import { once } from "node:events";
import {
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestListener,
  type RequestOptions,
  type Server,
  createServer,
  request as httpRequest,
} from "node:http";
import { type AddressInfo, type Server as TcpServer, connect, createServer as createTcpServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Readable } from "node:stream";
import { type MemoryRegistry, memoryRegistry, roundRobin } from "@rollcall/core";
import { serviceClient } from "@rollcall/http";
import { manualClock } from "@rollcall/testing";
import express from "express";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { GatewayOptions } from "./gateway-options.ts";
import { gateway } from "./gateway.ts";

let registry: MemoryRegistry;
const cleanup: (() => unknown)[] = [];

beforeEach(() => {
  registry = memoryRegistry();
});

afterEach(async () => {
  for (const run of cleanup.splice(0).toReversed()) await run();
  await registry.close();
});

async function listen(server: Server | TcpServer): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanup.push(() => {
    server.close();
    if ("closeAllConnections" in server) server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

async function register(port: number): Promise<void> {
  await registry.registrar({ service: "lorem", host: "127.0.0.1", port }).register();
}

async function upstream(listener: RequestListener): Promise<number> {
  const port = await listen(createServer(listener));
  await register(port);
  return port;
}

/** An instance that is spoken to byte by byte. */
async function rawUpstream(
  onRequest: (head: string, write: (text: string) => void, end: () => void) => void,
): Promise<void> {
  const server = createTcpServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (data) =>
      onRequest(
        data.toString("latin1"),
        (text) => void socket.write(text, "latin1"),
        () => socket.destroy(),
      ),
    );
  });
  await register(await listen(server));
}

/** A gateway under /api, in Express. */
async function front(options: Partial<GatewayOptions> = {}): Promise<number> {
  const proxy = gateway("lorem", { registry, ...options });
  cleanup.push(() => proxy.close());
  return listen(createServer(express().disable("x-powered-by").use("/api", proxy)));
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

async function call(
  port: number,
  path: string,
  options: RequestOptions = {},
  body?: string | Readable,
): Promise<Answer> {
  const outgoing = httpRequest({ port, host: "127.0.0.1", path, agent: false, ...options });
  if (body instanceof Readable) body.pipe(outgoing);
  else outgoing.end(body);
  const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
  outgoing.on("error", () => undefined); // the answer tells of it too
  let text = "";
  for await (const chunk of incoming) text += String(chunk);
  return { status: incoming.statusCode, headers: incoming.headers, text };
}

/** Sends bytes as they are and returns all that comes back. */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.write(bytes, "latin1");
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  return text;
}

const echo: RequestListener = (request, response) => {
  let body = "";
  request.on("data", (chunk) => (body += String(chunk)));
  request.on("end", () => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers, body }));
  });
};

describe("gateway", () => {
  it("passes a request on to an instance, without its mount path and behind its prefix", async () => {
    await upstream(echo);
    const port = await front({ prefix: "/lorem" });
    const answer = await call(port, "/api/word/1/10?x=%20y", { method: "POST" }, "body");
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.text)).toMatchObject({ method: "POST", url: "/lorem/word/1/10?x=%20y", body: "body" });
  });

  it("serves plain node:http", async () => {
    await upstream(echo);
    const proxy = gateway("lorem", { registry });
    cleanup.push(() => proxy.close());
    const answer = await call(await listen(createServer(proxy)), "/word");
    expect(JSON.parse(answer.text)).toMatchObject({ url: "/word" });
  });

  it("balances over the instances", async () => {
    const counts = [0, 0, 0];
    for (const index of counts.keys()) {
      await upstream((_, response) => {
        counts[index] = (counts[index] ?? 0) + 1;
        response.end();
      });
    }
    const port = await front({ policy: roundRobin() });
    for (let n = 0; n < 9; n++) await call(port, "/api/");
    expect(counts).toEqual([3, 3, 3]);
  });

  it("uses a client that is given, and does not close it", async () => {
    await upstream(echo);
    await using client = serviceClient(registry, "lorem");
    const proxy = gateway("lorem", { client });
    expect((await call(await listen(createServer(proxy)), "/")).status).toBe(200);
    await proxy.close();
    expect((await client.fetch("/")).status).toBe(200);
  });

  it("passes on the status, the headers (also repeated ones) and the body of the answer", async () => {
    await upstream((_, response) => {
      response.writeHead(418, { "set-cookie": ["a=1", "b=2"], "x-own": "yes", "content-length": 3 });
      response.end("tea");
    });
    const answer = await call(await front(), "/api/");
    expect(answer).toMatchObject({ status: 418, text: "tea" });
    expect(answer.headers).toMatchObject({ "set-cookie": ["a=1", "b=2"], "x-own": "yes", "content-length": "3" });
  });

  it("passes on a failing status of the instance as it is", async () => {
    await upstream((_, response) => response.writeHead(503, { "retry-after": "7" }).end("busy"));
    const answer = await call(await front({ retry: false }), "/api/");
    expect(answer).toMatchObject({ status: 503, text: "busy", headers: { "retry-after": "7" } });
  });

  it.each(["HEAD", "DELETE", "OPTIONS"])("passes on %s without a body", async (method) => {
    await upstream((request, response) => response.setHeader("x-method", String(request.method)).end());
    const answer = await call(await front(), "/api/", { method });
    expect(answer.headers["x-method"]).toBe(method);
  });

  it("keeps the length of an answer to HEAD, and of one without a body", async () => {
    await upstream((request, response) => {
      if (request.method === "HEAD") response.writeHead(200, { "content-length": 5 }).end();
      else response.writeHead(304, { etag: "x" }).end();
    });
    const port = await front();
    expect((await call(port, "/api/", { method: "HEAD" })).headers["content-length"]).toBe("5");
    expect(await call(port, "/api/")).toMatchObject({ status: 304, text: "", headers: { etag: "x" } });
  });
});

describe("gateway, headers", () => {
  it("says where the request came from, and speaks to the instance under its own name", async () => {
    const instance = await upstream(echo);
    const port = await front();
    const headers = {
      host: "shop.example",
      "x-forwarded-for": "1.2.3.4",
      "x-forwarded-host": "lie",
      "x-forwarded-proto": "https",
    };
    const seen = JSON.parse((await call(port, "/api/", { headers })).text).headers;
    expect(seen).toMatchObject({
      host: `127.0.0.1:${instance}`,
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-host": "shop.example",
      "x-forwarded-proto": "http",
    });
    const trusting = await front({ trustForwarded: true });
    const believed = JSON.parse((await call(trusting, "/api/", { headers })).text).headers;
    expect(believed).toMatchObject({
      "x-forwarded-for": "1.2.3.4, 127.0.0.1",
      "x-forwarded-host": "lie",
      "x-forwarded-proto": "https",
    });
  });

  const seenBy = async (options: Partial<GatewayOptions>, headers: Record<string, string | string[]>) =>
    JSON.parse((await call(await front(options), "/api/", { headers })).text).headers;

  it("says it by Forwarded too, if asked to", async () => {
    await upstream(echo);
    const host = "shop.example:8080";
    const own = 'for=127.0.0.1;host="shop.example:8080";proto=http';
    const forwarded = "for=192.0.2.43";
    expect(await seenBy({ forwarded: true }, { host, forwarded })).toMatchObject({ forwarded: own });
    const trusting = { forwarded: true, trustForwarded: true };
    expect(await seenBy(trusting, { host, forwarded })).toMatchObject({ forwarded: `${forwarded}, ${own}` });
    expect(await seenBy({ trustForwarded: true }, { host, forwarded })).toMatchObject({ forwarded });
    expect(await seenBy({}, { host, forwarded })).not.toHaveProperty("forwarded");
  });

  it("asks whether this sender is trusted, where that is a question", async () => {
    await upstream(echo);
    const headers = { "x-forwarded-for": ["1.2.3.4", "5.6.7.8"], "x-forwarded-port": "443", "x-real-ip": "1.2.3.4" };
    const asked: (string | undefined)[] = [];
    const trusts = (answer: boolean) => ({
      trustForwarded: ({ socket }: IncomingMessage) => {
        asked.push(socket.remoteAddress);
        return answer;
      },
    });
    const believed = await seenBy(trusts(true), headers);
    expect(believed).toMatchObject({ ...headers, "x-forwarded-for": "1.2.3.4, 5.6.7.8, 127.0.0.1" });
    const not = await seenBy(trusts(false), headers);
    expect(not["x-forwarded-for"]).toBe("127.0.0.1");
    expect(not).not.toHaveProperty("x-real-ip");
    expect(not).not.toHaveProperty("x-forwarded-port");
    expect(asked).toEqual(["127.0.0.1", "127.0.0.1"]);
  });

  it("adds itself to Via, if it is given a name", async () => {
    await upstream(echo);
    expect(await seenBy({ via: "shop" }, {})).toMatchObject({ via: "1.1 shop" });
    expect(await seenBy({ via: "shop" }, { via: "1.0 front" })).toMatchObject({ via: "1.0 front, 1.1 shop" });
    expect(await seenBy({}, { via: "1.0 front" })).toMatchObject({ via: "1.0 front" });
  });

  it("lets a caller say by when, and by which attempt, only where it is trusted", async () => {
    await upstream((_, response) => void setTimeout(() => response.end("late"), 100));
    const headers = { "x-rollcall-deadline-ms": "20" };
    expect((await call(await front(), "/api/", { headers })).status).toBe(200);
    expect((await call(await front({ trustCallChain: true }), "/api/", { headers })).status).toBe(504);
  });

  it("keeps hop-by-hop headers and those that Connection names to itself, on the way there", async () => {
    await upstream(echo);
    const headers = {
      connection: "keep-alive, X-Secret, Content-Length",
      "x-secret": "1",
      "keep-alive": "timeout=5",
      "proxy-authorization": "Basic x",
      "proxy-connection": "keep-alive",
      te: "gzip",
      upgrade: "h2c",
      expect: "100-continue",
      "x-own": "stays",
      "content-length": 4,
    };
    const answer = await call(await front(), "/api/", { method: "POST", headers }, "body");
    const { headers: seen, body } = JSON.parse(answer.text);
    expect(body).toBe("body");
    expect(seen).toMatchObject({ "x-own": "stays", "content-length": "4" });
    for (const gone of [
      "x-secret",
      "keep-alive",
      "proxy-authorization",
      "proxy-connection",
      "te",
      "upgrade",
      "expect",
    ]) {
      expect(seen).not.toHaveProperty(gone);
    }
  });

  it("keeps them to itself on the way back", async () => {
    await upstream((_, response) => {
      response.writeHead(200, {
        connection: "close, X-Secret",
        "x-secret": "1",
        "proxy-authenticate": "Basic",
        "x-own": "stays",
      });
      response.end();
    });
    const { headers } = await call(await front(), "/api/", { headers: { connection: "keep-alive" } });
    expect(headers).toMatchObject({ "x-own": "stays", connection: "keep-alive" });
    expect(headers).not.toHaveProperty("x-secret");
    expect(headers).not.toHaveProperty("proxy-authenticate");
  });

  it("answers 502 for headers that cannot be passed on", async () => {
    await rawUpstream((_, write) => write("HTTP/1.1 200 OK\r\nx-bad: a\u0001b\r\ncontent-length: 2\r\n\r\nok"));
    expect((await call(await front(), "/api/")).status).toBe(502);
  });
});

describe("gateway, what it refuses", () => {
  it.each([
    ["an absolute URL", "GET http://evil.example/ HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["an absolute URL below the mount path", "GET http://evil.example/api/x HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["traversal", "GET /api/../../admin HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["encoded traversal", "GET /api/%2e%2e%2fadmin HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["a backslash", "GET /api/\\evil HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["two hosts", "GET /api/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"],
    ["two lengths", "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"],
    [
      "a length beside chunks",
      "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    [
      "an encoding it cannot undo",
      "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ],
    ["TRACE", "TRACE /api/ HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["line breaks in a header", "GET /api/ HTTP/1.1\r\nHost: x\r\nX: a\rY: b\r\n\r\n"],
    ["headers without end", `GET /api/ HTTP/1.1\r\nHost: x\r\nX: ${"a".repeat(20_000)}\r\n\r\n`],
  ])("is %s", async (_, bytes) => {
    const seen = vi.fn();
    await upstream((request, response) => {
      seen(request.url, request.headers);
      response.end();
    });
    const answer = await raw(await front(), bytes.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect(seen).not.toHaveBeenCalled();
  });

  it("never lets a path choose the host", async () => {
    const instance = await upstream(echo);
    for (const path of [
      "/api//evil.example/x",
      "/api///evil.example/x",
      "/api/@evil.example/x",
      "/api/evil.example:80/x",
    ]) {
      const seen = JSON.parse((await call(await front(), path)).text);
      expect(seen.headers.host).toBe(`127.0.0.1:${instance}`);
      expect(seen.url).toBe(path.replace("/api", "").replace(/^\/+/, "/"));
    }
  });
});

describe("gateway, failures", () => {
  const json = (answer: Answer): unknown => JSON.parse(answer.text);

  it("answers 503 and when to come back if there is no instance", async () => {
    const answer = await call(await front({ retry: { maxAttempts: 1 } }), "/api/");
    expect(answer).toMatchObject({ status: 503, headers: { "retry-after": "1", "content-type": "application/json" } });
    expect(json(answer)).toMatchObject({ error: "no_endpoints", service: "lorem" });
  });

  it("answers 503 while the registry has not said anything yet", async () => {
    registry.stop(new Error("down"));
    const answer = await call(await front({ timeoutMs: 100 }), "/api/");
    expect(answer.status).toBe(503);
  });

  it("answers 504 if the instance is too slow, and ends the request there", async () => {
    let left = (): void => undefined;
    const leaving = new Promise<void>((resolve) => (left = resolve));
    await upstream((request) => request.once("close", left));
    const onError = vi.fn();
    const answer = await call(await front({ timeoutMs: 50, onError }), "/api/");
    expect(answer.status).toBe(504);
    expect(json(answer)).toMatchObject({ error: "timeout" });
    expect(onError).toHaveBeenCalledOnce();
    await leaving;
  });

  it("answers 504 for an upload too, counted from its last byte", async () => {
    const clock = manualClock();
    let received = 0;
    await upstream((request) => void request.on("data", () => received++));
    const port = await front({ timeoutMs: 100, env: clock.env });
    const outgoing = httpRequest({ port, host: "127.0.0.1", path: "/api/", method: "POST", agent: false });
    for (let n = 1; n <= 5; n++) {
      outgoing.write("x");
      await vi.waitUntil(() => received === n, { timeout: 5_000 });
      await clock.advance(60);
    }
    outgoing.end();
    const answered = once(outgoing, "response");
    // The end is on its way still.
    while (clock.pending > 0) {
      await delay(20);
      await clock.advance(20);
    }
    expect(((await answered) as [IncomingMessage])[0].statusCode).toBe(504);
    expect(clock.now()).toBeGreaterThanOrEqual(400);
  });

  it("answers 502 if the instance breaks off before it answers", async () => {
    await rawUpstream((_, __, end) => end());
    const answer = await call(await front(), "/api/", { method: "POST" }, "body");
    expect(answer.status).toBe(502);
    expect(json(answer)).toMatchObject({ error: "bad_gateway" });
    expect(answer.text).not.toContain("127.0.0.1");
  });

  it("answers although those who are told of errors throw", async () => {
    const warned = once(process, "warning");
    const port = await front({
      retry: false,
      onError: () => {
        throw new Error("logging failed");
      },
    });
    expect((await call(port, "/api/")).status).toBe(503);
    expect((await warned)[0]).toMatchObject({ message: "logging failed" });
  });

  it("answers a caller whose upload the instance does not want any more", async () => {
    await upstream((request, response) => {
      response.writeHead(413).end("too large");
      request.resume();
    });
    const answer = await call(
      await front(),
      "/api/",
      { method: "POST" },
      Readable.from(Array(20).fill("x".repeat(10_000))),
    );
    expect(answer).toMatchObject({ status: 413, text: "too large" });
  });

  it("tells who mounted it after a body parser", async () => {
    await upstream(echo);
    const proxy = gateway("lorem", { registry });
    cleanup.push(() => proxy.close());
    const port = await listen(createServer(express().use(express.json()).use(proxy)));
    const headers = { "content-type": "application/json" };
    const answer = await call(port, "/", { method: "POST", headers }, "{}");
    expect(answer.status).toBe(500);
    expect(json(answer)).toMatchObject({ error: "misconfigured" });
    expect((await call(port, "/")).status).toBe(200);
  });

  it("answers 503 after it was closed", async () => {
    await upstream(echo);
    const proxy = gateway("lorem", { registry });
    const port = await listen(createServer(proxy));
    await proxy.close();
    expect((await call(port, "/")).status).toBe(503);
  });

  it.each<[string, Record<string, unknown>]>([
    ["registry", {}],
    ["registry.instancer", { registry: {} }],
    ["prefix", { prefix: "lorem" }],
    ["prefix", { prefix: "/lorem/" }],
    ["timeoutMs", { timeoutMs: -1 }],
    ["idempotent", { idempotent: true }],
    ["upgradePath", { upgradePath: "api" }],
    ["stallTimeoutMs", { stallTimeoutMs: "1" }],
    ["maxBodyBytes", { maxBodyBytes: -1 }],
    ["maxHeaders", { maxHeaders: 0 }],
    ["maxHeaderBytes", { maxHeaderBytes: NaN }],
    ["trustForwarded", { trustForwarded: "yes" }],
    ["trustCallChain", { trustCallChain: 1 }],
    ["forwarded", { forwarded: "yes" }],
    ["via", { via: "two words" }],
    ["nonsense", { nonsense: 1 }],
    ["retry.timeoutMs", { retry: { timeoutMs: "1" } }],
    ["service", { service: "other" }],
    ["client.dispatch", { registry: undefined, client: {} }],
  ])("refuses a wrong %s", (path, wrong) => {
    const options = path === "registry" ? wrong : { registry, ...wrong };
    expect(() => gateway("lorem", options as GatewayOptions)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION", path }),
    );
  });

  it("refuses options for a client beside a client", async () => {
    await using client = serviceClient(registry, "lorem");
    expect(() => gateway("lorem", { client, retry: false })).toThrow(expect.objectContaining({ path: "retry" }));
    expect(() => gateway("", { client })).toThrow(expect.objectContaining({ path: "service" }));
  });
});

describe("gateway, sent again", () => {
  /** The first instance that is asked breaks off after it got the request, all later ones answer. */
  async function oneBreaks(): Promise<() => number> {
    let requests = 0;
    const answering = (request: IncomingMessage, response: { end(text: string): void }): void => {
      requests++;
      if (requests === 1) request.socket.destroy();
      else request.resume().once("end", () => response.end("done"));
    };
    await upstream(answering);
    await upstream(answering);
    return () => requests;
  }

  it("is what is idempotent", async () => {
    const requests = await oneBreaks();
    expect(await call(await front(), "/api/")).toMatchObject({ status: 200, text: "done" });
    expect(requests()).toBe(2);
  });

  it("is not what may have been done", async () => {
    const requests = await oneBreaks();
    expect((await call(await front(), "/api/", { method: "POST" })).status).toBe(502);
    expect(requests()).toBe(1);
  });

  it("is what the application says is idempotent, with its body from memory", async () => {
    const requests = await oneBreaks();
    const port = await front({ idempotent: (request) => request.headers["idempotency-key"] !== undefined });
    const headers = { "idempotency-key": "1" };
    expect(await call(port, "/api/", { method: "POST", headers }, "body")).toMatchObject({ status: 200, text: "done" });
    expect(requests()).toBe(2);
  });

  it("is what has not left: an instance that is gone costs nothing, whatever the method", async () => {
    // Nobody listens there, nor will anybody take it meanwhile, as a port that was free a moment ago.
    await register(1);
    await upstream(echo);
    const via = await front();
    for (let n = 0; n < 4; n++) {
      const answer = await call(via, "/api/", { method: "POST" }, `body ${n}`);
      expect(JSON.parse(answer.text).body).toBe(`body ${n}`);
    }
  });

  it("is nothing once the answer has begun", async () => {
    let requests = 0;
    await rawUpstream((_, write, end) => {
      requests++;
      write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
      setTimeout(end, 20);
    });
    await expect(call(await front(), "/api/")).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(requests).toBe(1);
  });
});

describe("gateway, streams", () => {
  it("breaks the caller's connection if the instance dies in the middle of a body, however it is framed", async () => {
    for (const framing of ["content-length: 1000", "transfer-encoding: chunked"]) {
      await using own = memoryRegistry();
      const server = createTcpServer((socket) => {
        socket.on("error", () => undefined);
        socket.once("data", () => {
          socket.write(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n5\r\nhello\r\n`);
          setTimeout(() => socket.destroy(), 20);
        });
      });
      await own.registrar({ service: "lorem", host: "127.0.0.1", port: await listen(server) }).register();
      const onError = vi.fn();
      const port = await front({ registry: own, onError });
      await expect(call(port, "/api/")).rejects.toMatchObject({ code: "ECONNRESET" });
      expect(onError).toHaveBeenCalledOnce();
      // HTTP/1.0 knows no chunks: there a body ends with its connection, and only a reset tells it from half a one.
      await expect(raw(port, "GET /api/ HTTP/1.0\r\nHost: x\r\n\r\n")).rejects.toMatchObject({ code: "ECONNRESET" });
    }
  });

  it("passes bytes on as they come, without waiting for the end", async () => {
    const { promise: told, resolve: tell } = Promise.withResolvers<void>();
    await upstream((_, response) => {
      response.write("first");
      void told.then(() => response.end("last"));
    });
    const outgoing = httpRequest({ port: await front(), host: "127.0.0.1", path: "/api/", agent: false });
    outgoing.end();
    const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
    expect(String((await once(incoming, "data"))[0])).toBe("first");
    tell();
    expect(String((await once(incoming, "data"))[0])).toBe("last");
  });

  it("lets the slower side set the pace, both ways", async () => {
    const chunk = Buffer.alloc(65_536, "x");
    const total = 50 * 1024 * 1024;
    let produced = 0;
    const produce = (): Readable =>
      new Readable({
        read() {
          produced += chunk.length;
          this.push(produced > total ? null : chunk);
        },
      });
    const { promise: arrived, resolve: arrive } = Promise.withResolvers<() => void>();
    await upstream((request, response) => {
      if (request.method === "GET") produce().pipe(response);
      else arrive(() => void request.resume().once("end", () => response.end("taken")));
    });
    const port = await front();

    const outgoing = httpRequest({ port, host: "127.0.0.1", path: "/api/", agent: false }).end();
    const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
    await delay(300);
    expect(produced).toBeLessThan(total / 2);
    let received = 0;
    for await (const part of incoming) received += part.length;
    expect(received).toBe(total);

    produced = 0;
    const answer = call(port, "/api/", { method: "POST" }, produce());
    await delay(300);
    expect(produced).toBeLessThan(total / 2);
    (await arrived)();
    expect((await answer).text).toBe("taken");
  });
});
