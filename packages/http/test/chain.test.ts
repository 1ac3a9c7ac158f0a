import type { IncomingMessage, ServerResponse } from "node:http";
import { describe, expect, it, onTestFinished } from "vitest";
import { request } from "undici";
import { createFetch } from "../src/fetch.ts";
import { discoveryDispatcher, failureAnswer, httpClient } from "../src/index.ts";
import { requestDeadline, whileServing } from "../src/server.ts";
import { type TestServer, httpServer, registryOf, until } from "./servers.ts";

/** A service to ask: `status` of its answer, or rejects as its client does. */
type Ask = (method: "GET" | "POST") => Promise<number>;

/** Of each client. */
interface Times {
  readonly timeoutMs: number;
  readonly attemptTimeoutMs?: number;
}

const AMPLE: Times = { timeoutMs: 20_000, attemptTimeoutMs: 10_000 };
const SHORT: Times = { timeoutMs: 4_000, attemptTimeoutMs: 800 };

const options = (times: Times) => ({
  sendDeadline: true,
  retry: { backoff: () => 0, budget: false as const, ...times },
});

type Way = (server: TestServer, times: Times) => Promise<Ask>;

/** Each way to ask the service that is given. None of them knows what it is asked for. */
const WAYS: Record<string, Way> = {
  httpClient: async (server, times) => {
    const registry = await registryOf([server]);
    const instancer = registry.instancer({ service: "lorem" });
    const client = httpClient({ instancer, ...options(times) });
    onTestFinished(() => client.close());
    return async (method) => {
      const { statusCode, body } = await client.request("/", { method });
      await body.dump();
      return statusCode;
    };
  },
  discoveryDispatcher: async (server, times) => {
    const dispatcher = discoveryDispatcher({ registry: await registryOf([server]), defaults: options(times) });
    onTestFinished(() => dispatcher.close());
    return async (method) => {
      const { statusCode, body } = await request("http://lorem/", { dispatcher, method });
      await body.dump();
      return statusCode;
    };
  },
  createFetch: async (server, times) => {
    const fetched = createFetch({ registry: await registryOf([server]), defaults: options(times) });
    onTestFinished(() => fetched.close());
    return async (method) => {
      const response = await fetched("http://lorem/", { method });
      await response.text();
      return response.status;
    };
  },
};

interface Chain {
  readonly ask: Ask;
  /** What each request to C said: which attempt it was, and how much time was left. */
  readonly atC: (readonly [attempt: unknown, leftMs: number])[];
  /** How much time each layer found to be left, when it was first asked. */
  readonly left: Record<"A" | "B" | "C", number>;
  /** The requests that are being worked on. */
  readonly busy: () => number;
}

/** caller → A → B → C: plain servers, of which A and B do nothing but ask the next one, as their client is told. */
async function chain(
  way: Way,
  times: Times,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  serve: typeof whileServing = whileServing,
): Promise<Chain> {
  const atC: (readonly [unknown, number])[] = [];
  const left = { A: NaN, B: NaN, C: NaN };
  let busy = 0;
  const note = (name: keyof typeof left, incoming: IncomingMessage): void => {
    if (Number.isNaN(left[name])) left[name] = requestDeadline(incoming).remainingMs;
  };
  const start = async (listener: Parameters<typeof httpServer>[0]): Promise<TestServer> => {
    const server = await httpServer(listener);
    onTestFinished(() => server.kill());
    return server;
  };
  const c = await start((incoming, response) => {
    note("C", incoming);
    const { headers } = incoming;
    atC.push([headers["x-rollcall-attempt"], Number(headers["x-rollcall-deadline-ms"])]);
    answer(incoming, response);
  });
  const layer = (name: "A" | "B", next: Ask): Promise<TestServer> =>
    start((incoming, response) => {
      note(name, incoming);
      busy++;
      void serve(incoming, async () => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        try {
          response.writeHead(await next(incoming.method as "GET")).end();
        } catch (error) {
          response.writeHead(failureAnswer(error, "lorem").statusCode).end();
        }
      }).finally(() => busy--);
    });
  const b = await layer("B", await way(c, times));
  const a = await layer("A", await way(b, times));
  return { ask: await way(a, times), atC, left, busy: () => busy };
}

const forgetful: typeof whileServing = (_, run) => run();

describe.each(Object.entries(WAYS))("caller → A → B → C by %s", (_, way) => {
  it("asks C seven times where C always fails, not twenty-seven times", async () => {
    const fail = (_: IncomingMessage, response: ServerResponse): void => void response.writeHead(503).end();
    const { ask, atC } = await chain(way, AMPLE, fail);
    expect(await ask("GET")).toBe(503);
    expect(atC.length).toBe(7);
    // Only those of the very first request of each layer say nothing: all else is known to be repeated.
    expect(atC.filter(([attempt]) => attempt === undefined).length).toBe(1);
    const unaware = await chain(way, AMPLE, fail, forgetful);
    expect(await unaware.ask("GET")).toBe(503);
    expect(unaware.atC.length).toBe(27);
  });

  it("asks C once for what may not be repeated", async () => {
    const { ask, atC } = await chain(way, AMPLE, (_, response) => void response.writeHead(503).end());
    expect(await ask("POST")).toBe(503);
    expect(atC.length).toBe(1);
  });

  it("asks C at most seven times where C hangs, never for longer than the caller waits, and then nobody works on", async () => {
    const { ask, atC, left, busy } = await chain(way, SHORT, () => undefined);
    const before = performance.now();
    await ask("GET").catch(() => undefined);
    expect(performance.now() - before).toBeLessThan(5_500);
    expect(atC.length).toBeGreaterThan(0);
    expect(atC.length).toBeLessThanOrEqual(7);
    expect([left.A > left.B, left.B > left.C]).toEqual([true, true]);
    await until(() => busy() === 0, 2_000);
  });

  it("leaves each layer less time than the one before, whatever its own time is", async () => {
    const { ask, left, atC } = await chain(way, AMPLE, (_, response) => void response.end());
    expect(await ask("GET")).toBe(200);
    // That of one attempt, not that of the whole call.
    expect(left.A).toBeLessThanOrEqual(10_000);
    // Each layer waits for 20 ms before it asks.
    expect([left.B <= left.A - 15, left.C <= left.B - 15, left.C > 5_000]).toEqual([true, true, true]);
    expect(atC).toEqual([[undefined, expect.any(Number)]]);
  });
});
