import { once } from "node:events";
import { type IncomingMessage, type Server, createServer } from "node:http";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { serviceClient } from "@rollcall/http";
import { announce } from "@rollcall/http/server";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { type World, listen, raw, until, world } from "./gateway-world.ts";

/** An instance that speaks WebSocket. */
async function socketInstance(
  { instance }: World,
  onSocket: (socket: WebSocket, request: IncomingMessage) => void,
): Promise<WebSocketServer> {
  const sockets = new WebSocketServer({ noServer: true });
  onTestFinished(() => sockets.close());
  await instance(
    (_, response) => response.end("no socket"),
    (server) => {
      server.on("upgrade", (request, socket, head) => {
        sockets.handleUpgrade(request, socket, head, (opened) => {
          opened.on("error", () => undefined);
          onSocket(opened, request);
        });
      });
    },
  );
  return sockets;
}

async function open(port: number, path = "/", options = {}): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, options);
  socket.on("error", () => undefined);
  onTestFinished(() => socket.terminate());
  await once(socket, "open");
  return socket;
}

/** What a handshake is answered with that comes to nothing. */
async function refused(port: number, path = "/"): Promise<{ status: number | undefined; text: string }> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
  socket.on("error", () => undefined);
  const [, answer] = (await once(socket, "unexpected-response")) as [unknown, IncomingMessage];
  let text = "";
  for await (const chunk of answer) text += String(chunk);
  return { status: answer.statusCode, text };
}

const HANDSHAKE =
  "Host: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

