import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { type RetryOptions, retryBudget, roundRobin } from "@rollcall/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { createFetch } from "../src/fetch.ts";
import type { HttpClient, HttpClientOptions } from "../src/index.ts";
import { type TestServer, clientOf, httpServer, inFlight, registryOf, text, until } from "./servers.ts";

/** Answers late where it is asked to, and notes what becomes of those requests. */
interface Late {
  readonly server: TestServer;
  readonly log: string[];
}

const HEDGE: RetryOptions = { hedge: { minDelayMs: 60, ratio: 1 }, attemptTimeoutMs: 5_000 };

/** Two servers that answer at once, but for a first attempt at `/slow`, and any at `/slower`: these wait for `slowMs`. */
async function pair(slowMs = 2_000): Promise<readonly [Late, Late]> {
  const start = async (): Promise<Late> => {
    const log: string[] = [];
    const server = await httpServer(async (incoming: IncomingMessage, response: ServerResponse) => {
      const attempt = String(incoming.headers["x-rollcall-attempt"] ?? 1);
      if (!incoming.url?.startsWith("/slow")) {
        response.end("ok");
        return;
      }
      response.on("close", () => {
        if (!response.writableEnded) log.push(`${attempt} given up`);
      });
      const body = await text(incoming);
      log.push(`${attempt} ${incoming.method} ${body}`);
      if (attempt === "1" || incoming.url === "/slower")
        await new Promise((resolve) => setTimeout(resolve, slowMs).unref());
      response.end(`of attempt ${attempt}`);
    });
    onTestFinished(() => server.kill());
    return { server, log };
  };
  return [await start(), await start()];
}

/** A client that knows how long answers take. */
async function warm(servers: readonly Late[], options: Partial<HttpClientOptions> = {}): Promise<HttpClient> {
  const client = clientOf(
    servers.map(({ server }) => server),
    { ...options, retry: { ...HEDGE, ...options.retry } },
  );
  onTestFinished(() => client.close());
  for (let n = 0; n < 110; n++) await (await client.request("/")).body.text();
  return client;
}

/** What was asked at `/slow`, by all. */
const logs = (servers: readonly Late[]): string[] => servers.flatMap(({ log }) => log).toSorted();

