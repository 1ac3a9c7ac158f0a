import { RetryError } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { createFetch, failureAnswer as fromFetch } from "../src/fetch.ts";
import { type HttpClient, type HttpClientOptions, failureAnswer } from "../src/index.ts";
import { failureAnswer as fromServer } from "../src/server.ts";
import { clientOf, deadInstance, httpServer, rawServer, registryOf } from "./servers.ts";

type Ask = (path: string) => Promise<unknown>;

/** What both kinds of clients, of the same instances, reject with. */
async function failures(
  instances: Parameters<typeof clientOf>[0],
  retry: HttpClientOptions["retry"] = { maxAttempts: 2 },
): Promise<unknown[]> {
  await using client: HttpClient = clientOf(instances, { retry });
  await using fetched = createFetch({ registry: await registryOf(instances), defaults: { retry } });
  const asks: Ask[] = [(path) => client.request(path), (path) => fetched(`http://lorem${path}`)];
  return await Promise.all(asks.map((ask) => ask("/").catch((error: unknown) => error)));
}

const NO_ENDPOINTS = {
  statusCode: 503,
  code: "no_endpoints",
  message: 'no instance of "lorem" is available',
  retryAfterSeconds: 1,
};
const TIMEOUT = { statusCode: 504, code: "timeout", message: '"lorem" did not answer in time' };
const BAD_GATEWAY = { statusCode: 502, code: "bad_gateway", message: '"lorem" could not be reached, or broke off' };

describe("failureAnswer", () => {
  it("is the same, wherever it is imported from", () => {
    expect([fromFetch, fromServer]).toEqual([failureAnswer, failureAnswer]);
  });

  it("is 503 without an instance, and says when to try again", async () => {
    for (const error of await failures([], { maxAttempts: 2, timeoutMs: 200 })) {
      expect(failureAnswer(error, "lorem")).toEqual(NO_ENDPOINTS);
    }
    for (const error of await failures([], false)) expect(failureAnswer(error, "lorem")).toEqual(NO_ENDPOINTS);
  });

  it("is 503 from a client that is closed", async () => {
    const client = clientOf([]);
    await client.close();
    const error: unknown = await client.request("/").catch((reason: unknown) => reason);
    expect(failureAnswer(error, "lorem")).toEqual(NO_ENDPOINTS);
  });

  it("is 504 from instances that do not answer in time, whosever time it is", async () => {
    await using hung = await httpServer(() => undefined);
    for (const retry of [{ timeoutMs: 50 }, { attemptTimeoutMs: 50, maxAttempts: 1 }]) {
      for (const error of await failures([hung], retry)) expect(failureAnswer(error, "lorem")).toEqual(TIMEOUT);
    }
    await using client = clientOf([hung], { headersTimeoutMs: 50, retry: { maxAttempts: 1 } });
    const own = [client.request("/"), client.request("/", { signal: AbortSignal.timeout(50), headersTimeoutMs: 0 })];
    const over = client.request("/", { incoming: { headers: { "x-rollcall-deadline-ms": "0" } } });
    for (const outcome of await Promise.allSettled([...own, over])) {
      expect(outcome.status).toBe("rejected");
      expect(failureAnswer((outcome as PromiseRejectedResult).reason, "lorem")).toEqual(TIMEOUT);
    }
  });

  it("is 502 from instances that are dead, break off or talk nonsense, and names none of them", async () => {
    await using rude = await rawServer((socket) => socket.destroy());
    await using mad = await rawServer((socket) => void socket.end("HTTP/9.9 nonsense\r\n\r\n"));
    for (const instance of [await deadInstance(), rude, mad]) {
      for (const error of await failures([instance])) {
        expect(failureAnswer(error, "lorem")).toEqual(BAD_GATEWAY);
      }
    }
  });

  it("goes by the last attempt", async () => {
    await using hung = await httpServer(() => undefined);
    const [refused] = await failures([await deadInstance()], { maxAttempts: 1 });
    const [late] = await failures([hung], { attemptTimeoutMs: 50, maxAttempts: 1 });
    const errors = [refused, late].map((error) => (error as RetryError).errors[0] as unknown);
    expect(failureAnswer(new RetryError(errors, "attempts"), "lorem")).toEqual(TIMEOUT);
    expect(failureAnswer(new RetryError(errors.toReversed(), "attempts"), "lorem")).toEqual(BAD_GATEWAY);
  });

  it("looks behind the errors of others", async () => {
    const [error] = await failures([], false);
    expect(failureAnswer(new Error("Request failed", { cause: error }), "lorem")).toEqual(NO_ENDPOINTS);
  });

  it.each([undefined, null, "text", 7, new Error("a bug"), Object.create(null)])("is 502 for %s", (error) => {
    expect(failureAnswer(error, "lorem")).toEqual(BAD_GATEWAY);
  });

  it("does not follow causes in circles", () => {
    const error = new Error("round");
    error.cause = error;
    expect(failureAnswer(error, "lorem")).toEqual(BAD_GATEWAY);
  });
});
