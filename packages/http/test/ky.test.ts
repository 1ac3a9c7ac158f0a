import ky, { HTTPError, TimeoutError } from "ky";
import { describe, expect, it, onTestFinished } from "vitest";
import { type CreateFetchOptions, createFetch, failureAnswer } from "../src/fetch.ts";
import { deadInstance, httpServer, rawServer, registryOf, text, until } from "./servers.ts";

/** ky over a fetch to these servers, without ky's own retries. */
async function kyTo(servers: Parameters<typeof registryOf>[0], defaults: CreateFetchOptions["defaults"] = {}) {
  const retry = { timeoutMs: 5_000, budget: false, backoff: () => 0 } as const;
  const fetch = createFetch({ registry: await registryOf(servers), defaults: { retry, ...defaults } });
  onTestFinished(() => fetch.close());
  return ky.create({ fetch, retry: 0 });
}

const echo = () =>
  httpServer(async (request, response) => {
    const { method, url, headers } = request;
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ method, url, type: headers["content-type"], hook: headers["x-hook"], text: await text(request) })); // prettier-ignore
  });

describe("ky over a created fetch", () => {
  it("is balanced, sends and reads JSON, and takes all that it is told: prefix, search, hooks", async () => {
    await using a = await echo();
    await using b = await echo();
    const client = (await kyTo([a, b])).extend({
      prefix: "http://lorem",
      hooks: {
        beforeRequest: [({ request }) => request.headers.set("x-hook", "seen")],
        afterResponse: [({ response }) => new Response(response.body, { headers: { "x-after": "seen" } })],
      },
    });
    for (let n = 0; n < 4; n++) {
      const response = client.post("word", { searchParams: { n }, json: { word: "lorem" } });
      expect((await response).headers.get("x-after")).toBe("seen");
      expect(await response.json()).toEqual({
        method: "POST",
        url: `/word?n=${n}`,
        type: "application/json",
        hook: "seen",
        text: '{"word":"lorem"}',
      });
    }
    expect([a.seen.length, b.seen.length]).toEqual([2, 2]);
  });

  it("gets the answer of another instance where that is safe, and the last answer as its HTTPError", async () => {
    await using bad = await httpServer((_, response) => void response.writeHead(503).end('{"why":"busy"}'));
    await using good = await echo();
    const client = await kyTo([bad, await deadInstance(), good]);
    for (let n = 0; n < 4; n++) await client.get("http://lorem/").json();
    const failing = await kyTo([bad]);
    const error: unknown = await failing.get("http://lorem/").catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(HTTPError);
    expect((error as HTTPError).response.status).toBe(503);
  });

  it("repeats by itself what the fetch is told to leave it: statuses, refusals and resets", async () => {
    let answers = 0;
    await using bad = await httpServer((_, response) => void response.writeHead(++answers < 3 ? 503 : 200).end("ok"));
    const retries: string[] = [];
    const client = (await kyTo([bad], { retry: false })).extend({
      retry: { limit: 4, delay: () => 1 },
      hooks: { beforeRetry: [({ error }) => void retries.push(error.name)] },
    });
    expect(await client.get("http://lorem/").text()).toBe("ok");
    expect([bad.seen.length, retries]).toEqual([3, ["HTTPError", "HTTPError"]]);

    await using good = await echo();
    await using rude = await rawServer((socket) => socket.destroy());
    const mixed = (await kyTo([await deadInstance(), rude, good], { retry: false })).extend({
      retry: { limit: 4, delay: () => 1 },
    });
    for (let n = 0; n < 6; n++) await mixed.get("http://lorem/").json();
    expect(good.seen.length).toBe(6);
  });

  it("does not multiply: what the fetch has given up by itself, ky asks for no more, except for statuses", async () => {
    await using rude = await rawServer((socket) => socket.destroy());
    const client = (await kyTo([rude])).extend({ retry: { limit: 2, delay: () => 1 } });
    const error: unknown = await client.get("http://lorem/").catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "RETRY", reason: "attempts" });
    expect([rude.seen.length, failureAnswer(error, "lorem").statusCode]).toEqual([3, 502]);
  });

  it("ends by its own time-out, by an abort, and by the time of the fetch: each time the instance sees it go", async () => {
    await using hung = await httpServer(() => undefined);
    const client = await kyTo([hung]);
    await expect(client.get("http://lorem/", { timeout: 60 })).rejects.toBeInstanceOf(TimeoutError);
    await until(() => hung.open() === 0);
    const reason = new Error("enough");
    const signal = AbortSignal.any([AbortSignal.timeout(5_000), abortSoon(reason)]);
    await expect(client.get("http://lorem/", { signal })).rejects.toMatchObject({ message: "enough" });
    await until(() => hung.open() === 0);
    const own = { timeoutMs: 60 };
    await expect(client.get("http://lorem/", { timeout: false, ...own })).rejects.toMatchObject({
      code: "RETRY",
      reason: "deadline",
    });
    await until(() => hung.open() === 0);
  });

  it("passes on how a single request is balanced", async () => {
    let answers = 0;
    await using bad = await httpServer((_, response) => void response.writeHead(++answers % 2 ? 503 : 200).end("ok"));
    const client = await kyTo([bad]);
    const once: unknown = await client.post("http://lorem/", { json: 1 }).catch((reason: unknown) => reason);
    expect(once).toBeInstanceOf(HTTPError);
    answers = 0;
    const own = { idempotent: true };
    expect(await client.post("http://lorem/", { json: 1, ...own }).text()).toBe("ok");
  });

  it("streams, and reports progress", async () => {
    await using server = await httpServer((request, response) => void request.pipe(response));
    const client = await kyTo([server]);
    const parts = async function* (): AsyncGenerator<Uint8Array> {
      for (let n = 0; n < 50; n++) yield Buffer.alloc(20_000, n);
    };
    const body = ReadableStream.from<Uint8Array>(parts());
    let received = 0;
    const response = await client.post("http://lorem/", {
      body,
      onDownloadProgress: ({ transferredBytes }) => (received = transferredBytes),
    });
    expect((await response.arrayBuffer()).byteLength).toBe(1_000_000);
    expect(received).toBe(1_000_000);
  });
});

/** A signal that aborts for this reason after a while. */
function abortSoon(reason: Error): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(reason), 60);
  return controller.signal;
}
