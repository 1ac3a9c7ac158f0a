import { once } from "node:events";
import { type IncomingMessage, type ServerResponse, createServer, get } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { type IncomingRequest, beingServed, isRetried, requestDeadline, servedBy, whileServing } from "./call-chain.ts";

const withHeaders = (headers: Record<string, string | string[]>): IncomingRequest => ({ headers });

describe("isRetried", () => {
  it.each(["2", "3", "10"])("is true of attempt %s, in Node's headers and in standard ones", (attempt) => {
    expect(isRetried(withHeaders({ "x-rollcall-attempt": attempt }))).toBe(true);
    expect(isRetried(new Request("http://lorem/", { headers: { "X-Rollcall-Attempt": attempt } }))).toBe(true);
  });

  it.each(["1", "0", "-2", "2.5", "2, 3", "two", "", "9".repeat(400)])("is false of %j", (attempt) => {
    expect(isRetried(withHeaders({ "x-rollcall-attempt": attempt }))).toBe(false);
  });

  it("is false of a request that says nothing, or says it twice", () => {
    expect(isRetried(withHeaders({}))).toBe(false);
    expect(isRetried(withHeaders({ "x-rollcall-attempt": ["2", "3"] }))).toBe(false);
  });
});

describe("requestDeadline", () => {
  it("counts down from the first call with a request, and aborts at its end", async () => {
    const request = withHeaders({ "x-rollcall-deadline-ms": "60" });
    const { remainingMs, signal } = requestDeadline(request);
    expect(remainingMs).toBeGreaterThan(0);
    expect(remainingMs).toBeLessThanOrEqual(60);
    expect(requestDeadline(request).signal).toBe(signal);
    expect(signal?.aborted).toBe(false);
    await new Promise((resolve) => signal?.addEventListener("abort", resolve));
    expect(signal?.reason).toMatchObject({ name: "TimeoutError" });
    await expect.poll(() => requestDeadline(request).remainingMs).toBe(0);
  });

  it.each([{}, { "x-rollcall-deadline-ms": "soon" }, { "x-rollcall-deadline-ms": "-1" }])(
    "is none where %j says none",
    (headers) => expect(requestDeadline(withHeaders(headers))).toEqual({ remainingMs: Infinity, signal: undefined }),
  );

  it("never ends early because it is too far away for a timer", async () => {
    const { remainingMs, signal } = requestDeadline(withHeaders({ "x-rollcall-deadline-ms": "99999999999" }));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect([remainingMs > 99_999_000_000, signal]).toEqual([true, undefined]);
  });
});

describe("whileServing", () => {
  const repeated = withHeaders({ "x-rollcall-attempt": "2" });
  const limited = withHeaders({ "x-rollcall-deadline-ms": "60000" });

  it("returns what is returned, and throws what is thrown", async () => {
    expect(whileServing(repeated, () => 7)).toBe(7);
    expect(await whileServing(limited, async () => "seven")).toBe("seven");
    expect(() => whileServing(repeated, () => expect.fail("thrown"))).toThrow("thrown");
    expect(whileServing(withHeaders({}), () => 8)).toBe(8);
  });

  it("holds in whatever is called inside, now and later, and not outside", async () => {
    const seen: unknown[] = [];
    await whileServing(limited, async () => {
      seen.push(beingServed());
      await new Promise((resolve) => setTimeout(resolve, 1));
      seen.push(beingServed());
      process.nextTick(() => seen.push(beingServed()));
      await new Promise((resolve) => setImmediate(resolve));
    });
    expect(seen).toEqual([limited, limited, limited]);
    expect(beingServed()).toBe(undefined);
  });

  it("keeps those apart that are served at the same time", async () => {
    const serve = (request: IncomingRequest) =>
      whileServing(request, async () => {
        await new Promise((resolve) => setTimeout(resolve, 2));
        return beingServed();
      });
    expect(await Promise.all([serve(repeated), serve(limited), serve(repeated)])).toEqual([
      repeated,
      limited,
      repeated,
    ]);
  });

  it("nests: the inner request counts, also if it asks for nothing, and also if it is none", () => {
    const inner = (request: IncomingRequest | undefined) =>
      whileServing(repeated, () => [whileServing(request, beingServed), beingServed()]);
    expect(inner(limited)).toEqual([limited, repeated]);
    expect(inner(withHeaders({}))).toEqual([undefined, repeated]);
    expect(inner(undefined)).toEqual([undefined, repeated]);
  });

  it("starts the clock of the deadline", async () => {
    const request = withHeaders({ "x-rollcall-deadline-ms": "30" });
    whileServing(request, () => undefined);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(requestDeadline(request).remainingMs).toBe(0);
  });

  it("comes after what a call says itself", () => {
    whileServing(repeated, () => {
      expect([servedBy(undefined), servedBy(limited), servedBy(false)]).toEqual([repeated, limited, undefined]);
    });
    expect(servedBy(undefined)).toBe(undefined);
  });

  it.each([true, 0, "request", null, {}, { headers: "none" }])("does not take %j for a request", (incoming) => {
    expect(() => servedBy(incoming as never)).toThrow(/incoming: expected the request that is being served/);
    expect(() => whileServing(incoming as never, () => expect.fail("called"))).toThrow(/request: expected the request/);
  });

  /** What is served 50 ms after `answer` has dealt with a request, by what that has begun. */
  async function servedAfter(answer: (response: ServerResponse, request: IncomingMessage) => void): Promise<unknown> {
    const later = Promise.withResolvers<unknown>();
    const server = createServer((request, response) => {
      whileServing(request, () => {
        expect(beingServed()).toBe(request);
        setTimeout(() => later.resolve(beingServed() === request), 50);
        answer(response, request);
      });
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    const { port } = server.address() as AddressInfo;
    const sent = get({ port, host: "127.0.0.1", agent: false, headers: { "x-rollcall-deadline-ms": "60000" } });
    sent.on("error", () => undefined).on("response", (response) => response.resume());
    const served = await later.promise;
    sent.destroy();
    server.close();
    server.closeAllConnections();
    return served;
  }

  it("ends for what begins when the answer has gone out, and only then", async () => {
    expect(await servedAfter((response) => response.end("ok"))).toBe(false);
    expect(await servedAfter(() => undefined)).toBe(true);
    expect(await servedAfter((response) => response.write("begun"))).toBe(true);
    expect(await servedAfter((response) => response.destroy())).toBe(true);
    expect(await servedAfter((_, request) => request.socket.destroy())).toBe(true);
  });
});