describe("gateway, WebSockets", () => {
  it("passes 10,000 messages each way, in order", async () => {
    const here = world();
    const seen: string[] = [];
    await socketInstance(here, (socket) => {
      for (let n = 0; n < 10_000; n++) socket.send(`down ${n}`);
      socket.on("message", (data: Buffer) => seen.push(data.toString()));
    });
    const got: string[] = [];
    const socket = new WebSocket(`ws://127.0.0.1:${await here.front()}/`);
    socket.on("message", (data: Buffer) => got.push(data.toString()));
    await once(socket, "open");
    for (let n = 0; n < 10_000; n++) socket.send(`up ${n}`);
    await until(() => seen.length >= 10_000 && got.length >= 10_000, 20_000);
    socket.close();
    expect(seen).toEqual(Array.from({ length: 10_000 }, (_, n) => `up ${n}`));
    expect(got).toEqual(Array.from({ length: 10_000 }, (_, n) => `down ${n}`));
  });

  it("tells the instance what it tells it of requests, and passes on what was agreed", async () => {
    const here = world();
    let seen: IncomingMessage | undefined;
    await socketInstance(here, (_, request) => (seen = request));
    const front = await here.front({ prefix: "/lorem" });
    const socket = new WebSocket(`ws://127.0.0.1:${front}/chat?room=7`, ["v2"], {
      headers: { host: "shop.example", origin: "https://shop.example", "x-own": "yes", "x-forwarded-for": "6.6.6.6" },
    });
    onTestFinished(() => socket.terminate());
    await once(socket, "open");
    expect(socket.protocol).toBe("v2");
    expect(seen?.url).toBe("/lorem/chat?room=7");
    expect(seen?.headers).toMatchObject({
      origin: "https://shop.example",
      "x-own": "yes",
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-host": "shop.example",
      "sec-websocket-version": "13",
    });
    expect(seen?.headers.host).toMatch(/^127\.0\.0\.1:\d+$/);
  });

  it("is balanced, and load of its instance until it closes", async () => {
    const here = world();
    const opened = [0, 0];
    for (const index of opened.keys()) {
      await socketInstance(here, () => (opened[index] = (opened[index] ?? 0) + 1));
    }
    const client = serviceClient(here.registry, "lorem");
    onTestFinished(() => client.close());
    const front = await here.front({ registry: undefined, client });
    const sockets = await Promise.all(Array.from({ length: 4 }, () => open(front)));
    expect(opened).toEqual([2, 2]);
    expect(client.endpoints.map(({ stats }) => stats.inFlight)).toEqual([2, 2]);
    for (const socket of sockets) socket.close();
    await until(() => client.endpoints.every(({ stats }) => stats.inFlight === 0));
    expect(client.endpoints.map(({ stats }) => [stats.successes, stats.failures])).toEqual([
      [2, 0],
      [2, 0],
    ]);
  });

  it("passes on how either side closes, and that either side has broken off, within 100 ms", async () => {
    const here = world();
    const inner: WebSocket[] = [];
    await socketInstance(here, (socket) => inner.push(socket));
    const front = await here.front();
    const ends: [string, (outer: WebSocket, inner: WebSocket) => [WebSocket, () => void], number][] = [
      ["caller closes", (a, b) => [b, () => a.close(4001, "enough")], 4001],
      ["instance closes", (a, b) => [a, () => b.close(4002, "gone")], 4002],
      ["caller breaks off", (a, b) => [b, () => a.terminate()], 1006],
      ["instance breaks off", (a, b) => [a, () => b.terminate()], 1006],
    ];
    for (const [name, how, code] of ends) {
      const tookMs: number[] = [];
      for (let n = 0; n < 5; n++) {
        const outer = await open(front);
        const other = inner.at(-1);
        if (other === undefined) throw new Error("not opened");
        const [told, act] = how(outer, other);
        const startedMs = performance.now();
        act();
        const [closedWith] = (await once(told, "close")) as [number];
        tookMs.push(performance.now() - startedMs);
        expect([name, closedWith]).toEqual([name, code]);
      }
      // Of several, as the machine may be busy with something else.
      expect(Math.min(...tookMs)).toBeLessThan(100);
    }
  });

  it("passes on a reset as a reset, both ways", async () => {
    const here = world();
    const errors: string[] = [];
    let reset = (): void => undefined;
    await here.rawInstance((socket, received) => {
      socket.on("error", (error: NodeJS.ErrnoException) => errors.push(`instance: ${error.code}`));
      if (!received.endsWith("\r\n\r\n")) return;
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
      reset = () => void socket.resetAndDestroy();
    });
    const front = await here.front();
    for (const side of ["instance", "caller"]) {
      const socket = connect(front, "127.0.0.1");
      socket.on("error", (error: NodeJS.ErrnoException) => errors.push(`caller: ${error.code}`));
      socket.write(`GET / HTTP/1.1\r\n${HANDSHAKE}`);
      expect(String((await once(socket, "data"))[0])).toMatch(/^HTTP\/1\.1 101 /);
      if (side === "instance") reset();
      else socket.resetAndDestroy();
      await until(() => errors.length > 0);
      expect(errors.splice(0)).toEqual([side === "instance" ? "caller: ECONNRESET" : "instance: ECONNRESET"]);
    }
  });

  it("lets the slower side set the pace, both ways", async () => {
    const here = world();
    const total = 300;
    const block = Buffer.alloc(131_072, "x");
    const { promise: opened, resolve: onOpened } = Promise.withResolvers<WebSocket>();
    await socketInstance(here, onOpened);
    const outer = await open(await here.front());
    const inner = await opened;
    for (const [from, to] of [
      [outer, inner],
      [inner, outer],
    ] as const) {
      let received = 0;
      to.on("message", () => received++);
      to.pause();
      for (let n = 0; n < total; n++) from.send(block);
      await delay(200);
      // What has left the sender is in buffers in between: 37 MiB do not fit there.
      expect(from.bufferedAmount).toBeGreaterThan((total * block.length) / 2);
      to.resume();
      await until(() => received === total, 20_000);
    }
  });

  it.each([401, 404, 503])("passes on a refusal of the instance: %i", async (status) => {
    const here = world();
    await here.instance(
      () => undefined,
      (server) =>
        void server.on("upgrade", (_, socket) => {
          socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 4\r\nX-Reason: own\r\n\r\nnope`);
        }),
    );
    expect(await refused(await here.front())).toEqual({ status, text: "nope" });
  });

  it("passes on what an instance says that knows no WebSockets", async () => {
    const here = world();
    await here.instance((_, response) => response.end("just a page"));
    expect(await refused(await here.front())).toEqual({ status: 200, text: "just a page" });
  });

  it("passes on a long refusal whole", async () => {
    const here = world();
    const page = "x".repeat(3_000_000);
    await here.instance((_, response) => void response.writeHead(403).end(page));
    expect(await refused(await here.front())).toEqual({ status: 403, text: page });
  });

  it("answers 503 where there is no instance, 504 where it does not answer, 502 where it breaks off", async () => {
    const none = world();
    const { status, text } = await refused(await none.front({ retry: false }));
    expect([status, JSON.parse(text)]).toMatchObject([503, { error: "no_endpoints", service: "lorem" }]);

    const slow = world();
    await slow.rawInstance(() => undefined);
    expect(await refused(await slow.front({ timeoutMs: 50 }))).toMatchObject({ status: 504 });

    const broken = world();
    const onError = vi.fn();
    await broken.rawInstance((socket) => socket.destroy());
    expect(await refused(await broken.front({ onError }))).toMatchObject({ status: 502 });
    expect(onError).toHaveBeenCalledOnce();
  });

  it("is sent elsewhere if nothing has left, and only then", async () => {
    const here = world();
    // Nobody listens there.
    await here.registry.registrar({ service: "lorem", host: "127.0.0.1", port: 1 }).register();
    await socketInstance(here, (socket) => socket.send("hello"));
    const front = await here.front();
    for (let n = 0; n < 4; n++) await open(front);

    let handshakes = 0;
    const breaking = world();
    for (let n = 0; n < 2; n++) {
      await breaking.rawInstance((socket) => {
        handshakes++;
        socket.destroy();
      });
    }
    expect(await refused(await breaking.front())).toMatchObject({ status: 502 });
    expect(handshakes).toBe(1);
  });

  it("takes what is below upgradePath, and leaves the rest to others", async () => {
    const here = world();
    const paths: (string | undefined)[] = [];
    await socketInstance(here, (_, request) => paths.push(request.url));
    const proxy = here.gateway({ upgradePath: "/api/lorem", prefix: "/lorem" });
    const taken: boolean[] = [];
    const port = await listen(
      createServer(proxy).on("upgrade", (request, socket, head) => {
        taken.push(proxy.upgrade(request, socket, head));
        if (taken.at(-1) === false) socket.end("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nmine");
      }),
    );
    await open(port, "/api/lorem/chat?x=1");
    await open(port, "/api/lorem?x=1");
    expect(await refused(port, "/api/lorems")).toEqual({ status: 404, text: "mine" });
    expect(await refused(port, "/")).toEqual({ status: 404, text: "mine" });
    expect(taken).toEqual([true, true, false, false]);
    expect(paths).toEqual(["/lorem/chat?x=1", "/lorem/?x=1"]);
  });

  it("ends the handshake at the instance when the caller leaves before its answer, within 100 ms", async () => {
    const here = world();
    let begun = 0;
    let onLeft = (): void => undefined;
    await here.rawInstance((socket) => {
      begun++;
      socket.once("close", () => onLeft());
    });
    const onError = vi.fn();
    const front = await here.front({ onError });
    const tookMs: number[] = [];
    for (let n = 1; n <= 5; n++) {
      const left = new Promise<void>((resolve) => (onLeft = resolve));
      const socket = connect(front, "127.0.0.1");
      socket.write(`GET / HTTP/1.1\r\n${HANDSHAKE}`);
      await until(() => begun === n);
      const startedMs = performance.now();
      socket.destroy();
      await left;
      tookMs.push(performance.now() - startedMs);
    }
    expect(Math.min(...tookMs)).toBeLessThan(100);
    expect(onError).not.toHaveBeenCalled();
  });

  it("keeps what a hasty caller says before the answer", async () => {
    const here = world();
    await here.rawInstance((socket, received) => {
      const [head = "", rest] = received.split("\r\n\r\n");
      if (rest === "") {
        setTimeout(
          () => socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"),
          50,
        );
      }
      if (rest?.endsWith("late") === true) socket.end(`${head.split(" ", 1)[0]}:${rest}`);
    });
    const socket = connect(await here.front(), "127.0.0.1");
    socket.write(`GET / HTTP/1.1\r\n${HANDSHAKE}early,`);
    await delay(20);
    socket.write("middle,");
    let answer = "";
    socket.on("data", (chunk) => {
      answer += String(chunk);
      if (answer.endsWith("\r\n\r\n")) socket.write("late");
    });
    await once(socket, "close");
    expect(answer).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n[^]*GET:early,middle,late$/);
  });

  it("hands no connection over to an instance that switches to something else", async () => {
    const here = world();
    await here.rawInstance((socket) => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    });
    expect(await refused(await here.front())).toMatchObject({ status: 502 });
  });

  it.each([
    [
      "h2c",
      "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    ],
    ["a list of protocols", `GET / HTTP/1.1\r\n${HANDSHAKE.replace("websocket", "h2c, websocket")}`],
    ["another method", `POST / HTTP/1.1\r\n${HANDSHAKE}`],
    ["a body", `GET / HTTP/1.1\r\nContent-Length: 5\r\n${HANDSHAKE}hello`],
    ["chunks", `GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n${HANDSHAKE}0\r\n\r\n`],
    ["HTTP/1.0", `GET / HTTP/1.0\r\n${HANDSHAKE}`],
    ["traversal", `GET /../admin HTTP/1.1\r\n${HANDSHAKE}`],
    ["an absolute URL", `GET http://evil.example/ HTTP/1.1\r\n${HANDSHAKE}`],
    ["two hosts", `GET / HTTP/1.1\r\nHost: a\r\n${HANDSHAKE}`],
    [
      "a smuggled request behind a refusal",
      `GET /%2e%2e/ HTTP/1.1\r\n${HANDSHAKE}GET /admin HTTP/1.1\r\nHost: x\r\n\r\n`,
    ],
  ])("refuses %s, once, and ends the connection", async (_, bytes) => {
    const here = world();
    const seen = vi.fn();
    await here.rawInstance(seen);
    const answer = await raw(await here.front(), bytes);
    expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1);
    expect(answer).toMatch(/connection: close/i);
    expect(seen).not.toHaveBeenCalled();
  });

  it("leaves h2c to the server as a usual request, where that asks what is an upgrade", async () => {
    const here = world();
    await here.instance((request, response) => response.end(`upgrade: ${request.headers.upgrade}`));
    const proxy = here.gateway();
    const shouldUpgradeCallback = ({ headers }: IncomingMessage): boolean => headers.upgrade === "websocket";
    const port = await listen(createServer({ shouldUpgradeCallback }, proxy).on("upgrade", proxy.upgrade));
    const h2c = "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    expect(await raw(port, `GET / HTTP/1.1\r\nHost: x\r\n${h2c}`)).toMatch(/ 200 OK\r\n[^]*upgrade: undefined/);
  });

  it("gives nobody a way around the answer: what follows a refused handshake is never taken for a request", async () => {
    const here = world();
    let received = "";
    await here.rawInstance((socket, all) => {
      received = all;
      if (all.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n");
    });
    const answer = await raw(
      await here.front(),
      `GET / HTTP/1.1\r\n${HANDSHAKE}GET /admin HTTP/1.1\r\nHost: x\r\n\r\n`,
    );
    expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1);
    expect(received).not.toContain("/admin");
  });

  it("survives callers that reset at any moment", async () => {
    const here = world();
    await socketInstance(here, (socket) => {
      const timer = setInterval(() => socket.send(Buffer.alloc(10_000)), 1);
      socket.once("close", () => clearInterval(timer));
    });
    const client = serviceClient(here.registry, "lorem");
    onTestFinished(() => client.close());
    const front = await here.front({ registry: undefined, client });
    for (let n = 0; n < 60; n++) {
      const socket = connect(front, "127.0.0.1");
      socket.on("error", () => undefined);
      socket.write(`GET / HTTP/1.1\r\n${HANDSHAKE}${"x".repeat(n * 100)}`);
      await delay(n % 6);
      socket.resetAndDestroy();
    }
    await until(() => client.endpoints.every(({ stats }) => stats.inFlight === 0));
    await open(front);
  });

  it("ends its connections when it is closed", async () => {
    const here = world();
    const { promise: told, resolve } = Promise.withResolvers<unknown>();
    await socketInstance(here, (socket) => socket.once("close", resolve));
    const proxy = here.gateway();
    const socket = await open(await listen(createServer(proxy).on("upgrade", proxy.upgrade)));
    const closed = once(socket, "close");
    await proxy.close();
    expect((await closed)[0]).toBe(1006);
    await told;
  });

  it("does not keep a server from ending that is announced: idle connections are cut when the grace is over", async () => {
    const here = world();
    await socketInstance(here, () => undefined);
    let server: Server | undefined;
    const port = await here.front({}, (one) => (server = one));
    if (server === undefined) throw new Error("no server");
    const { registry } = here;
    const life = { drainMs: 0, graceMs: 100, signals: false } as const;
    const announced = await announce(server, { registry, service: "front", ...life });
    const socket = await open(port);
    const closed = once(socket, "close");
    await announced.close();
    await closed;
  });
});
