import { Readable } from "node:stream";
import { AxiosError, type AxiosInstance, type CreateAxiosDefaults, create } from "axios";
import { getGlobalDispatcher, setGlobalDispatcher } from "undici";
import { describe, expect, it, onTestFinished } from "vitest";
import { type CreateFetchOptions, createFetch } from "../src/fetch.ts";
import { discoveryDispatcher, failureAnswer } from "../src/index.ts";
import { deadInstance, httpServer, rawServer, registryOf, text, until } from "./servers.ts";

type Servers = Parameters<typeof registryOf>[0];

const RETRY = { timeoutMs: 5_000, budget: false, backoff: () => 0 } as const;

/** axios over a created fetch. */
async function overFetch(servers: Servers, options: CreateAxiosDefaults = {}): Promise<AxiosInstance> {
  const defaults: CreateFetchOptions["defaults"] = { retry: RETRY, drainMs: 200 };
  const fetch = createFetch({ registry: await registryOf(servers), defaults });
  onTestFinished(() => fetch.close());
  return create({ adapter: "fetch", env: { fetch }, baseURL: "http://lorem", ...options });
}

/** axios over the process's own fetch, which follows the global dispatcher. */
async function overDispatcher(servers: Servers, options: CreateAxiosDefaults = {}): Promise<AxiosInstance> {
  const dispatcher = discoveryDispatcher({ registry: await registryOf(servers), defaults: { retry: RETRY } });
  const before = getGlobalDispatcher();
  setGlobalDispatcher(dispatcher);
  onTestFinished(() => {
    setGlobalDispatcher(before);
    return dispatcher.close();
  });
  return create({ adapter: "fetch", baseURL: "http://lorem", ...options });
}

const echo = () =>
  httpServer(async (request, response) => {
    const { method, url, headers } = request;
    response.setHeader("content-type", "application/json").setHeader("x-answer", "42");
    response.end(JSON.stringify({ method, url, type: headers["content-type"], seen: headers["x-seen"], text: await text(request) })); // prettier-ignore
  });

const failureOf = (call: Promise<unknown>): Promise<AxiosError> =>
  call.then(
    () => expect.fail("it was answered"),
    (error: unknown) => error as AxiosError,
  );

