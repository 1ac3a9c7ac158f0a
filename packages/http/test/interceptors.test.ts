import { Readable, Writable } from "node:stream";
import { pipeline as streamPipeline } from "node:stream/promises";
import { brotliCompressSync, createDeflate, gzipSync } from "node:zlib";
import type { Endpoint, PickRequest, Policy } from "@rollcall/core";
import { Agent, type Dispatcher, fetch, interceptors, pipeline, request, stream } from "undici";
import { describe, expect, it, onTestFinished } from "vitest";
import { type BalanceOptions, type DiscoveryDispatcherOptions, discoveryDispatcher } from "../src/index.ts";
import { createFetch } from "../src/fetch.ts";
import { httpServer, registryOf } from "./servers.ts";

type Options = Partial<DiscoveryDispatcherOptions>;

async function dispatcherTo(servers: Parameters<typeof registryOf>[0], options: Options = {}) {
  const { defaults, ...others } = options;
  const dispatcher = discoveryDispatcher({
    registry: await registryOf(servers),
    ...others,
    defaults: { retry: { timeoutMs: 5_000, budget: false, backoff: () => 0 }, ...defaults },
  });
  onTestFinished(() => dispatcher.close());
  return dispatcher;
}

/** Picks by `key`, which is a number here, leaves out what is to be avoided, and tells what it could choose from. */
function byKey(seen: (endpoints: readonly Endpoint[]) => void = () => undefined): Policy {
  const picker = <E extends Endpoint>(endpoints: readonly [E, ...E[]]) => {
    seen(endpoints);
    return ({ key, avoid }: PickRequest): E => {
      const left = endpoints.filter((endpoint) => avoid?.has(endpoint) !== true);
      return left[Number(key) % left.length] ?? endpoints[0];
    };
  };
  return { name: "by key", create: () => ({ picker }) };
}

const sink = () => new Writable({ write: (_chunk, _encoding, done) => done() });

describe("what a single dispatched request says of how it is balanced", () => {
  /** Every way to dispatch one that hands on all its options. */
  const ways: readonly (readonly [
    string,
    (dispatcher: Dispatcher, method: Dispatcher.HttpMethod, balance: BalanceOptions) => Promise<unknown>,
  ])[] = [
    ["request", async (dispatcher, method, balance) =>
        (await request("http://lorem/", { dispatcher, method, ...balance })).body.dump()],
    ["stream", (dispatcher, method, balance) => stream("http://lorem/", { dispatcher, method, ...balance }, sink)],
    ["pipeline", (dispatcher, method, balance) =>
        streamPipeline(
          Readable.from([]),
          pipeline("http://lorem/", { dispatcher, method, ...balance }, ({ body }) => body),
          sink(),
        )],
    ["request, around it a retry and a redirect", async (dispatcher, method, balance) => {
        const composed = dispatcher.compose(interceptors.retry({ maxRetries: 0 }), interceptors.redirect());
        await (await request("http://lorem/", { dispatcher: composed, method, ...balance })).body.dump();
      }],
  ]; // prettier-ignore

  describe.each(ways)("by %s", (_, send) => {
    it("key: the policy chooses by it", async () => {
      await using a = await httpServer((_, response) => void response.end());
      await using b = await httpServer((_, response) => void response.end());
      const dispatcher = await dispatcherTo([a, b], { defaults: { policy: byKey() } });
      for (let n = 0; n < 5; n++) await send(dispatcher, "GET", { key: "1" });
      const [first, second] = a.port < b.port ? [a, b] : [b, a];
      expect([first.seen.length, second.seen.length]).toEqual([0, 5]);
      await send(dispatcher, "GET", { key: "0" });
      expect([first.seen.length, second.seen.length]).toEqual([1, 5]);
    });

    it("timeoutMs: it ends in time", async () => {
      await using hung = await httpServer(() => undefined);
      const dispatcher = await dispatcherTo([hung]);
      const before = performance.now();
      await expect(send(dispatcher, "GET", { timeoutMs: 60 })).rejects.toMatchObject({ reason: "deadline" });
      expect(performance.now() - before).toBeLessThan(2_000);
    });

    it("idempotent: it may, or may not, be sent again", async () => {
      await using bad = await httpServer((_, response) => void response.writeHead(503).end());
      const dispatcher = await dispatcherTo([bad]);
      const asked = async (method: Dispatcher.HttpMethod, balance: BalanceOptions): Promise<number> => {
        await send(dispatcher, method, balance).catch(() => undefined);
        return bad.seen.splice(0).length;
      };
      expect([await asked("POST", { idempotent: true }), await asked("POST", {})]).toEqual([3, 1]);
      expect([await asked("GET", { idempotent: false }), await asked("GET", {})]).toEqual([1, 3]);
    });

    it("incoming: it serves that one", async () => {
      await using bad = await httpServer((_, response) => void response.writeHead(503).end());
      const dispatcher = await dispatcherTo([bad]);
      const incoming = { headers: { "x-rollcall-attempt": "2" } };
      await send(dispatcher, "GET", { incoming }).catch(() => undefined);
      expect(bad.seen.length).toBe(1);
    });

    it("avoid: it goes elsewhere", async () => {
      await using a = await httpServer((_, response) => void response.end());
      await using b = await httpServer((_, response) => void response.end());
      let known: readonly Endpoint[] = [];
      const policy = byKey((endpoints) => (known = endpoints));
      const dispatcher = await dispatcherTo([a, b], { defaults: { policy } });
      await send(dispatcher, "GET", { key: "0" });
      const [first, second] = a.port < b.port ? [a, b] : [b, a];
      const avoid = new Set(known.filter(({ instance }) => instance.port === first.port));
      for (let n = 0; n < 4; n++) await send(dispatcher, "GET", { key: "0", avoid });
      expect([first.seen.length, second.seen.length]).toEqual([1, 4]);
    });

    it.each([{ timeoutMs: -1 }, { timeoutMs: "soon" }, { incoming: "request" }])("%j is refused", async (wrong) => {
      await using server = await httpServer((_, response) => void response.end());
      const dispatcher = await dispatcherTo([server]);
      await expect(send(dispatcher, "GET", wrong as never)).rejects.toMatchObject({ code: "INVALID_OPTION" });
      expect(server.seen).toEqual([]);
    });
  });

  it("can be said by an interceptor, for what hands on standard options only", async () => {
    await using bad = await httpServer((_, response) => void response.writeHead(503).end());
    const dispatcher = (await dispatcherTo([bad])).compose((dispatch) => (options, handler) => {
      const balance: BalanceOptions = { idempotent: true };
      return dispatch({ ...options, ...balance }, handler);
    });
    expect((await fetch("http://lorem/", { dispatcher, method: "POST" })).status).toBe(503);
    expect(bad.seen.length).toBe(3);
  });

  it("and the same to a created fetch", async () => {
    await using bad = await httpServer((_, response) => void response.writeHead(503).end());
    const retry = { budget: false, backoff: () => 0 } as const;
    await using fetched = createFetch({ registry: await registryOf([bad]), defaults: { retry } });
    for (const wrong of [{ timeoutMs: -1 }, { timeoutMs: "soon" }, { incoming: 5 }]) {
      await expect(fetched("http://lorem/", wrong as never)).rejects.toMatchObject({ code: "INVALID_OPTION" });
    }
    expect((await fetched("http://lorem/", { method: "POST", idempotent: true })).status).toBe(503);
    expect(bad.seen.length).toBe(3);
  });
});