describe("a hedged request", () => {
  it("is answered by another instance, and the slow one is told to stop", async () => {
    const servers = await pair();
    const client = await warm(servers);
    const before = performance.now();
    const { body, statusCode } = await client.request("/slow");
    expect([statusCode, await body.text()]).toEqual([200, "of attempt 2"]);
    expect(performance.now() - before).toBeLessThan(1_000);
    await until(() => logs(servers).length === 3);
    expect(logs(servers)).toEqual(["1 GET ", "1 given up", "2 GET "]);
    expect(inFlight(client)).toEqual([0, 0]);
    expect(client.endpoints.map(({ stats }) => stats.failures)).toEqual([0, 0]);
  });

  it("is so by fetch, and by the built-in fetch", async () => {
    const servers = await pair(500);
    const client = await warm(servers);
    expect(await (await client.fetch("/slow")).text()).toBe("of attempt 2");
    const registry = await registryOf(servers.map(({ server }) => server));
    const fetched = createFetch({ registry, defaults: { retry: HEDGE } });
    onTestFinished(() => fetched.close());
    for (let n = 0; n < 110; n++) await (await fetched("http://lorem/")).text();
    expect(await (await fetched("http://lorem/slow")).text()).toBe("of attempt 2");
    await until(() => logs(servers).length === 6);
    expect(logs(servers).filter((line) => line.endsWith("given up"))).toEqual(["1 given up", "1 given up"]);
    expect(inFlight(client)).toEqual([0, 0]);
    // Told not to, it is not.
    expect(await (await fetched("http://lorem/slow", { hedge: false })).text()).toBe("of attempt 1");
    expect(await (await client.fetch("/slow", { hedge: false })).text()).toBe("of attempt 1");
  });

  it("is none where doing it twice may do it twice: by its method, whatever its body, unless the caller says otherwise", async () => {
    const servers = await pair(300);
    const client = await warm(servers);
    const send = async (options: Parameters<HttpClient["request"]>[1]): Promise<string> =>
      (await client.request("/slow", options)).body.text();
    expect(await send({ method: "POST", body: "a" })).toBe("of attempt 1");
    expect(await send({ method: "PATCH", body: "b" })).toBe("of attempt 1");
    expect(await send({ method: "POST", body: "c", hedge: true })).toBe("of attempt 1");
    // A stream can be read only once at a time.
    expect(await send({ method: "PUT", body: Readable.from(["d"]) })).toBe("of attempt 1");
    expect(await send({ method: "GET", idempotent: false })).toBe("of attempt 1");
    expect(logs(servers).filter((line) => line.startsWith("2"))).toEqual([]);
    expect(await send({ method: "POST", body: "e", idempotent: true })).toBe("of attempt 2");
    expect(await send({ method: "PUT", body: Buffer.from("f") })).toBe("of attempt 2");
    expect(logs(servers).filter((line) => line.startsWith("2"))).toEqual(["2 POST e", "2 PUT f"]);
  });

  it("is none for a request that was repeated by the one it serves", async () => {
    const servers = await pair(300);
    const client = await warm(servers);
    const ask = async (attempt: string): Promise<string> => {
      const incoming = { headers: { "x-rollcall-attempt": attempt } };
      return (await client.request("/slow", { incoming })).body.text();
    };
    await ask("2");
    // The mark travels on: it is no first attempt for whoever is asked.
    expect(logs(servers)).toEqual(["2 GET "]);
    expect(await ask("1")).toBe("of attempt 2");
  });

  it("is none if it is dispatched, as by a gateway: answers are passed on as they come", async () => {
    const servers = await pair(300);
    const client = await warm(servers);
    const answer = await new Promise<string>((resolve, reject) => {
      let body = "";
      client.dispatch(
        { path: "/slow", method: "GET" },
        {
          onRequestStart: () => undefined,
          onResponseStart: () => undefined,
          onResponseData: (_, chunk) => void (body += String(chunk)),
          onResponseEnd: () => resolve(body),
          onResponseError: (_, error) => reject(error),
        },
      );
    });
    expect(answer).toBe("of attempt 1");
  });

  it("takes a good answer after a bad one, and leaves nothing of the bad one", async () => {
    // The first attempt fails after the second one was sent, and that takes longer still.
    const start = (): Promise<TestServer> =>
      httpServer((incoming, response) => {
        const first = incoming.headers["x-rollcall-attempt"] === undefined;
        if (incoming.url !== "/slow") response.end("ok");
        else if (first) setTimeout(() => response.writeHead(503).end("x".repeat(100_000)), 120);
        else setTimeout(() => response.end("good"), 200);
      });
    const servers = [await start(), await start()] as const;
    for (const server of servers) onTestFinished(() => server.kill());
    const client = await warm(servers.map((server) => ({ server, log: [] })));
    const { statusCode, body } = await client.request("/slow");
    expect([statusCode, await body.text()]).toEqual([200, "good"]);
    await until(() => inFlight(client).every((slots) => slots === 0));
    expect(client.endpoints.map(({ stats }) => stats.failures).toSorted((a, b) => a - b)).toEqual([0, 1]);
  });

  it("hands over the last bad answer where all are bad", async () => {
    const start = (): Promise<TestServer> =>
      httpServer((incoming, response) => {
        if (incoming.url !== "/slow") response.end("ok");
        else setTimeout(() => response.writeHead(503).end("no"), 120);
      });
    const servers = [await start(), await start()] as const;
    for (const server of servers) onTestFinished(() => server.kill());
    const client = await warm(
      servers.map((server) => ({ server, log: [] })),
      { retry: { maxAttempts: 2 } },
    );
    const { statusCode, body } = await client.request("/slow");
    expect([statusCode, await body.text()]).toEqual([503, "no"]);
    await until(() => inFlight(client).every((slots) => slots === 0));
    expect(client.endpoints.map(({ stats }) => stats.failures)).toEqual([1, 1]);
  });

  it("leaves neither slot nor body where two answers come in the same moment", async () => {
    const waiting: ServerResponse[] = [];
    const start = (): Promise<TestServer> =>
      httpServer((incoming, response) => {
        if (incoming.url !== "/slow") {
          response.end("ok");
          return;
        }
        waiting.push(response);
        if (waiting.length < 2) return;
        // Long enough that it does not come with its head.
        for (const both of waiting.splice(0)) both.end("x".repeat(300_000));
      });
    const servers = [await start(), await start()] as const;
    for (const server of servers) onTestFinished(() => server.kill());
    const client = await warm(
      servers.map((server) => ({ server, log: [] })),
      { retry: { hedge: { minDelayMs: 5, ratio: 1 } } },
    );
    for (let n = 0; n < 40; n++) {
      const { body } = await client.request("/slow");
      expect((await body.text()).length).toBe(300_000);
      await until(() => inFlight(client).every((slots) => slots === 0));
    }
    expect(client.endpoints.map(({ stats }) => stats.failures)).toEqual([0, 0]);
    // They do not hold on to a connection each that nobody reads.
    await client.close();
    await until(() => servers.every((server) => server.open() === 0));
  });

  it("ends at once when its caller leaves, at both instances", async () => {
    const servers = await pair();
    const client = await warm(servers);
    const controller = new AbortController();
    const reason = new Error("enough");
    const request = client.request("/slower", { signal: controller.signal });
    await until(() => logs(servers).length === 2);
    expect(inFlight(client)).toEqual([1, 1]);
    controller.abort(reason);
    await expect(request).rejects.toBe(reason);
    await until(() => logs(servers).length === 4);
    expect(logs(servers)).toEqual(["1 GET ", "1 given up", "2 GET ", "2 given up"]);
    expect(inFlight(client)).toEqual([0, 0]);
    expect(client.endpoints.map(({ stats }) => stats.failures)).toEqual([0, 0]);
  });

  it("that is late at both ends with its deadline, as a failure of both", async () => {
    const servers = await pair();
    const client = await warm(servers);
    await expect(client.request("/slower", { timeoutMs: 300 })).rejects.toMatchObject({
      reason: "deadline",
      errors: [{ code: "TIMEOUT" }, { code: "TIMEOUT" }],
    });
    await until(() => logs(servers).length === 4);
    expect(client.endpoints.map(({ stats }) => stats.failures)).toEqual([1, 1]);
  });
});

