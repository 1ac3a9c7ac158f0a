import type { IncomingMessage } from "node:http";
import { describe, expect, it } from "vitest";
import { interceptors, request } from "undici";
import { createFetch } from "../src/fetch.ts";
import { type IncomingRequest, discoveryDispatcher, serviceClient } from "../src/index.ts";
import { isRetried, requestDeadline, whileServing } from "../src/server.ts";
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

  it("tells them no more than the time of the attempt, which is when this request is given up", async () => {
    await using one = await failingServer();
    const retry = { backoff: () => 0, timeoutMs: 3_000, attemptTimeoutMs: 500 };
    await using client = clientOf([one.server], { sendDeadline: true, retry });
    await (await client.request("/")).body.dump();
    await (await client.request("/", { method: "POST", timeoutMs: 200 })).body.dump();
    const left = one.said.map(([, deadlineMs]) => deadlineMs);
    expect(left.slice(0, 3)).toEqual([500, 500, 500]);
    expect(left[3]).toBeLessThanOrEqual(200);
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

describe("what is sent while a request is served", () => {
  const repeated = { headers: { "x-rollcall-attempt": "2" } };
  const attempts = (one: { said: (readonly [unknown, number])[] }) => one.said.splice(0).map(([attempt]) => attempt);

  /** A service that fails, and every way to ask it. */
  async function everyClient(handler?: Parameters<typeof httpServer>[0]) {
    const one = await failingServer();
    const server = handler === undefined ? one.server : await httpServer(handler);
    const registry = await registryOf([server]);
    const retry = { backoff: () => 0, budget: false } as const;
    const client = clientOf([server], { retry });
    const byName = serviceClient(registry, { service: "lorem", retry });
    const dispatcher = discoveryDispatcher({ registry, defaults: { retry } });
    const fetched = createFetch({ registry, defaults: { retry } });
    const ways: Record<string, (incoming?: IncomingRequest | false) => Promise<unknown>> = {
      request: async (incoming) => (await client.request("/", { incoming })).body.dump(),
      fetch: async (incoming) => (await client.fetch("/", { incoming })).text(),
      serviceClient: async (incoming) => (await byName.request("/", { incoming })).body.dump(),
      dispatcher: async (incoming) =>
        (
          await request("http://lorem/", { dispatcher, incoming } as Parameters<typeof request>[1] & object)
        ).body.dump(),
      createFetch: async (incoming) => (await fetched("http://lorem/", { incoming })).text(),
    };
    const close = async (): Promise<void> => {
      await Promise.all([client.close(), byName.close(), dispatcher.close(), fetched.close()]);
      await Promise.all([one.server.kill(), server.kill()]);
    };
    return { one, ways, [Symbol.asyncDispose]: close };
  }

  it("is not repeated if that one was, whichever client sends it, unless it says that it serves none", async () => {
    await using all = await everyClient();
    for (const [name, ask] of Object.entries(all.ways)) {
      await whileServing(repeated, () => ask());
      expect([name, attempts(all.one)]).toEqual([name, ["2"]]);
      await ask();
      expect([name, attempts(all.one)]).toEqual([name, [undefined, "2", "3"]]);
      await whileServing(repeated, () => ask(false));
      expect([name, attempts(all.one)]).toEqual([name, [undefined, "2", "3"]]);
      await whileServing(repeated, () => ask({ headers: {} }));
      expect([name, attempts(all.one)]).toEqual([name, [undefined, "2", "3"]]);
    }
  });

  it("ends with that one's deadline, whichever client sends it", async () => {
    await using all = await everyClient(() => undefined);
    for (const ask of Object.values(all.ways)) {
      const before = performance.now();
      const asked = whileServing({ headers: { "x-rollcall-deadline-ms": "60" } }, () => ask());
      await expect(asked).rejects.toMatchObject({ reason: "deadline" });
      expect(performance.now() - before).toBeLessThan(1_500);
    }
  });

  it("goes on when that one has ended or was aborted, and its body does to its end", async () => {
    await using slow = await httpServer((_, response) => {
      response.write("a");
      setTimeout(() => response.end("b"), 150);
    });
    await using client = clientOf([slow]);
    const texts: Promise<string>[] = [];
    await using middle = await httpServer((request, response) => {
      whileServing(request, () => {
        texts.push(client.request("/").then(({ body }) => body.text()));
        if (request.url === "/abort") request.socket.destroy();
        else response.end();
      });
    });
    const headers = { "x-rollcall-deadline-ms": "100" };
    await (await request(`http://127.0.0.1:${middle.port}/`, { headers })).body.dump();
    await expect(request(`http://127.0.0.1:${middle.port}/abort`, { headers })).rejects.toThrow();
    expect(await Promise.all(texts)).toEqual(["ab", "ab"]);
  });

  it("is not taken for that of a request whose connection it uses", async () => {
    // The first request opens the connection; its deadline is over when the others use it.
    await using server = await httpServer((incoming, response) => {
      if (incoming.url === "/from") response.writeHead(302, { location: "/to" }).end();
      else response.end("ok");
    });
    const registry = await registryOf([server]);
    await using dispatcher = discoveryDispatcher({ registry, defaults: { connections: 1 } });
    await using client = clientOf([server], { connections: 1 });
    const composed = dispatcher.compose(interceptors.redirect({ maxRedirections: 1 }));
    await whileServing({ headers: { "x-rollcall-deadline-ms": "200" } }, async () => {
      await (await request("http://lorem/", { dispatcher })).body.dump();
      await (await client.request("/")).body.dump();
    });
    await new Promise((resolve) => setTimeout(resolve, 250));
    const redirected = await request("http://lorem/from", { dispatcher: composed });
    expect(await redirected.body.text()).toBe("ok");
    const { body } = await client.request("/");
    const next = Promise.withResolvers<string>();
    body.on("end", () => next.resolve(client.request("/").then((answer) => answer.body.text()))).resume();
    expect(await next.promise).toBe("ok");
  });

  it("stays that one's in the callbacks of its connections", async () => {
    await using server = await httpServer((incoming, response) => {
      if (incoming.url === "/from") response.writeHead(302, { location: "/to" }).end();
      else response.writeHead(503).end(String(incoming.headers["x-rollcall-attempt"]));
    });
    await using dispatcher = discoveryDispatcher({ registry: await registryOf([server]) });
    const composed = dispatcher.compose(interceptors.redirect({ maxRedirections: 1 }));
    // Opens the connection, on behalf of nobody.
    await (await request("http://lorem/from", { dispatcher })).body.dump();
    const { body } = await whileServing(repeated, () => request("http://lorem/from", { dispatcher: composed }));
    expect(await body.text()).toBe("2");
  });
});
