import { type Instance, type Instancer, createCache, createInstance } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { type HttpClient, type RequestOptions, httpClient } from "../src/index.ts";
import { type TestServer, httpServer, inFlight, text } from "./servers.ts";

/** An instancer whose set the test decides. */
function movingInstancer() {
  const cache = createCache();
  const instancer: Instancer = {
    service: "lorem",
    get snapshot() {
      return cache.snapshot;
    },
    subscribe: (listener) => cache.subscribe(listener),
    close: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  };
  const set = (servers: readonly TestServer[]): void =>
    cache.update(servers.map(({ instance }): Instance => createInstance(instance)));
  return { instancer, set };
}

const serving = () =>
  httpServer(async (request, response) => {
    await text(request);
    setTimeout(() => response.end("ok"), 5);
  });

/** Calls at a steady rate for so long; returns what went wrong. */
async function load(client: HttpClient, ms: number, perSecond: number, options: RequestOptions): Promise<unknown[]> {
  const failures: unknown[] = [];
  const calls: Promise<void>[] = [];
  const start = performance.now();
  let made = 0;
  while (performance.now() - start < ms) {
    for (; made < ((performance.now() - start) * perSecond) / 1_000; made++) {
      calls.push(
        client.request("/", options).then(
          async ({ body, statusCode }) => {
            if (statusCode !== 200 || (await body.text()) !== "ok") failures.push(statusCode);
          },
          (error: unknown) => void failures.push(error),
        ),
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await Promise.all(calls);
  expect(calls.length).toBeGreaterThan((ms * perSecond) / 2_000);
  return failures;
}

describe("under load", () => {
  it("no POST is lost when an instance leaves and then stops, and another comes", async () => {
    const { instancer, set } = movingInstancer();
    await using a = await serving();
    await using b = await serving();
    await using c = await serving();
    set([a, b]);
    await using client = httpClient({ instancer, retry: false });
    setTimeout(() => set([b]), 300);
    // A server that shuts down properly waits a moment for its clients to notice. It is not in a hurry to cut them off.
    setTimeout(() => void a.stop(), 400);
    setTimeout(() => set([b, c]), 600);
    expect(await load(client, 900, 200, { method: "POST", body: "body" })).toEqual([]);
    expect(c.seen.length).toBeGreaterThan(10);
    expect(a.open()).toBe(0);
  });

  it("no repeatable call is lost when an instance is killed, though the registry still lists it", async () => {
    const { instancer, set } = movingInstancer();
    await using a = await serving();
    await using b = await serving();
    set([a, b]);
    await using client = httpClient({ instancer });
    setTimeout(() => void a.kill(), 300);
    expect(await load(client, 1_500, 200, { method: "POST", body: "body", idempotent: true })).toEqual([]);
    expect(inFlight(client)).toEqual([0, 0]);
  });

  it("a POST that is not repeatable is lost only if it was under way in that moment", async () => {
    const { instancer, set } = movingInstancer();
    await using a = await serving();
    await using b = await serving();
    set([a, b]);
    await using client = httpClient({ instancer });
    let underWay = 0;
    setTimeout(() => {
      underWay = inFlight(client).reduce((sum, count) => sum + count, 0);
      void a.kill();
    }, 300);
    const failures = await load(client, 900, 200, { method: "POST", body: "body" });
    expect(failures.length).toBeLessThanOrEqual(underWay);
    for (const failure of failures) expect(failure).toMatchObject({ code: "RETRY", reason: "not-retryable" });
  });
});
