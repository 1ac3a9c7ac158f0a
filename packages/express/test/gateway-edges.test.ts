import { mkdtemp, rm } from "node:fs/promises";
import { once } from "node:events";
import { type IncomingMessage, createServer, request as httpRequest } from "node:http";
import { type Socket, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { serviceClient } from "@rollcall/http";
import express from "express";
import { describe, expect, it, onTestFinished } from "vitest";
import { gateway } from "../src/index.ts";
import { listen, raw, world } from "./gateway-world.ts";

const HANDSHAKE =
  "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/** All that comes back on a Unix socket before it ends. */
async function overUnixSocket(listener: ReturnType<typeof createServer>, bytes: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "gateway-"));
  const path = join(directory, "s");
  listener.listen(path);
  await once(listener, "listening");
  onTestFinished(async () => {
    listener.close();
    await rm(directory, { recursive: true });
  });
  const socket = connect(path);
  socket.on("error", () => undefined);
  let text = "";
  socket.on("data", (data) => (text += data.toString("latin1")));
  socket.write(bytes);
  await once(socket, "close");
  return text;
}

describe("gateway, a handshake that does not wait for the answer before it", () => {
  it("ends the connection, whoever was answering", async () => {
    const here = world();
    await here.instance((_, response) => void setTimeout(() => response.end("late"), 50));
    const port = await here.front();
    await raw(port, `GET /slow HTTP/1.1\r\nHost: x\r\n\r\n${HANDSHAKE}`).catch(() => undefined);
    expect(await raw(port, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).toContain("late");
  });
});

describe("gateway, on a Unix socket", () => {
  it("breaks an answer off that the instance breaks off", async () => {
    const here = world();
    await here.rawInstance((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf");
      setTimeout(() => socket.destroy(), 20);
    });
    const text = await overUnixSocket(createServer(here.gateway()), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(text).toMatch(/half$/);
  });

  it("ends a WebSocket that the instance resets", async () => {
    const here = world();
    await here.rawInstance((socket) => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
      setTimeout(() => socket.resetAndDestroy(), 20);
    });
    const proxy = here.gateway();
    const text = await overUnixSocket(createServer(proxy).on("upgrade", proxy.upgrade), HANDSHAKE);
    expect(text).toMatch(/^HTTP\/1.1 101 /);
  });
});

describe("gateway, answers that Node cannot write", () => {
  it.each([
    ["204", "HTTP/1.1 204 No Content\r\nTrailer: x-sum\r\n\r\n", /^HTTP\/1.1 204 .*HTTP\/1.1 200 .*second$/s],
    [
      "205",
      "HTTP/1.1 205 Reset\r\nContent-Length: 0\r\nTrailer: x-sum\r\n\r\n",
      /^HTTP\/1.1 205 .*HTTP\/1.1 200 .*second$/s,
    ],
    [
      "a bad header",
      "HTTP/1.1 304 Not Modified\r\nX-Bad: a\x7fb\r\n\r\n",
      /^HTTP\/1.1 502 .*"service":"lorem"}HTTP\/1.1 200 .*second$/s,
    ],
  ])("never leave the connection to a later answer: %s", async (_, bytes, expected) => {
    const here = world();
    await here.rawInstance((socket, received) => {
      if (/GET \/second/.test(received)) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond");
      else socket.write(bytes, "latin1");
    });
    const errors: unknown[] = [];
    const port = await here.front({ onError: (error) => errors.push(error) });
    const two = "GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET /second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    const text = await raw(port, two).catch(() => "");
    expect(text).toMatch(expected);
    expect(errors).toHaveLength(text.includes(" 502 ") ? 1 : 0);
  });
});

