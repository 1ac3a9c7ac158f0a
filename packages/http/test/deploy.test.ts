import { type Instance, type Instancer, channels, createCache, createInstance } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { type HttpClient, type RequestOptions, httpClient } from "../src/index.ts";
import { type TestServer, httpServer, inFlight, text, until } from "./servers.ts";

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

/** Calls at a steady rate until the script is over, which may wait for so many to have been made; returns what went wrong. */
async function load(
  client: HttpClient,
  options: RequestOptions,
  script: (made: (count: number) => Promise<void>) => Promise<void>,
): Promise<unknown[]> {
  const failures: unknown[] = [];
  const calls: Promise<void>[] = [];
  const over = new AbortController();
  const done = script((count) => until(() => calls.length >= count, 20_000)).finally(() => over.abort());
  while (!over.signal.aborted) {
    const call = client.request("/", options).then(
      async ({ body, statusCode }) => {
        if (statusCode !== 200 || (await body.text()) !== "ok") failures.push(statusCode);
      },
      (error: unknown) => void failures.push(error),
    );
    calls.push(call);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
  await done;
  await Promise.all(calls);
  return failures;
}

describe("under load", { timeout: 30_000 }, () => {
  it("no POST is lost when an instance leaves and then stops, and another comes", async () => {
    const { instancer, set } = movingInstancer();
    await using a = await serving();
    await using b = await serving();
    await using c = await serving();
    set([a, b]);
    await using client = httpClient({ instancer, retry: false });
    const failures = await load(client, { method: "POST", body: "body" }, async (made) => {
      await made(60);
      const drained = Promise.withResolvers<void>();
      const leave = channels.endpointClosed.subscribe(({ instance }) => {
        if (instance.port === a.port) drained.resolve();
      });
      set([b]);
      // A server that shuts down properly gives its clients the time to notice, and their requests the time to end.
      await drained.promise;
      leave();
      await a.stop();
      set([b, c]);
      await made(200);
    });
    expect(failures).toEqual([]);
    expect(a.seen.length).toBeGreaterThan(10);
    expect(c.seen.length).toBeGreaterThan(10);
    expect(a.open()).toBe(0);
  });

  it("no repeatable call is lost when an instance is killed, though the registry still lists it", async () => {
    const { instancer, set } = movingInstancer();
    await using a = await serving();
    await using b = await serving();
    set([a, b]);
    await using client = httpClient({ instancer, retry: { timeoutMs: 30_000 } });
    const failures = await load(client, { method: "POST", body: "body", idempotent: true }, async (made) => {
      await made(60);
      await a.kill();
      await made(300);
    });
    expect(failures).toEqual([]);
    expect(inFlight(client)).toEqual([0, 0]);
  });

  it("a POST that is not repeatable is lost only if it was under way in that moment", async () => {
    const { instancer, set } = movingInstancer();
    await using a = await serving();
    await using b = await serving();
    set([a, b]);
    await using client = httpClient({ instancer, retry: { timeoutMs: 30_000 } });
    let underWay = 0;
    const failures = await load(client, { method: "POST", body: "body" }, async (made) => {
      await made(60);
      underWay = inFlight(client).reduce((sum, count) => sum + count, 0);
      await a.kill();
      await made(300);
    });
    expect(failures.length).toBeLessThanOrEqual(underWay);
    for (const failure of failures) expect(failure).toMatchObject({ code: "RETRY", reason: "not-retryable" });
  });
});
