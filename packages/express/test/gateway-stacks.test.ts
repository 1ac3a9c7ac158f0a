import { once } from "node:events";
import { type IncomingMessage, type RequestListener, createServer, request as httpRequest } from "node:http";
import { createRequire } from "node:module";
import connect from "connect";
import express from "express";
import { describe, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import type { Gateway } from "../src/index.ts";
import { listen, until, world } from "./gateway-world.ts";

// Its types are those of the newer one, as far as they matter here; the alias brings none of its own.
const express4 = createRequire(import.meta.url)("express4") as typeof express;

/** A gateway under /api/lorem, and something else beside it, on everything that calls middleware. */
const STACKS: Readonly<Record<string, (gateway: Gateway) => RequestListener>> = {
  "Express 5": (gateway) =>
    express()
      .use("/api/lorem", gateway)
      .get("/other", (_, response) => void response.send("other")),
  "Express 4": (gateway) =>
    express4()
      .use("/api/lorem", gateway)
      .get("/other", (_, response) => void response.send("other")),
  "an Express 5 router": (gateway) =>
    express()
      .use("/api", express.Router().use("/lorem", gateway))
      .get("/other", (_, response) => void response.send("other")),
  Connect: (gateway) =>
    connect()
      .use("/api/lorem", gateway)
      .use("/other", (_: IncomingMessage, response: { end(text: string): void }) => response.end("other")),
  "node:http": (gateway) => (request, response) => {
    const mount = "/api/lorem";
    if (request.url?.startsWith(mount) === true) {
      request.url = request.url.slice(mount.length);
      gateway(request, response);
    } else {
      response.end("other");
    }
  },
};

async function call(
  port: number,
  path: string,
  body = "",
): Promise<{ status: number | undefined; headers: IncomingMessage["headers"]; text: string }> {
  const outgoing = httpRequest({ port, host: "127.0.0.1", path, method: body === "" ? "GET" : "POST", agent: false });
  outgoing.end(body);
  const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
  outgoing.on("error", () => undefined); // the answer tells of it too
  let text = "";
  for await (const chunk of answer) text += String(chunk);
  return { status: answer.statusCode, headers: answer.headers, text };
}

describe.each(Object.entries(STACKS))("gateway, in %s", (_, stack) => {
  it("passes on what is below its path, and nothing else", async () => {
    const here = world();
    await here.instance((request, response) => {
      response.writeHead(201, { "x-own": "yes", "set-cookie": ["a=1", "b=2"] });
      response.write(`${request.method} ${request.url} `);
      request.pipe(response);
    });
    const port = await listen(createServer(stack(here.gateway({ prefix: "/lorem" }))));
    const answer = await call(port, "/api/lorem/word/1?x=1", "body");
    expect(answer).toMatchObject({
      status: 201,
      text: "POST /lorem/word/1?x=1 body",
      headers: { "x-own": "yes", "set-cookie": ["a=1", "b=2"] },
    });
    expect((await call(port, "/api/lorem")).text).toBe("GET /lorem/ ");
    expect((await call(port, "/api/lorem/?x=1")).text).toBe("GET /lorem/?x=1 ");
    expect((await call(port, "/other")).text).toBe("other");
  });

  it("answers failures itself, in JSON", async () => {
    const here = world();
    const port = await listen(createServer(stack(here.gateway({ retry: false }))));
    const none = await call(port, "/api/lorem/");
    expect([none.status, none.headers["retry-after"], JSON.parse(none.text)]).toMatchObject([
      503,
      "1",
      { error: "no_endpoints", service: "lorem" },
    ]);
    expect(await call(port, "/api/lorem/%2e%2e/admin")).toMatchObject({ status: 400 });
  });

  it("breaks off with an instance that dies in the middle, and frees one whose caller leaves", async () => {
    const here = world();
    let left = 0;
    await here.instance((request, response) => {
      response.once("close", () => left++);
      response.write("half");
      if (request.url === "/die") setTimeout(() => request.socket.destroy(), 20);
    });
    const port = await listen(createServer(stack(here.gateway())));
    await expect(call(port, "/api/lorem/die")).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(left).toBe(1);
    const outgoing = httpRequest({ port, host: "127.0.0.1", path: "/api/lorem/stay", agent: false });
    outgoing.on("error", () => undefined).end();
    await once(outgoing, "response");
    outgoing.destroy();
    await until(() => left === 2);
  });

  it("hands WebSockets over beside it", async () => {
    const here = world();
    const paths: (string | undefined)[] = [];
    const sockets = new WebSocketServer({ noServer: true });
    await here.instance(
      () => undefined,
      (server) =>
        void server.on("upgrade", (request, socket, head) => {
          paths.push(request.url);
          sockets.handleUpgrade(request, socket, head, (opened) => {
            opened.on("message", (data: Buffer) => opened.send(`you said ${data.toString()}`));
          });
        }),
    );
    const proxy = here.gateway({ prefix: "/lorem", upgradePath: "/api/lorem" });
    const port = await listen(createServer(stack(proxy)).on("upgrade", proxy.upgrade));
    const socket = new WebSocket(`ws://127.0.0.1:${port}/api/lorem/chat`);
    await once(socket, "open");
    socket.send("hello");
    expect(String((await once(socket, "message"))[0])).toBe("you said hello");
    socket.close();
    await once(socket, "close");
    expect(paths).toEqual(["/lorem/chat"]);
  });
});
