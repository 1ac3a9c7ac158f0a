import { Readable } from "node:stream";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { roundRobin } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { clientOf, deadInstance, httpServer, inFlight, text, until } from "./servers.ts";

const echo = () =>
  httpServer(async (request, response) => {
    const { method, url, headers } = request;
    response.setHeader("content-type", "application/json").setHeader("set-cookie", ["a=1", "b=2"]);
    response.end(JSON.stringify({ method, url, headers, text: await text(request) }));
  });

interface Echo {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

describe("fetch", () => {
  it("gives a Response of the standard kind", async () => {
    await using server = await echo();
    await using client = clientOf([server]);
    const response = await client.fetch("/a?b=c#d");
    expect(response).toBeInstanceOf(Response);
    expect(response).toMatchObject({ status: 200, statusText: "OK", ok: true, redirected: false, bodyUsed: false });
    expect(response.url).toBe("http://lorem/a?b=c");
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    const copy = response.clone();
    expect(((await response.json()) as Echo).url).toBe("/a?b=c");
    expect(((await copy.json()) as Echo).url).toBe("/a?b=c");
    expect(inFlight(client)).toEqual([0]);
  });

  it("balances and retries as request does", async () => {
    await using a = await echo();
    await using b = await echo();
    await using client = clientOf([a, b, await deadInstance()], { policy: roundRobin() });
    for (let n = 0; n < 30; n++) expect((await client.fetch("/", { method: "POST", body: "x" })).status).toBe(200);
    expect(a.seen.length + b.seen.length).toBe(30);
    expect(Math.min(a.seen.length, b.seen.length)).toBeGreaterThanOrEqual(10);
  });

  it.each([
    ["a path", "/x"],
    ["a URL of the service", "http://lorem/x"],
    ["a URL object, in any case", new URL("http://LOREM/x")],
    ["a path with dots", "/y/../x"],
  ])("takes %s", async (_, input) => {
    await using server = await echo();
    await using client = clientOf([server]);
    expect(((await (await client.fetch(input)).json()) as Echo).url).toBe("/x");
  });

  it.each([
    "//evil.test/",
    "/\\evil.test/",
    "/\t/evil.test/",
    "\n//evil.test/",
    "http://evil.test/",
    "http://lorem:81/",
    "http://lorem.evil.test/",
    "http://user:secret@lorem/",
    "http://lorem@evil.test/",
    "http:///evil.test/",
    "http:\\\\evil.test",
    "ftp://lorem/",
    "file:///etc/passwd",
    "data:,x",
    "x",
    "",
    new URL("http://evil.test/"),
    new URL("http://lorem//evil.test"),
  ])("refuses %j: no input leads to another host", async (input) => {
    await using server = await echo();
    await using client = clientOf([server]);
    await expect(client.fetch(input)).rejects.toMatchObject({ code: "INVALID_OPTION" });
    expect(server.seen).toEqual([]);
  });

  it("sends what a fetch sends", async () => {
    await using server = await echo();
    await using client = clientOf([server], { headers: { "x-client": "1" } });
    const sent = async (init: Parameters<typeof client.fetch>[1]) =>
      (await (await client.fetch("/", init)).json()) as Echo;
    expect((await sent({})).headers).toMatchObject({
      accept: "*/*",
      "accept-encoding": "gzip, deflate, br",
      "x-client": "1",
    });
    expect(await sent({ method: "post", body: "t" })).toMatchObject({
      method: "POST",
      text: "t",
      headers: { "content-type": "text/plain;charset=UTF-8" },
    });
    expect(await sent({ method: "PUT", body: new URLSearchParams({ a: "b" }) })).toMatchObject({
      text: "a=b",
      headers: { "content-type": "application/x-www-form-urlencoded;charset=UTF-8" },
    });
    expect(await sent({ method: "PUT", body: "{}", headers: { "Content-Type": "application/json" } })).toMatchObject({
      headers: { "content-type": "application/json" },
    });
    const form = new FormData();
    form.append("a", "b");
    expect((await sent({ method: "POST", body: form })).headers["content-type"]).toMatch(
      /^multipart\/form-data; boundary=/,
    );
    const stream = Readable.toWeb(Readable.from(["a", "b"])) as ReadableStream<string>;
    expect(await sent({ method: "POST", body: stream, duplex: "half" })).toMatchObject({ text: "ab" });
    await expect(client.fetch("/", { body: "x" })).rejects.toMatchObject({ code: "INVALID_OPTION", path: "body" });
  });

  it.each([
    ["HEAD", 200],
    ["GET", 204],
    ["GET", 205],
    ["GET", 304],
  ])("has no body for %s answered with %i", async (method, status) => {
    await using server = await httpServer((_, response) => {
      response
        .writeHead(status, { "content-encoding": "gzip", ...(method === "HEAD" ? { "content-length": "5" } : {}) })
        .end();
    });
    await using client = clientOf([server]);
    const response = await client.fetch("/", { method });
    expect([response.status, response.body]).toEqual([status, null]);
    expect(await response.text()).toBe("");
    await until(() => inFlight(client)[0] === 0);
    expect((await client.fetch("/", { method })).status).toBe(status);
  });

  const plain = "text that is worth compressing ".repeat(1_000);
  it.each([
    ["gzip", gzipSync(plain)],
    ["x-gzip", gzipSync(plain)],
    ["deflate", deflateSync(plain)],
    ["br", brotliCompressSync(plain)],
    ["gzip, br", brotliCompressSync(gzipSync(plain))],
    ["GZIP", gzipSync(plain)],
  ])("decompresses %s", async (encoding, compressed) => {
    await using server = await httpServer((_, response) => {
      response.writeHead(200, { "content-encoding": encoding, "content-length": compressed.length }).end(compressed);
    });
    await using client = clientOf([server]);
    const response = await client.fetch("/");
    expect(await response.text()).toBe(plain);
    await until(() => inFlight(client)[0] === 0);
  });

  it("leaves an encoding that it does not know to the reader", async () => {
    await using server = await httpServer(
      (_, response) => void response.writeHead(200, { "content-encoding": "rot13" }).end("grkg"),
    );
    await using client = clientOf([server]);
    expect(await (await client.fetch("/")).text()).toBe("grkg");
  });

  it("fails the reader of a body that is not what its encoding says", async () => {
    await using server = await httpServer(
      (_, response) => void response.writeHead(200, { "content-encoding": "gzip" }).end("no gzip"),
    );
    await using client = clientOf([server]);
    await expect((await client.fetch("/")).text()).rejects.toThrow();
    await until(() => inFlight(client)[0] === 0);
  });

  it("streams: a chunk is there before the next one is sent", async () => {
    let more = (): void => undefined;
    await using server = await httpServer((_, response) => {
      response.write("one");
      more = () => void response.end("two");
    });
    await using client = clientOf([server]);
    const reader = (await client.fetch("/")).body?.getReader();
    const decoder = new TextDecoder();
    expect(decoder.decode((await reader?.read())?.value)).toBe("one");
    expect(inFlight(client)).toEqual([1]);
    more();
    expect(decoder.decode((await reader?.read())?.value)).toBe("two");
    expect((await reader?.read())?.done).toBe(true);
    expect(inFlight(client)).toEqual([0]);
  });

  it("lets a body be read into the reader's own buffer, to its end", async () => {
    await using server = await httpServer((_, response) => void response.end("abcdef"));
    await using client = clientOf([server]);
    const reader = (await client.fetch("/")).body?.getReader({ mode: "byob" });
    let all = "";
    for (;;) {
      const next = await reader?.read(new Uint8Array(4));
      if (next === undefined || next.done) break;
      all += Buffer.from(next.value).toString();
    }
    expect(all).toBe("abcdef");
  });

  it("cancels the request with its body, even while a read waits", async () => {
    let closed = false;
    await using server = await httpServer((request, response) => {
      response.write("one");
      request.socket.on("close", () => (closed = true));
    });
    await using client = clientOf([server]);
    const reader = (await client.fetch("/")).body?.getReader();
    await reader?.read();
    const waiting = reader?.read();
    await reader?.cancel("enough");
    expect((await waiting)?.done).toBe(true);
    await until(() => closed && inFlight(client)[0] === 0);
    expect(client.endpoints[0]?.stats).toMatchObject({ failures: 0 });
  });

  it("rejects with the signal's reason, before the response and inside the body", async () => {
    await using server = await httpServer((request, response) => {
      if (request.url === "/body") response.write("one");
    });
    await using client = clientOf([server]);
    const early = new AbortController();
    const call = client.fetch("/", { signal: early.signal });
    setTimeout(() => early.abort(), 30);
    await expect(call).rejects.toMatchObject({ name: "AbortError" });
    const late = new AbortController();
    const response = await client.fetch("/body", { signal: late.signal });
    setTimeout(() => late.abort(new Error("enough")), 30);
    await expect(response.text()).rejects.toThrow("enough");
    await until(() => inFlight(client)[0] === 0);
  });
});

describe("a response that nobody has begun to read", () => {
  it.each(["identity", "gzip"])("(%s) keeps the reason of an abort for its reader", async (encoding) => {
    await using server = await httpServer((_, response) => {
      response.writeHead(200, { "content-encoding": encoding });
      response.write(encoding === "gzip" ? gzipSync("one").subarray(0, 15) : "one");
    });
    await using client = clientOf([server]);
    const controller = new AbortController();
    const response = await client.fetch("/", { signal: controller.signal });
    controller.abort(new Error("enough"));
    await until(() => inFlight(client)[0] === 0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await expect(response.text()).rejects.toThrow("enough");
  });

  it("breaks no process when the server dies under it", async () => {
    await using server = await httpServer((_, response) => {
      response.writeHead(200, { "content-encoding": "gzip" }).write(gzipSync("one").subarray(0, 15));
    });
    await using client = clientOf([server]);
    await client.fetch("/", { signal: null });
    await server.kill();
    await until(() => client.endpoints[0]?.stats.failures === 1);
    expect(inFlight(client)).toEqual([0]);
  });
});

describe("a redirect", () => {
  const redirecting = (status: number, location: (port: number) => string) =>
    httpServer(async (request, response) => {
      const body = await text(request);
      if (request.url !== "/from")
        response.end(`${request.method} ${request.url} ${body} ${request.headers["content-type"] ?? ""}`);
      else response.writeHead(status, { location: location(request.socket.localPort ?? 0) }).end("moved");
    });

  it.each([
    ["a relative one", () => "/to?x=1"],
    ["one to the service", () => "http://lorem/to?x=1"],
    ["one to the instance", (port: number) => `http://127.0.0.1:${port}/to?x=1#y`],
  ])("is followed when it stays: %s", async (_, location) => {
    await using server = await redirecting(302, location);
    await using client = clientOf([server]);
    const response = await client.fetch("/from");
    expect(await response.text()).toBe("GET /to?x=1  ");
    expect([response.redirected, response.url]).toEqual([true, "http://lorem/to?x=1"]);
    expect(inFlight(client)).toEqual([0]);
  });

  it.each([
    "http://evil.test/",
    "//evil.test/",
    "/\\evil.test",
    "http://127.0.0.1:1/",
    "http://lorem//x",
    "ftp://lorem/",
    "http://[",
  ])("to %s is handed over, not followed", async (location) => {
    await using server = await redirecting(302, () => location);
    await using client = clientOf([server]);
    const response = await client.fetch("/from");
    expect([response.status, response.headers.get("location"), await response.text()]).toEqual([
      302,
      location,
      "moved",
    ]);
    expect(server.seen.length).toBe(1);
  });

  it.each([
    [301, "POST", "GET /to  "],
    [302, "POST", "GET /to  "],
    [303, "PUT", "GET /to  "],
    [307, "POST", "POST /to body text/plain;charset=UTF-8"],
    [308, "PUT", "PUT /to body text/plain;charset=UTF-8"],
    [302, "PUT", "PUT /to body text/plain;charset=UTF-8"],
  ])("%i of a %s leads to: %s", async (status, method, result) => {
    await using server = await redirecting(status, () => "/to");
    await using client = clientOf([server]);
    expect(await (await client.fetch("/from", { method, body: "body" })).text()).toBe(result);
  });

  it("is read to its end when it is followed: its connection is used again", async () => {
    await using server = await httpServer((request, response) => {
      if (request.url === "/to") response.end("ok");
      else response.writeHead(302, { location: "/to" }).end("x".repeat(100_000));
    });
    await using client = clientOf([server], { connections: 1 });
    for (let n = 0; n < 3; n++) expect(await (await client.fetch("/from")).text()).toBe("ok");
    expect(server.connections()).toBe(1);
  });

  it("that wants a stream again is handed over", async () => {
    await using server = await redirecting(307, () => "/to");
    await using client = clientOf([server]);
    expect((await client.fetch("/from", { method: "POST", body: Readable.from(["a"]) })).status).toBe(307);
  });

  it("is handed over, or is an error, if the caller wants it so", async () => {
    await using server = await redirecting(302, () => "/to");
    await using client = clientOf([server]);
    expect((await client.fetch("/from", { redirect: "manual" })).status).toBe(302);
    await expect(client.fetch("/from", { redirect: "error" })).rejects.toThrow(TypeError);
    await until(() => inFlight(client)[0] === 0);
  });

  it("that never ends is an error", async () => {
    await using server = await redirecting(302, () => "/from");
    await using client = clientOf([server]);
    await expect(client.fetch("/from")).rejects.toThrow(/20 redirects/);
    expect(server.seen.length).toBe(21);
    await until(() => inFlight(client)[0] === 0);
  });
});
