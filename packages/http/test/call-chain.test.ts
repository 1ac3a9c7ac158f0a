import type { IncomingMessage } from "node:http";
import { describe, expect, it } from "vitest";
import { request } from "undici";
import { createFetch } from "../src/fetch.ts";
import { discoveryDispatcher } from "../src/index.ts";
import { isRetried, requestDeadline } from "../src/server.ts";
import { clientOf, deadInstance, httpServer, inFlight, registryOf } from "./servers.ts";

/** What each request said of its attempt and its deadline. */
async function failingServer(status = 503) {
  const said: (readonly [attempt: unknown, deadlineMs: number])[] = [];
  const server = await httpServer(({ headers }, response) => {
    said.push([headers["x-rollcall-attempt"], Number(headers["x-rollcall-deadline-ms"])]);
    response.writeHead(status).end();
  });
  return { server, said, [Symbol.asyncDispose]: () => server.kill() };
}

describe("a request that is repeated", () => {
  it("says so, whichever client sends it, and says nothing the first time", async () => {
    await using one = await failingServer();
    await using client = clientOf([one.server]);
    await (await client.request("/", { headers: { "X-Rollcall-Attempt": "7", "x-other": "1" } })).body.dump();
    await (await client.fetch("/")).text();
    const registry = await registryOf([one.server]);
    await using dispatcher = discoveryDispatcher({ registry });
    await (await request("http://lorem/", { dispatcher })).body.dump();
    await using fetched = createFetch({ registry });
    await (await fetched("http://lorem/")).text();
    const attempts = one.said.map(([attempt]) => attempt);
    expect(attempts).toEqual(
      ["7", "2", "3"].concat(...Array.from({ length: 3 }, () => [undefined as never, "2", "3"])),
    );
  });

  it("does not count attempts that no server can have seen", async () => {
    await using one = await failingServer(200);
    await using client = clientOf([await deadInstance(), await deadInstance(), one.server]);
    for (let n = 0; n < 3; n++) await (await client.request("/", { method: "POST" })).body.dump();
    expect(one.said.map(([attempt]) => attempt)).toEqual([undefined, undefined, undefined]);
  });

  it("counts those that were given up", async () => {
    let calls = 0;
    const said: unknown[] = [];
    await using server = await httpServer((incoming, response) => {
      said.push(incoming.headers["x-rollcall-attempt"]);
      if (++calls > 1) response.end();
    });
    await using client = clientOf([server], { retry: { attemptTimeoutMs: 100, backoff: () => 0 } });
    await (await client.request("/")).body.dump();
    expect(said).toEqual([undefined, "2"]);
  });
});

describe("sendDeadline", () => {
  it("tells instances how much time is left, of every attempt", async () => {
    await using one = await failingServer();
    const retry = { backoff: () => 50, timeoutMs: 3_000 };
    await using client = clientOf([one.server], { sendDeadline: true, retry });
    await (await client.request("/")).body.dump();
    await (await client.request("/", { method: "POST", timeoutMs: 1_000 })).body.dump();
    const left = one.said.map(([, deadlineMs]) => deadlineMs);
    expect(left.length).toBe(4);
    const [first = 0, second = 0, third = 0, post = 0] = left;
    expect([first <= 3_000, first > 2_000, second < first - 40, third < second - 40]).toEqual([true, true, true, true]);
    expect([post <= 1_000, post > 500]).toEqual([true, true]);
  });

  it("does so by fetch, too", async () => {
    await using one = await failingServer(200);
    await using fetched = createFetch({ registry: await registryOf([one.server]), defaults: { sendDeadline: true } });
    await (await fetched("http://lorem/", { timeoutMs: 500 })).text();
    expect(one.said[0]?.[1]).toBeLessThanOrEqual(500);
    expect(one.said[0]?.[1]).toBeGreaterThan(100);
  });
});

describe("a chain of services", () => {
  /** Every layer passes on to the next; the last one fails. Returns how often that was asked for one call. */
  async function amplification(pass: (incoming: IncomingMessage) => IncomingMessage | undefined): Promise<number> {
    await using last = await failingServer();
    await using toLast = clientOf([last.server], { retry: { backoff: () => 0 } });
    const layer = (next: typeof toLast) =>
      httpServer(async (incoming, response) => {
        const { statusCode, body } = await next.request("/", { incoming: pass(incoming) });
        await body.dump();
        response.writeHead(statusCode).end();
      });
    await using second = await layer(toLast);
    await using toSecond = clientOf([second], { retry: { backoff: () => 0 } });
    await using first = await layer(toSecond);
    await using toFirst = clientOf([first], { retry: { backoff: () => 0 } });
    await (await toFirst.request("/")).body.dump();
    return last.said.length;
  }

  it("multiplies retries if its layers know nothing of each other, and does not if they pass on what came in", async () => {
    expect(await amplification(() => undefined)).toBe(27);
    expect(await amplification((incoming) => incoming)).toBe(7);
  });

  it("still sends elsewhere what has not left", async () => {
    await using good = await httpServer((_, response) => void response.end("ok"));
    await using client = clientOf([await deadInstance(), good]);
    const incoming = { headers: { "x-rollcall-attempt": "2" } };
    expect(isRetried(incoming)).toBe(true);
    for (let n = 0; n < 4; n++) {
      expect(await (await client.request("/", { method: "POST", incoming })).body.text()).toBe("ok");
    }
  });

  it("is bounded by the deadline of its first caller", async () => {
    await using hung = await httpServer(() => undefined);
    await using client = clientOf([hung]);
    await using fetched = createFetch({ registry: await registryOf([hung]) });
    const incoming = { headers: { "x-rollcall-deadline-ms": "80" } };
    const before = performance.now();
    await expect(client.request("/", { incoming })).rejects.toMatchObject({ reason: "deadline" });
    await expect(fetched("http://lorem/", { incoming })).rejects.toMatchObject({ reason: "deadline" });
    expect(performance.now() - before).toBeLessThan(2_000);
    expect(requestDeadline(incoming).remainingMs).toBe(0);
    expect(inFlight(client)).toEqual([0]);
  });
});
