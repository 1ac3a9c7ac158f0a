import { execFile } from "node:child_process";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type Endpoint, type Outcome, type Policy, roundRobin } from "@rollcall/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { type CreateFetchOptions, createFetch } from "../src/fetch.ts";
import { deadInstance, httpServer, rawServer, registryOf, text, until } from "./servers.ts";

/** A fetch to these servers, whose every pick is accounted for. */
async function fetchTo(servers: Parameters<typeof registryOf>[0], options: Partial<CreateFetchOptions> = {}) {
  const outcomes: string[] = [];
  let seen: readonly Endpoint[] = [];
  const policy: Policy = {
    name: "watching",
    create: (env) => {
      const inner = roundRobin().create(env);
      return {
        picker: (endpoints) => ((seen = endpoints), inner.picker(endpoints)),
        observe: (_: Endpoint, outcome: Outcome) => void outcomes.push(outcome.kind),
      };
    },
  };
  const fetched = createFetch({
    registry: await registryOf(servers),
    ...options,
    defaults: {
      policy,
      drainMs: 1_000,
      env: { random: () => 0 },
      retry: { timeoutMs: 5_000, budget: false },
      ...options.defaults,
    },
  });
  onTestFinished(() => fetched.close());
  return { fetch: fetched, outcomes, inFlight: () => seen.map(({ stats }) => stats.inFlight) };
}

const ok = (body = "ok") => httpServer((_, response) => void response.end(body));
const echo = () =>
  httpServer(async (request, response) => {
    const { method, url, headers } = request;
    response.end(JSON.stringify({ method, url, headers, text: await text(request) }));
  });
const resetting = () => rawServer((socket) => void socket.resetAndDestroy());

