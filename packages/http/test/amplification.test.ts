import { describe, expect, it, onTestFinished } from "vitest";
import { failureAnswer, httpClient } from "../src/index.ts";
import { whileServing } from "../src/server.ts";
import { type TestServer, httpServer, registryOf } from "./servers.ts";

const CALLS_PER_SECOND = 150;
const FAILS_FOR_MS = 4_000;

interface Fleet {
  readonly instances: readonly TestServer[];
}

type Ask = () => Promise<number>;

/** A service of two instances. */
async function service(listener: Parameters<typeof httpServer>[0]): Promise<Fleet> {
  const instances = [await httpServer(listener), await httpServer(listener)];
  for (const instance of instances) onTestFinished(() => instance.kill());
  return { instances };
}

/** A client as it comes, but for the time of a test: it has the default budget, and three attempts. */
async function clientOf({ instances }: Fleet): Promise<Ask> {
  const registry = await registryOf(instances);
  const client = httpClient({ instancer: registry.instancer("lorem"), retry: { maxAttempts: 3 } });
  onTestFinished(() => client.close());
  return async () => {
    const { statusCode, body } = await client.request("/");
    await body.dump();
    return statusCode;
  };
}

const seen = ({ instances }: Fleet): number => instances.reduce((sum, { seen }) => sum + seen.length, 0);

async function load(ask: Ask, forMs: number): Promise<number> {
  const calls: Promise<unknown>[] = [];
  const startedAt = performance.now();
  for (let passedMs = 0; passedMs < forMs; passedMs = performance.now() - startedAt) {
    while (calls.length < (passedMs / 1_000) * CALLS_PER_SECOND) calls.push(ask().catch(() => undefined));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await Promise.all(calls);
  return calls.length;
}

const CHAIN = ["a", "b", "c"] as const;

/**
 * caller → A → B → C, each of two instances with a client each, which are told what they serve if `aware`; `fail` makes C
 * answer with 503 and nothing else.
 */
async function chain(aware: boolean): Promise<{ ask: Ask; seen: () => number[]; fail: () => void }> {
  let failing = false;
  const c = await service((_, response) => void response.writeHead(failing ? 503 : 200).end());
  const layer = async (next: Fleet): Promise<Fleet> => {
    const asks = [await clientOf(next), await clientOf(next)] as const;
    let turn = 0;
    return service((incoming, response) => {
      const ask = asks[turn++ % 2 === 0 ? 0 : 1];
      void whileServing(aware ? incoming : undefined, async () => {
        try {
          response.writeHead(await ask()).end();
        } catch (error) {
          response.writeHead(failureAnswer(error, "lorem").statusCode).end();
        }
      });
    });
  };
  const b = await layer(c);
  const a = await layer(b);
  const fleets = { a, b, c };
  return {
    ask: await clientOf(a),
    seen: () => CHAIN.map((name) => seen(fleets[name])),
    fail: () => void (failing = true),
  };
}

describe("a total outage of the last of three services", () => {
  it(
    "adds a fifth to the load of the first one at most, and three tenths to that of the last, whatever went before",
    { timeout: 20_000 },
    async () => {
      const measure = async (aware: boolean, goodMs: number): Promise<readonly number[]> => {
        const { ask, seen, fail } = await chain(aware);
        await load(ask, goodMs);
        fail();
        const before = seen();
        const calls = await load(ask, FAILS_FOR_MS);
        return seen().map((requests, at) => (requests - (before[at] ?? 0)) / calls);
      };
      const all = await Promise.all([measure(true, 0), measure(true, 2_000), measure(false, 2_000)]);
      for (const [a = NaN, b = NaN, c = NaN] of all) {
        expect.soft(a).toBeLessThanOrEqual(1.2);
        expect.soft(b).toBeLessThanOrEqual(1.3);
        expect.soft(c).toBeLessThanOrEqual(1.3);
        // They have not stopped to try, either.
        expect.soft(a).toBeGreaterThan(1);
      }
    },
  );
});
