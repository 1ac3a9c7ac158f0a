import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { ReadableStream } from "node:stream/web";
import { createInstance, isDiscoveryError, roundRobin } from "@rollcall/core";
import { FormData as UndiciFormData } from "undici";
import { describe, expect, it } from "vitest";
import type { RequestBody } from "../src/index.ts";
import { clientOf, httpServer, inFlight, text } from "./servers.ts";

describe("request", () => {
  it("takes the instances in turn, exactly", async () => {
    await using a = await httpServer((_, response) => void response.end("a"));
    await using b = await httpServer((_, response) => void response.end("b"));
    await using client = clientOf([a, b], { policy: roundRobin() });
    for (let n = 0; n < 100; n++) await (await client.request("/")).body.text();
    expect([a.seen.length, b.seen.length]).toEqual([50, 50]);
    expect(inFlight(client)).toEqual([0, 0]);
    expect(client.endpoints.map(({ stats }) => stats.successes)).toEqual([50, 50]);
  });

  it("keeps its connections: a hundred requests in a row need one per instance", async () => {
    await using a = await httpServer((_, response) => void response.end("a"));
    await using b = await httpServer((_, response) => void response.end("b"));
    await using client = clientOf([a, b], { policy: roundRobin() });
    for (let n = 0; n < 100; n++) await (await client.request("/")).body.text();
    expect([a.connections(), b.connections()]).toEqual([1, 1]);
  });

  it("returns status, headers, trailers and body as they came, and who answered", async () => {
    await using server = await httpServer((_, response) => {
      response.writeHead(201, "Made", { "X-One": "1", Trailer: "X-Sum", "Transfer-Encoding": "chunked" });
      response.write("made");
      response.addTrailers({ "X-Sum": "4" });
      response.end();
    });
    await using client = clientOf([server]);
    const answer = await client.request("/");
    expect(answer.statusCode).toBe(201);
    expect(answer.statusText).toBe("Made");
    expect(answer.headers["x-one"]).toBe("1");
    expect(await answer.body.text()).toBe("made");
    expect(answer.trailers).toEqual({ "x-sum": "4" });
    expect(answer.instance).toEqual(createInstance(server.instance));
  });

  it("sends method, path, query and headers as they were given", async () => {
    await using server = await httpServer((request, response) => {
      response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers }));
    });
    await using client = clientOf([server], { headers: { "X-Client": "rollcall", "X-Both": "client" } });
    const answer = await client.request("/a/b?c=1", {
      method: "patch",
      query: { d: "x y", e: [1, 2], f: undefined, g: null, h: true },
      headers: { "x-both": "call", "x-call": "1" },
    });
    const echo = (await answer.body.json()) as { method: string; url: string; headers: Record<string, string> };
    expect(echo.method).toBe("PATCH");
    expect(echo.url).toBe("/a/b?c=1&d=x+y&e=1&e=2&h=true");
    expect(echo.headers).toMatchObject({
      host: `127.0.0.1:${server.port}`,
      "x-client": "rollcall",
      "x-both": "call",
      "x-call": "1",
    });
  });

  it.each([
    ["an object", { "x-call": ["1", "2"] }],
    ["a flat list", ["x-call", "1", "x-call", "2"]],
    ["pairs", [["x-call", "1"] as [string, string], ["x-call", "2"] as [string, string]]],
    ["a Headers", new Headers([["x-call", "1"], ["x-call", "2"]])], // prettier-ignore
  ])("takes headers as %s, beside the client's own", async (_, headers) => {
    await using server = await httpServer((request, response) => {
      response.end(`${request.headers["x-call"]?.toString()} ${request.headers["x-client"]?.toString()}`);
    });
    await using client = clientOf([server], { headers: { "x-client": "c" } });
    expect(await (await client.request("/", { headers })).body.text()).toBe("1, 2 c");
  });

  const global = new FormData();
  global.append("a", "1");
  global.append("file", new File(["content"], "name.txt", { type: "text/plain" }));
  const own = new UndiciFormData();
  own.append("a", "1");
  const bodies: [string, () => RequestBody, string | RegExp, string | RegExp | undefined][] = [
    ["a string", () => "text", "text", undefined],
    ["an empty string", () => "", "", undefined],
    ["a Buffer", () => Buffer.from("bytes"), "bytes", undefined],
    ["a view of a part of a buffer", () => new Uint8Array(Buffer.from("xbytesx")).subarray(1, 6), "bytes", undefined],
    ["an ArrayBuffer", () => new Uint8Array([98, 99]).buffer, "bc", undefined],
    [
      "URLSearchParams",
      () => new URLSearchParams({ a: "1 2" }),
      "a=1+2",
      "application/x-www-form-urlencoded;charset=UTF-8",
    ],
    ["a Blob", () => new Blob(["blob"], { type: "text/x" }), "blob", "text/x"],
    [
      "a global FormData",
      () => global,
      /name="a"\r\n\r\n1\r\n[^]*filename="name.txt"[^]*content/,
      /^multipart\/form-data/,
    ],
    ["a FormData of undici", () => own, /name="a"\r\n\r\n1\r\n/, /^multipart\/form-data/],
    ["a Node stream", () => Readable.from([Buffer.from("a"), Buffer.from("b")]), "ab", undefined],
    ["a web stream", () => ReadableStream.from(["a", "b"]) as AsyncIterable<string>, "ab", undefined],
    ["a generator", () => (function* () { yield "a"; yield Buffer.from("b"); })(), "ab", undefined], // prettier-ignore
    ["nothing", () => undefined, "", undefined],
  ];
  it.each(bodies)("sends %s", async (_, body, received, type) => {
    await using server = await httpServer(async (request, response) => {
      response.end(JSON.stringify({ type: request.headers["content-type"], text: await text(request) }));
    });
    await using client = clientOf([server]);
    const answer = await client.request("/", { method: "POST", body: body() });
    const echo = (await answer.body.json()) as { type?: string; text: string };
    if (typeof received === "string") expect(echo.text).toBe(received);
    else expect(echo.text).toMatch(received);
    if (type instanceof RegExp) expect(echo.type).toMatch(type);
    else expect(echo.type).toBe(type);
  });

  it("carries big bodies both ways, streamed and whole", async () => {
    const big = randomBytes(8 * 1024 * 1024);
    const sum = createHash("sha256").update(big).digest("hex");
    await using server = await httpServer((request, response) => void request.pipe(response));
    await using client = clientOf([server]);
    const streamed = Readable.from((function* () { for (let at = 0; at < big.length; at += 65_536) yield big.subarray(at, at + 65_536); })()); // prettier-ignore
    for (const body of [big, streamed]) {
      const answer = await client.request("/", { method: "POST", body });
      const hash = createHash("sha256");
      for await (const chunk of answer.body) hash.update(chunk as Buffer);
      expect(hash.digest("hex")).toBe(sum);
    }
    expect(inFlight(client)).toEqual([0]);
  });

  it.each([
    ["HEAD", 200],
    ["GET", 204],
    ["GET", 304],
  ])("takes a %s answered with %i and no body", async (method, status) => {
    await using server = await httpServer((_, response) => {
      response.writeHead(status, status === 200 ? { "content-length": "5" } : {}).end();
    });
    await using client = clientOf([server]);
    const answer = await client.request("/", { method });
    expect(answer.statusCode).toBe(status);
    expect(await answer.body.text()).toBe("");
    expect(inFlight(client)).toEqual([0]);
  });

  it.each([
    "",
    "relative",
    "http://evil.test/",
    "https://evil.test",
    "//evil.test/",
    "/\\evil.test",
    "\\\\evil.test",
    "/a#fragment",
    "*",
    "@evil.test/",
  ])("refuses %j as a path, and sends nothing", async (path) => {
    await using server = await httpServer((_, response) => void response.end());
    await using client = clientOf([server]);
    await expect(client.request(path)).rejects.toMatchObject({ code: "INVALID_OPTION", path: "path" });
    expect(server.connections()).toBe(0);
  });

  it.each([
    ["a header value with a line break", { headers: { a: "b\r\nc: d" } }],
    ["a header name with a blank", { headers: { "a b": "c" } }],
    ["a method that is none", { method: "GE T" }],
    ["CONNECT", { method: "CONNECT" }],
    ["a content length that is not the body's", { method: "POST", body: "four", headers: { "content-length": "3" } }],
  ])("rejects %s with undici's own error, and holds it against nobody", async (_, options) => {
    await using server = await httpServer((_request, response) => void response.end());
    await using client = clientOf([server]);
    await client.ready();
    await expect(client.request("/", options)).rejects.toMatchObject({ code: expect.stringMatching(/^UND_ERR_/) });
    expect(client.endpoints[0]?.stats).toMatchObject({ inFlight: 0, successes: 0, failures: 0 });
  });

  it("reaches an instance at an IPv6 address", async () => {
    await using server = await httpServer((request, response) => void response.end(request.headers.host), "::1");
    await using client = clientOf([server]);
    expect(await (await client.request("/")).body.text()).toBe(`[::1]:${server.port}`);
  });

  it("rejects with ClosedError once closed", async () => {
    await using server = await httpServer((_, response) => void response.end());
    const client = clientOf([server]);
    await client.close();
    await expect(client.request("/")).rejects.toSatisfy((error) => isDiscoveryError(error, "CLOSED"));
    await expect(client.fetch("/")).rejects.toSatisfy((error) => isDiscoveryError(error, "CLOSED"));
  });

  it("closes its connections when it is closed, and lets running requests end first", async () => {
    await using server = await httpServer((_, response) => void setTimeout(() => response.end("late"), 100));
    const client = clientOf([server]);
    const answer = client.request("/").then(({ body }) => body.text());
    await new Promise((resolve) => setTimeout(resolve, 30));
    await client.close();
    expect(await answer).toBe("late");
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(server.open()).toBe(0);
  });
});