interface Echo {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

describe("a created fetch", () => {
  it("balances what goes to a service, and gives Responses as of fetch", async () => {
    await using a = await echo();
    await using b = await echo();
    const { fetch, outcomes, inFlight } = await fetchTo([a, b], { defaults: { headers: { "x-client": "rollcall" } } });
    for (let n = 0; n < 10; n++) {
      const response = await fetch(`http://lorem/word?n=${n}#x`, { method: "post", body: "text" });
      expect(response).toBeInstanceOf(Response);
      expect([response.status, response.ok, response.redirected]).toEqual([200, true, false]);
      expect(response.url).toBe(`http://lorem/word?n=${n}`);
      const sent = (await response.clone().json()) as Echo;
      expect(sent).toMatchObject({ method: "POST", url: `/word?n=${n}`, text: "text" });
      expect(sent.headers).toMatchObject({ "content-length": "4", "x-client": "rollcall" });
      await response.body?.cancel();
    }
    expect([a.seen.length, b.seen.length]).toEqual([5, 5]);
    await until(() => outcomes.length === 10);
    expect([outcomes.every((kind) => kind === "success"), inFlight()]).toEqual([true, [0, 0]]);
  });

  it("passes what goes to no service on to the process's own fetch, untouched", async () => {
    await using server = await ok("direct");
    const { fetch } = await fetchTo([]);
    expect(await (await fetch(`http://127.0.0.1:${server.port}/`)).text()).toBe("direct");
    expect(await (await fetch(new Request(`http://localhost:${server.port}/`))).text()).toBe("direct");
    expect(await (await fetch("data:,hello")).text()).toBe("hello");
    await expect(fetch("/relative")).rejects.toThrow(/parse URL/);
  });

  it.each([
    ["a string", () => "body", { "content-type": "text/plain;charset=UTF-8", "content-length": "4" }],
    ["bytes", () => Buffer.from("body"), { "content-length": "4" }],
    [
      "a form",
      () => new URLSearchParams({ a: "b" }),
      { "content-type": "application/x-www-form-urlencoded;charset=UTF-8" },
    ],
    ["a blob", () => new Blob(["body"], { type: "text/x" }), { "content-type": "text/x", "content-length": "4" }],
    ["a stream", () => ReadableStream.from([Buffer.from("bo"), Buffer.from("dy")]), {}],
  ])("sends %s, alone and in a Request", async (_, body, headers) => {
    await using server = await echo();
    const { fetch } = await fetchTo([await deadInstance(), server]);
    for (let n = 0; n < 2; n++) {
      const init = { method: "PUT", body: body() as string, duplex: "half" as const };
      const request = new Request("http://lorem/x", { ...init, body: body() as string });
      for (const sent of [await fetch("http://lorem/x", init), await fetch(request)]) {
        const echoed = (await sent.json()) as Echo;
        expect(echoed).toMatchObject({ method: "PUT", text: body() instanceof URLSearchParams ? "a=b" : "body" });
        expect(echoed.headers).toMatchObject(headers);
      }
    }
    expect(server.seen.length).toBe(4);
  });

  it("sends a form with files again as it was, with its own boundary", async () => {
    await using broken = await resetting();
    await using server = await echo();
    const { fetch } = await fetchTo([broken, server]);
    const form = new FormData();
    form.append("file", new File(["content"], "name.txt"));
    for (let n = 0; n < 2; n++) {
      const echoed = (await (await fetch("http://lorem/", { method: "PUT", body: form })).json()) as Echo;
      const boundary = /boundary=(.*)$/.exec(echoed.headers["content-type"] ?? "")?.[1] ?? "none";
      expect(echoed.text.startsWith(`--${boundary}`)).toBe(true);
      expect(echoed.text).toContain("content");
    }
  });

  it("carries a stream as it comes, both ways", async () => {
    await using server = await httpServer((request, response) => {
      response.flushHeaders();
      request.pipe(response);
    });
    const { fetch } = await fetchTo([server]);
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    void writer.write(Buffer.from("one"));
    const request = new Request("http://lorem/", { method: "POST", body: readable, duplex: "half" });
    const response = await fetch(request);
    const reader = response.body?.getReader();
    for (const word of ["one", "two"]) {
      expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe(word);
      if (word === "one") void writer.write(Buffer.from("two"));
    }
    await writer.close();
    expect((await reader?.read())?.done).toBe(true);
  });

  it.each([
    ["a header that is none", { headers: { "a b": "c" } }],
    ["a method that is none", { method: "G E T" }],
    ["a body for GET", { body: "x" }],
    ["a redirect mode that is none", { redirect: "maybe" as never }],
  ])("rejects %s, and sends nothing", async (_, init) => {
    await using server = await ok();
    const { fetch, outcomes } = await fetchTo([server]);
    await expect(fetch("http://lorem/", init)).rejects.toThrow(TypeError);
    expect([server.connections(), outcomes]).toEqual([0, []]);
  });

  it("rejects a Request that was used already", async () => {
    const { fetch } = await fetchTo([]);
    const request = new Request("http://lorem/", { method: "POST", body: "x" });
    await request.text();
    await expect(fetch(request)).rejects.toThrow(/read already/);
  });

  it("speaks of the port when it is one that fetch blocks", async () => {
    const { fetch } = await fetchTo([{ service: "lorem", host: "127.0.0.1", port: 6000 }]);
    const error: unknown = await fetch("http://lorem/", { method: "POST" }).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: "RETRY", reason: "attempts" });
    expect(String(error)).toMatch(/127\.0\.0\.1:6000 is never asked by fetch: the Fetch standard blocks its port/);
  });
});