describe("gateway, the head of an answer", () => {
  it("does not wait for the body", async () => {
    const here = world();
    await here.instance((request, response) => {
      response.flushHeaders();
      request.resume().once("end", () => response.end("done"));
    });
    const outgoing = httpRequest({ port: await here.front(), host: "127.0.0.1", method: "POST", agent: false });
    outgoing.write("begun");
    const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
    outgoing.end("ended");
    let text = "";
    for await (const chunk of answer) text += String(chunk);
    expect(text).toBe("done");
  });

  it("reaches middleware that knows lists of pairs only", async () => {
    const here = world();
    await here.instance((_, response) => {
      response.setHeader("set-cookie", ["a=1", "b=2"]);
      response.end("ok");
    });
    // As on-headers 1.0 does it, which compression 1.7 brings along.
    const application = express().use((_, response, next) => {
      const { writeHead } = response;
      response.writeHead = ((statusCode: number, headers: readonly (readonly [string, string])[] = []) => {
        for (const [name, value] of headers) response.setHeader(name, value);
        return writeHead.call(response, statusCode);
      }) as typeof writeHead;
      next();
    });
    const port = await listen(createServer(application.use(here.gateway())));
    const text = await raw(port, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    expect(text).toMatch(/^HTTP\/1.1 200 .*set-cookie: a=1\r\nset-cookie: b=2\r\n.*ok$/is);
  });
});

describe("gateway, a caller who has left", () => {
  it("is not asked for, if that was before the gateway's turn", async () => {
    const here = world();
    let requests = 0;
    await here.instance((_, response) => {
      requests++;
      response.write("endless");
    });
    const turn = Promise.withResolvers<void>();
    const proxy = here.gateway();
    const application = createServer((request, response) => {
      response.once("close", () => {
        setTimeout(() => {
          proxy(request, response);
          turn.resolve();
        }, 10);
      });
    });
    const socket = connect(await listen(application), "127.0.0.1");
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await delay(50);
    socket.destroy();
    await turn.promise;
    await delay(100);
    expect(requests).toBe(0);
  });
});

describe("gateway, functions of the application", () => {
  it("that throw are answered with 500, and the process lives", async () => {
    const here = world();
    await here.instance((_, response) => response.end());
    const thrown = new Error("own");
    const throws = (): never => {
      throw thrown;
    };
    const errors: unknown[] = [];
    const onError = (error: unknown): void => void errors.push(error);
    const get = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    expect(await raw(await here.front({ idempotent: throws, onError }), get)).toMatch(/^HTTP\/1.1 500 /);
    const trusting = await here.front({ trustForwarded: throws, onError });
    expect(await raw(trusting, get)).toMatch(/^HTTP\/1.1 500 /);
    expect(await raw(trusting, HANDSHAKE)).toMatch(/^HTTP\/1.1 500 /);
    expect(errors).toEqual([thrown, thrown, thrown]);
  });

  it("may say of a GET that it is not to be sent twice", async () => {
    const here = world();
    let attempts = 0;
    await here.rawInstance((socket) => {
      attempts++;
      socket.destroy();
    });
    const port = await here.front({ idempotent: () => false });
    await raw(port, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    expect(attempts).toBe(1);
  });
});

describe("gateway, at its end", () => {
  it("answers 503 to a handshake that is under way, and lets nothing of it live on", async () => {
    const here = world();
    const reached = Promise.withResolvers<Socket>();
    await here.rawInstance((socket) => reached.resolve(socket));
    const proxy = here.gateway({ drainMs: 200 });
    const text = raw(await listen(createServer(proxy).on("upgrade", proxy.upgrade)), HANDSHAKE);
    const instance = await reached.promise;
    const ended = once(instance, "close");
    const closing = proxy.close();
    expect(await text).toMatch(/^HTTP\/1.1 503 .*"error":"no_endpoints"/s);
    await Promise.all([ended, closing]);
  });

  it("answers 503 from then on, also where its client goes on for others", async () => {
    const here = world();
    await here.instance((_, response) => response.end("ok"));
    const client = serviceClient(here.registry, "lorem");
    onTestFinished(() => client.close());
    const proxy = gateway("lorem", { client });
    const port = await listen(createServer(proxy).on("upgrade", proxy.upgrade));
    const get = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    expect(await raw(port, get)).toMatch(/^HTTP\/1.1 200 /);
    await proxy.close();
    for (const bytes of [get, HANDSHAKE]) expect(await raw(port, bytes)).toMatch(/^HTTP\/1.1 503 .*retry-after: 1/is);
    expect(await (await client.fetch("/")).text()).toBe("ok");
  });
});

describe("gateway, uploads slower than an attempt may be", () => {
  it("are the caller's pace, and no failure of the instance", async () => {
    const here = world();
    await here.instance((request, response) => void request.resume().once("end", () => response.end("ok")));
    const client = serviceClient(here.registry, {
      service: "lorem",
      retry: { timeoutMs: 4_000, attemptTimeoutMs: 100 },
    });
    onTestFinished(() => client.close());
    const outgoing = httpRequest({
      port: await listen(createServer(gateway("lorem", { client }))),
      method: "POST",
      agent: false,
    });
    for (let piece = 0; piece < 6; piece++) {
      outgoing.write("piece");
      await delay(50);
    }
    outgoing.end();
    const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
    answer.resume();
    expect(answer.statusCode).toBe(200);
    await once(answer, "end");
    expect(client.endpoints.map(({ stats }) => stats.failures)).toEqual([0]);
  });
});