describe("interceptors around the dispatcher", () => {
  it("decompress: bodies come as they were before they were packed", async () => {
    const word = "lorem ipsum ".repeat(1_000);
    const packed: Readonly<Record<string, Buffer>> = { gzip: gzipSync(word), br: brotliCompressSync(word) };
    await using server = await httpServer((request, response) => {
      const encoding = request.url?.slice(1) ?? "";
      response.setHeader("content-encoding", encoding);
      if (encoding === "deflate") Readable.from([word]).pipe(createDeflate()).pipe(response);
      else response.end(packed[encoding]);
    });
    const dispatcher = (await dispatcherTo([server])).compose(interceptors.decompress());
    for (const encoding of ["gzip", "br", "deflate"]) {
      const { body } = await request(`http://lorem/${encoding}`, { dispatcher });
      expect(await body.text()).toBe(word);
    }
  });

  it("responseError: statuses become errors, after the dispatcher has done what it could", async () => {
    await using bad = await httpServer(
      (request, response) => void response.writeHead(request.url === "/404" ? 404 : 503).end("no"),
    );
    const dispatcher = (await dispatcherTo([bad])).compose(interceptors.responseError());
    await expect(request("http://lorem/503", { dispatcher })).rejects.toMatchObject({ statusCode: 503 });
    await expect(request("http://lorem/404", { dispatcher })).rejects.toMatchObject({ statusCode: 404 });
    expect(bad.seen.length).toBe(4);
  });

  it("deduplicate: the same question at the same time is asked once", async () => {
    await using server = await httpServer((_, response) => void setTimeout(() => response.end("once"), 50));
    const dispatcher = (await dispatcherTo([server])).compose(interceptors.deduplicate());
    const ask = async (): Promise<string> => (await request("http://lorem/", { dispatcher })).body.text();
    expect(await Promise.all([ask(), ask(), ask()])).toEqual(["once", "once", "once"]);
    expect(server.seen.length).toBe(1);
  });

  it("cache: answers that have gone stale are asked for again, balanced", async () => {
    await using a = await httpServer((request, response) => {
      response.setHeader("etag", '"1"').setHeader("cache-control", "max-age=0, must-revalidate");
      if (request.headers["if-none-match"] === '"1"') response.writeHead(304).end();
      else response.end("word");
    });
    const dispatcher = (await dispatcherTo([a])).compose(interceptors.cache());
    for (let n = 0; n < 3; n++) expect(await (await request("http://lorem/", { dispatcher })).body.text()).toBe("word");
    expect(a.seen.length).toBe(3);
  });

  it("dns: has its place in the fallback, as services are no names of hosts", async () => {
    await using server = await httpServer((_, response) => void response.end("ok"));
    const agent = new Agent();
    onTestFinished(() => agent.close());
    const dispatcher = await dispatcherTo([server], { fallback: agent.compose(interceptors.dns()) });
    expect(await (await request("http://lorem/", { dispatcher })).body.text()).toBe("ok");
    expect(await (await request(`http://localhost:${server.port}/`, { dispatcher })).body.text()).toBe("ok");
    const outside = dispatcher.compose(interceptors.dns());
    await expect(request("http://lorem/", { dispatcher: outside })).rejects.toThrow(/ENOTFOUND|EAI_AGAIN/);
  });
});