describe("a created fetch that fails", () => {
  it("before a byte has left goes elsewhere, a POST too", async () => {
    await using alive = await ok();
    const servers = [await deadInstance(), { service: "lorem", host: "no-such-host.invalid", port: 80 }, alive];
    const { fetch } = await fetchTo(servers);
    for (let n = 0; n < 6; n++) {
      expect((await fetch("http://lorem/", { method: "POST", body: "x" })).status).toBe(200);
      const stream = ReadableStream.from([Buffer.alloc(100_000)]);
      expect((await fetch("http://lorem/", { method: "POST", body: stream, duplex: "half" })).status).toBe(200);
    }
    expect(alive.seen.length).toBe(12);
  });

  it("after bytes have left goes elsewhere only if it is idempotent", async () => {
    await using broken = await resetting();
    await using alive = await ok();
    const { fetch } = await fetchTo([broken, alive]);
    for (let n = 0; n < 4; n++) expect((await fetch("http://lorem/")).status).toBe(200);
    const post = { method: "POST", body: "x" };
    const posts = await Promise.allSettled(Array.from({ length: 4 }, () => fetch("http://lorem/", post)));
    expect(posts.filter(({ status }) => status === "rejected").length).toBe(2);
    for (let n = 0; n < 4; n++) {
      expect((await fetch("http://lorem/", { ...post, idempotent: true })).status).toBe(200);
    }
  });

  it("with a failing status is asked elsewhere; the last such answer is the response, with its body", async () => {
    await using bad = await httpServer((_, response) => void response.writeHead(503).end("x".repeat(100_000)));
    await using good = await ok();
    const { fetch } = await fetchTo([bad, good]);
    for (let n = 0; n < 4; n++) expect((await fetch("http://lorem/")).status).toBe(200);
    const { fetch: poor, outcomes, inFlight } = await fetchTo([bad]);
    const response = await poor("http://lorem/");
    expect([response.status, (await response.text()).length]).toEqual([503, 100_000]);
    expect([outcomes, inFlight()]).toEqual([["failure", "failure", "failure"], [0]]);
    expect((await poor("http://lorem/", { method: "POST" })).status).toBe(503);
    expect(outcomes.length).toBe(4);
  });

  it("by its body's own error rejects, and is held against nobody", async () => {
    await using server = await echo();
    const { fetch, outcomes } = await fetchTo([server]);
    const broken = new Error("the file is gone");
    const body = ReadableStream.from((async function* () { yield Buffer.from("a"); await Promise.resolve(); throw broken; })()); // prettier-ignore
    await expect(fetch("http://lorem/", { method: "PUT", body, duplex: "half" })).rejects.toThrow();
    expect(outcomes).toEqual(["cancelled"]);
  });

  it("bounds the whole call by timeoutMs, and rejects with RetryError", async () => {
    await using hung = await rawServer(() => undefined);
    const { fetch, inFlight } = await fetchTo([hung]);
    await expect(fetch("http://lorem/", { timeoutMs: 100 })).rejects.toMatchObject({
      code: "RETRY",
      reason: "deadline",
    });
    expect(inFlight()).toEqual([0]);
    await until(() => hung.open() === 0);
  });

  it("follows redirects within the service, and hands over any other", async () => {
    await using server = await httpServer((request, response) => {
      const location = { "/a": "/b", "/b": "http://lorem/c", "/out": "http://evil.test/" }[request.url ?? ""];
      if (location === undefined) response.end(`${request.method} ${request.url}`);
      else response.writeHead(302, { location }).end("moved");
    });
    const { fetch, inFlight } = await fetchTo([server]);
    const response = await fetch("http://lorem/a", { method: "POST", body: "x" });
    expect([await response.text(), response.url, response.redirected]).toEqual(["GET /c", "http://lorem/c", true]);
    const handed = await fetch("http://lorem/out");
    expect([handed.status, handed.headers.get("location")]).toEqual([302, "http://evil.test/"]);
    await handed.text();
    await expect(fetch("http://lorem/a", { redirect: "error" })).rejects.toThrow(/forbids/);
    await until(() => inFlight()[0] === 0);
  });
});