describe.each([
  ["a created fetch", overFetch],
  ["the global dispatcher", overDispatcher],
])("axios over %s", (_, axiosTo) => {
  it("is balanced, sends and reads JSON, forms and queries, and runs its interceptors", async () => {
    await using a = await echo();
    await using b = await echo();
    const client = await axiosTo([a, b]);
    client.interceptors.request.use((config) => (config.headers.set("x-seen", "by the interceptor"), config));
    client.interceptors.response.use((response) => ({ ...response, data: { ...response.data, after: true } }));
    const got = await client.get("/word", { params: { min: 3, max: 10 } });
    expect([got.status, got.statusText, got.headers["x-answer"]]).toEqual([200, "OK", "42"]);
    expect(got.data).toMatchObject({
      method: "GET",
      url: "/word?min=3&max=10",
      seen: "by the interceptor",
      after: true,
    });
    const posted = await client.post("http://lorem/word", { word: "lorem" });
    expect(posted.data).toMatchObject({ method: "POST", type: "application/json", text: '{"word":"lorem"}' });
    const form = new FormData();
    form.set("word", "lorem");
    // By post() axios calls the form urlencoded here, whatever sends it.
    const formed = await client.postForm("/form", form);
    expect(formed.data.type).toMatch(/^multipart\/form-data; ?boundary=/);
    expect(formed.data.text).toContain("lorem");
    expect((await client.put("/", new URLSearchParams({ a: "1" }))).data.text).toBe("a=1");
    expect([a.seen.length, b.seen.length]).toEqual([2, 2]);
  });

  it("gets the answer of another instance where that is safe", async () => {
    await using bad = await httpServer((_, response) => void response.writeHead(503).end("busy"));
    await using good = await echo();
    const client = await axiosTo([bad, await deadInstance(), good]);
    for (let n = 0; n < 4; n++) expect((await client.get("/")).status).toBe(200);
    expect([bad.seen.length > 0, good.seen.length]).toEqual([true, 4]);
  });

  it("fails with the status of the only instance, asked three times, or once if it is a POST", async () => {
    await using bad = await httpServer((_, response) => void response.writeHead(503).end("busy"));
    const client = await axiosTo([bad]);
    const got = await failureOf(client.get("/"));
    expect([got.code, got.response?.status, got.response?.data]).toEqual(["ERR_BAD_RESPONSE", 503, "busy"]);
    const posted = await failureOf(client.post("/", {}));
    expect([posted.response?.status, bad.seen.length]).toEqual([503, 4]);
  });

  it("says by its error what failed, for whoever answers for it", async () => {
    const dead = await failureOf((await axiosTo([await deadInstance()])).get("/"));
    expect(dead).toBeInstanceOf(AxiosError);
    expect(failureAnswer(dead, "lorem")).toMatchObject({ statusCode: 502 });
    await using rude = await rawServer((socket) => socket.destroy());
    const broken = await failureOf((await axiosTo([rude])).post("/", "x"));
    expect([failureAnswer(broken, "lorem").statusCode, rude.seen.length]).toEqual([502, 1]);
    const unknown = await failureOf((await axiosTo([])).get("/", { timeout: 0 }));
    expect(failureAnswer(unknown, "lorem")).toMatchObject({ statusCode: 503, code: "no_endpoints" });
  });

  it("ends by its time-out and by an abort: the instance sees it go", async () => {
    await using hung = await httpServer(() => undefined);
    const client = await axiosTo([hung]);
    const late = await failureOf(client.get("/", { timeout: 80 }));
    expect([late.code, failureAnswer(late, "lorem").statusCode]).toEqual(["ETIMEDOUT", 504]);
    await until(() => hung.seen.length > 0 && hung.open() === 0);
    const controller = new AbortController();
    const aborted = failureOf(client.post("/", "x", { signal: controller.signal }));
    await until(() => hung.open() === 1);
    controller.abort();
    expect((await aborted).code).toBe("ERR_CANCELED");
    await until(() => hung.open() === 0);
  });

  it("streams both ways, with progress, and leaves nothing open when it stops reading", async () => {
    await using server = await httpServer((request, response) => void request.pipe(response));
    const client = await axiosTo([server]);
    const parts = async function* (): AsyncGenerator<Buffer> {
      for (let n = 0; n < 50; n++) yield Buffer.alloc(20_000, n);
    };
    let up = 0;
    const answer = await client.post<ReadableStream<Uint8Array>>("/", Readable.toWeb(Readable.from(parts())), {
      responseType: "stream",
      onUploadProgress: ({ loaded }) => (up = loaded),
    });
    let bytes = 0;
    for await (const chunk of answer.data) bytes += chunk.byteLength;
    expect([bytes, up]).toEqual([1_000_000, 1_000_000]);
    await using endless = await httpServer((_, response) => void setInterval(() => response.write("x"), 5).unref());
    const { data } = await (await axiosTo([endless])).get<ReadableStream>("/", { responseType: "stream" });
    await data.cancel();
    await until(() => endless.open() === 0);
  });

  it("refuses what is longer than it wants", async () => {
    await using server = await httpServer((_, response) => {
      response.write("x");
      response.end("x".repeat(10_000));
    });
    // It leaves the answer unread, which holds the slot until the answer is collected.
    const client = await axiosTo([server]);
    const error = await failureOf(client.get("/", { maxContentLength: 100 }));
    expect(error.message).toContain("maxContentLength");
  });
});

describe("axios", () => {
  it("passes on how a single request is balanced, by fetchOptions", async () => {
    let answers = 0;
    await using bad = await httpServer((_, response) => void response.writeHead(++answers % 2 ? 503 : 200).end("ok"));
    const client = await overFetch([bad]);
    expect((await client.post("/", {}, { fetchOptions: { idempotent: true } })).data).toBe("ok");
    await using hung = await httpServer(() => undefined);
    const late = await failureOf((await overFetch([hung])).get("/", { fetchOptions: { timeoutMs: 60 } }));
    expect(failureAnswer(late, "lorem").statusCode).toBe(504);
  });

  it("does not know services by its own adapter of Node, which uses neither fetch nor dispatcher", async () => {
    await using server = await echo();
    const client = await overDispatcher([server]);
    const error = await failureOf(client.get("/", { adapter: "http" }));
    expect(["ENOTFOUND", "EAI_AGAIN"]).toContain(error.code);
  });
});