describe("five real servers, of which one answers one request in ten two seconds late", () => {
  const CALLS = 1_200;

  interface Run {
    readonly p99Ms: number;
    readonly requests: number;
    readonly repeatedPosts: number;
  }

  /** Calls at a steady pace, one in seven of them a POST. */
  async function run(hedge: RetryOptions["hedge"]): Promise<Run> {
    let [requests, repeatedPosts, turn] = [0, 0, 0];
    const servers = await Promise.all(
      Array.from({ length: 5 }, (_, which) =>
        httpServer((incoming, response) => {
          requests++;
          if (incoming.method === "POST" && incoming.headers["x-rollcall-attempt"] !== undefined) repeatedPosts++;
          // No policy can learn from one in ten to stay away, and none should.
          const late = which === 0 && ++turn % 10 === 0;
          setTimeout(() => response.end("ok"), late ? 2_000 : 2);
        }),
      ),
    );
    const client = clientOf(servers, { policy: roundRobin(), retry: { hedge, budget: retryBudget() } });
    const latencies: number[] = [];
    const startedAt = performance.now();
    const calls: Promise<void>[] = [];
    while (calls.length < CALLS) {
      const due = Math.min(CALLS, (performance.now() - startedAt) / 2.5);
      while (calls.length < due) {
        const method = calls.length % 7 === 3 ? "POST" : "GET";
        const began = performance.now();
        const call = client.request("/", { method }).then(async ({ body }) => {
          await body.text();
          if (method === "GET") latencies.push(performance.now() - began);
        });
        calls.push(call);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await Promise.all(calls);
    expect(inFlight(client)).toEqual([0, 0, 0, 0, 0]);
    await client.close();
    for (const server of servers) await server.kill();
    latencies.sort((a, b) => a - b);
    return { p99Ms: latencies[Math.floor(latencies.length * 0.99)] ?? NaN, requests, repeatedPosts };
  }

  it(
    "are as fast as the four by a hedge in twenty calls at most, and no POST is sent twice",
    { timeout: 30_000 },
    async () => {
      const [plain, hedged] = [await run(false), await run(true)];
      expect(plain.requests).toBe(CALLS);
      expect(plain.p99Ms).toBeGreaterThan(1_900);
      expect(hedged.p99Ms).toBeLessThan(500);
      expect(hedged.requests).toBeLessThanOrEqual(CALLS * 1.05);
      expect(hedged.repeatedPosts).toBe(0);
    },
  );
});