describe("the slot of a created fetch", () => {
  it("is held until the body was read", async () => {
    await using server = await httpServer((_, response) => {
      response.write("begun");
      setTimeout(() => response.end("done"), 50);
    });
    const { fetch, outcomes, inFlight } = await fetchTo([server]);
    const response = await fetch("http://lorem/");
    expect([inFlight(), outcomes]).toEqual([[1], []]);
    expect(await response.text()).toBe("begundone");
    expect([inFlight(), outcomes]).toEqual([[0], ["success"]]);
  });

  it("is given back by cancelling the body, by an abort, and by a body that breaks off", async () => {
    await using server = await httpServer((request, response) => {
      response.write("begun");
      if (request.url === "/break") setTimeout(() => request.socket.destroy(), 20);
    });
    const { fetch, outcomes, inFlight } = await fetchTo([server]);
    await (await fetch("http://lorem/")).body?.cancel();
    expect(outcomes).toEqual(["cancelled"]);
    const controller = new AbortController();
    const aborted = await fetch(new Request("http://lorem/", { signal: controller.signal }));
    controller.abort(new Error("enough"));
    expect(outcomes).toEqual(["cancelled", "cancelled"]);
    await expect(aborted.text()).rejects.toThrow("enough");
    await expect((await fetch("http://lorem/break")).text()).rejects.toThrow(TypeError);
    expect([outcomes, inFlight()]).toEqual([["cancelled", "cancelled", "failure"], [0]]);
    await until(() => server.open() === 0);
  });

  it("is not taken by who aborted before, and is given back by who aborts before the head", async () => {
    await using server = await httpServer(() => undefined);
    const { fetch, outcomes } = await fetchTo([server]);
    await expect(fetch("http://lorem/", { signal: AbortSignal.abort(new Error("no")) })).rejects.toThrow("no");
    expect(outcomes).toEqual([]);
    await expect(fetch("http://lorem/", { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
      name: "TimeoutError",
    });
    expect(outcomes).toEqual(["cancelled"]);
    await until(() => server.open() === 0);
  });

  it("is given back when nobody holds the response any more", async () => {
    await using server = await httpServer((_, response) => void response.end("x".repeat(1_000_000)));
    const { fetch, inFlight } = await fetchTo([server]);
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    await (async () => expect((await fetch("http://lorem/")).ok).toBe(true))();
    expect(inFlight()).toEqual([1]);
    await until(() => (collect(), inFlight()[0] === 0), 10_000);
    await until(() => server.open() === 0);
  });

  it("needs no response to be kept for its body: one that is read slowly arrives whole", async () => {
    const long = "x".repeat(1_000_000);
    await using bad = await httpServer((_, response) => void response.writeHead(503).end(long));
    const { fetch } = await fetchTo([bad], { defaults: { retry: false } });
    const collect = runInNewContext("gc") as () => void;
    const { body } = await fetch("http://lorem/");
    for (let n = 0; n < 5; n++) {
      collect();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect((await new Response(body).text()).length).toBe(long.length);
  });
});

describe("@rollcall/http/fetch", () => {
  it("loads no undici, and leaves the process's own fetch as it is", async () => {
    await using server = await ok();
    const script = `
      import { registerHooks } from "node:module";
      const loaded = [];
      registerHooks({ resolve(name, context, next) { loaded.push(name); return next(name, context); } });
      const before = globalThis.fetch;
      const symbols = Object.getOwnPropertySymbols(globalThis).map(String);
      const { createFetch } = await import("@rollcall/http/fetch");
      const { memoryRegistry } = await import("@rollcall/core");
      await using registry = memoryRegistry();
      await registry.registrar({ service: "lorem", host: "127.0.0.1", port: ${server.port} }).register();
      const after = Object.getOwnPropertySymbols(globalThis).map(String);
      await using fetchLorem = createFetch({ registry });
      const text = await (await fetchLorem("http://lorem/")).text();
      const undici = loaded.filter((name) => /undici/.test(name));
      process.stdout.write(JSON.stringify({ same: globalThis.fetch === before, symbols, after, undici, text }));
    `;
    const args = ["--conditions=@rollcall/source", "--input-type=module", "--eval", script];
    const printed = await new Promise<string>((resolve, reject) => {
      execFile(process.execPath, args, { cwd: join(import.meta.dirname, "..") }, (error, stdout) =>
        error === null ? resolve(stdout) : reject(error),
      );
    });
    const { same, symbols, after, undici, text } = JSON.parse(printed) as Record<string, unknown>;
    expect({ same, undici, text }).toEqual({ same: true, undici: [], text: "ok" });
    expect(after).toEqual(symbols);
  });

  it.each([
    ["registry", { registry: undefined }],
    ["fetch", { fetch: "fetch" }],
    ["clients.lorem.pool", { clients: { lorem: { pool: {} } } }],
    ["defaults.protocol", { defaults: { protocol: "ftp" } }],
    ["defaults.maxReplayBytes", { defaults: { maxReplayBytes: -1 } }],
    ["defaults.tags", { defaults: { tags: "a" } }],
    ["services", { services: ["a/b"] }],
  ])("refuses a wrong %s, and names it by its path", async (path, options) => {
    const wrong = { registry: await registryOf([]), ...options } as unknown as CreateFetchOptions;
    expect(() => createFetch(wrong)).toThrow(expect.objectContaining({ code: "INVALID_OPTION", path }));
  });

  it("lets bodies that are coming end when it is closed, and takes nothing new", async () => {
    await using server = await httpServer((_, response) => void setTimeout(() => response.end("late"), 50));
    const { fetch } = await fetchTo([server]);
    const answer = fetch("http://lorem/").then((response) => response.text());
    await until(() => server.seen.length === 1);
    const closed = fetch.close();
    await expect(fetch("http://lorem/")).rejects.toMatchObject({ code: "CLOSED" });
    expect(await answer).toBe("late");
    await closed;
  });
});
