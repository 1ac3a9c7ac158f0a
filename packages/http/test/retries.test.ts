import type { Socket } from "node:net";
import { Readable } from "node:stream";
import { type Endpoint, type NonEmpty, type Policy, isDiscoveryError, roundRobin } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { isStatusError } from "../src/index.ts";
import { clientOf, deadInstance, httpServer, inFlight, rawServer, text } from "./servers.ts";

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/** Reads the whole request, then goes away without a word. */
const resetting = () =>
  rawServer((socket, received) => void (received.endsWith("\r\n\r\nbody") && socket.resetAndDestroy()));
const refusing = (status: number, headers: Record<string, string> = {}) =>
  httpServer(async (request, response) => {
    await text(request);
    response.writeHead(status, headers).end(`status ${status}`);
  });
const echoing = () => httpServer(async (request, response) => void response.end(await text(request)));

describe("a request that has not left", () => {
  it.each(["GET", "POST", "PATCH", "DELETE"])("is sent elsewhere, a %s too", async (method) => {
    await using alive = await httpServer((_, response) => void response.end("ok"));
    const dead = await deadInstance();
    await using client = clientOf([dead, alive], { policy: firstTo(dead.port) });
    const answer = await client.request("/", { method });
    expect(await answer.body.text()).toBe("ok");
    expect(answer.instance.port).toBe(alive.port);
    expect(client.endpoints.find(({ instance }) => instance.port === dead.port)?.stats.failures).toBe(1);
  });

  it("rejects with RetryError when nobody can be reached, every cause kept", async () => {
    await using client = clientOf([await deadInstance(), await deadInstance()]);
    const error: unknown = await client.request("/", { method: "POST", body: "x" }).catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      code: "RETRY",
      reason: "attempts",
      errors: [{ code: "ECONNREFUSED" }, { code: "ECONNREFUSED" }, { code: "ECONNREFUSED" }],
    });
    expect(inFlight(client)).toEqual([0, 0]);
  });

  it("costs no retry budget: a dead server beside a live one fails no call, however many are made at once", async () => {
    await using alive = await httpServer((_, response) => void response.end("ok"));
    await using client = clientOf([await deadInstance(), alive], { retry: { budget: undefined } });
    const answers = await Promise.all(Array.from({ length: 200 }, () => client.request("/", { method: "POST" })));
    for (const { body } of answers) expect(await body.text()).toBe("ok");
    expect(alive.seen.length).toBe(200);
  });

  it("may be a host that does not exist", async () => {
    await using alive = await httpServer((_, response) => void response.end("ok"));
    await using client = clientOf([{ service: "lorem", host: "no-such-host.invalid", port: 80 }, alive]);
    for (let n = 0; n < 2; n++) expect((await client.request("/", { method: "POST" })).statusCode).toBe(200);
  });

  it("keeps its stream untouched for the instance that can be reached", async () => {
    await using alive = await echoing();
    await using client = clientOf([await deadInstance(), alive], { maxReplayBytes: 0 });
    for (let n = 0; n < 2; n++) {
      const answer = await client.request("/", { method: "POST", body: Readable.from(["a", "b"]) });
      expect(await answer.body.text()).toBe("ab");
    }
  });

  it("gives its stream up when nobody can be reached", async () => {
    await using client = clientOf([await deadInstance()]);
    const body = Readable.from(["a"]);
    await expect(client.request("/", { method: "POST", body })).rejects.toMatchObject({ code: "RETRY" });
    expect(body.destroyed).toBe(true);
  });
});

describe("a request that has left", () => {
  it("is not sent twice if it is a POST: the server dies with it, and the call fails", async () => {
    await using broken = await resetting();
    await using other = await echoing();
    // In turns: by default nobody would ask the broken one again so soon.
    await using client = clientOf([broken, other], { policy: roundRobin() });
    const results: string[] = [];
    for (let n = 0; n < 4; n++)
      results.push(String(await outcome(client.request("/", { method: "POST", body: "body" }))));
    expect(results.toSorted()).toEqual(["200", "200", "not-retryable", "not-retryable"]);
    expect(broken.seen.filter((received) => received !== "").length).toBe(2);
    expect(other.seen.length).toBe(2);
  });

  it.each([
    ["an idempotent POST", { method: "POST", idempotent: true }],
    ["a PUT", { method: "PUT" }],
    ["a DELETE", { method: "DELETE" }],
  ])("is sent elsewhere if it is %s", async (_, options) => {
    await using broken = await resetting();
    await using other = await echoing();
    await using client = clientOf([broken, other]);
    for (let n = 0; n < 4; n++) {
      expect(await outcome(client.request("/", { ...options, body: "body" }))).toBe(200);
    }
    expect(broken.seen.length).toBeGreaterThan(0);
    expect(other.seen.length).toBe(4);
  });

  it("is not sent twice if it is a GET that the caller declares not repeatable", async () => {
    await using broken = await rawServer((socket) => void socket.resetAndDestroy());
    await using client = clientOf([broken]);
    await expect(client.request("/", { idempotent: false })).rejects.toMatchObject({ reason: "not-retryable" });
    expect(broken.seen.length).toBe(1);
  });

  it("survives a server killed in the middle, declared idempotent", async () => {
    await using slow = await httpServer(() => void slow.kill());
    await using other = await echoing();
    await using client = clientOf([slow, other]);
    const calls = Array.from({ length: 10 }, () =>
      outcome(client.request("/", { method: "POST", body: "body", idempotent: true })),
    );
    expect(await Promise.all(calls)).toEqual(Array.from({ length: 10 }, () => 200));
    expect(slow.seen.length).toBeGreaterThan(0);
  });

  it("is not sent twice when the answer breaks off before its head is complete", async () => {
    await using broken = await rawServer((socket) => void socket.end("HTTP/1.1 200 OK\r\ncontent-le"));
    await using other = await echoing();
    await using client = clientOf([broken, other]);
    const results: string[] = [];
    for (let n = 0; n < 2; n++)
      results.push(String(await outcome(client.request("/", { method: "POST", body: "body" }))));
    expect(results.toSorted()).toEqual(["200", "not-retryable"]);
    expect(broken.seen.length).toBe(1);
  });

  it("is sent again with its stream from memory if the stream was short", async () => {
    await using broken = await resetting();
    await using other = await echoing();
    await using client = clientOf([broken, other], { policy: firstTo(broken.port) });
    const body = Readable.from(["bo", "dy"]);
    const answer = await client.request("/", { method: "PUT", headers: { "content-length": "4" }, body });
    expect(await answer.body.text()).toBe("body");
    expect(broken.seen).toEqual([expect.stringMatching(/\r\n\r\nbody$/)]);
    expect(other.seen.length).toBe(1);
  });

  it("is not sent again if its stream was longer than may be kept", async () => {
    await using broken = await resetting();
    await using client = clientOf([broken], { maxReplayBytes: 3 });
    const options = { method: "PUT", headers: { "content-length": "4" }, body: Readable.from(["bo", "dy"]) };
    await expect(client.request("/", options)).rejects.toMatchObject({ reason: "not-retryable" });
    expect(broken.seen.length).toBe(1);
  });

  it("fails with the stream's own error if that breaks, which is held against nobody", async () => {
    await using server = await echoing();
    await using client = clientOf([server]);
    const broken = new Error("the file is gone");
    const body = Readable.from((async function* () { yield "a"; await Promise.resolve(); throw broken; })()); // prettier-ignore
    await expect(client.request("/", { method: "PUT", body })).rejects.toBe(broken);
    expect(client.endpoints[0]?.stats).toMatchObject({ inFlight: 0, successes: 0, failures: 0 });
  });
});

describe("the retry budget", () => {
  it("is charged for what has left: a service that breaks every request is not asked three times as often", async () => {
    await using broken = await rawServer((socket) => void socket.resetAndDestroy());
    await using client = clientOf([broken], { retry: { budget: undefined } });
    const reasons = await Promise.all(Array.from({ length: 50 }, () => outcome(client.request("/"))));
    expect(reasons).toContain("budget");
    // 50 calls, and at most 20 % more and a few per second of what this takes.
    expect(broken.seen.length).toBeLessThan(100);
  });

  it.each(["the client", "the request", "the fetch"])("is charged for what %s says was sent", async (who) => {
    const withdrawals: string[] = [];
    const budget = { deposit: () => undefined, withdraw: () => withdrawals.push(who) > 0 };
    const unsent = (): boolean => false;
    const retry = { budget, ...(who === "the client" ? { unsent } : {}) };
    await using client = clientOf([await deadInstance(), await deadInstance()], { retry });
    const options = who === "the client" ? {} : { unsent };
    const call = who === "the fetch" ? client.fetch("/", options) : client.request("/", options);
    await expect(call).rejects.toMatchObject({ reason: "attempts" });
    expect(withdrawals).toHaveLength(2);
  });
});

describe("an idle connection that dies", () => {
  /** Answers the first request of each connection, and does `then` with the connection after a while. */
  const closing = (then: (socket: Socket) => void, afterMs: number) =>
    rawServer((socket, received) => {
      if (received.split("POST").length - 1 !== 1) return;
      socket.write(OK);
      setTimeout(() => then(socket), afterMs);
    });

  it.each([
    ["closed", (socket: Socket) => void socket.end()],
    ["reset", (socket: Socket) => void socket.resetAndDestroy()],
  ])("loses no POST when the server has %s it", async (_, then) => {
    await using server = await closing(then, 10);
    await using client = clientOf([server]);
    for (let n = 0; n < 10; n++) {
      expect(await outcome(client.request("/", { method: "POST" }))).toBe(200);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    expect(server.seen.map((received) => received.split("POST").length - 1)).toEqual(
      Array.from({ length: 10 }, () => 1),
    );
  });

  it("never makes a POST arrive twice, even when it dies in the very moment of the request", async () => {
    const bodies = new Map<string, number>();
    await using server = await rawServer((socket, received, connection) => {
      for (const [, body] of received.matchAll(/\r\n\r\n<(\d+)>$/g)) {
        bodies.set(body ?? "", (bodies.get(body ?? "") ?? 0) + 1);
        socket.write(OK);
        // At the time when the next request is being written.
        if (connection % 2 === 0) setImmediate(() => void socket.end());
        else setTimeout(() => void socket.resetAndDestroy(), connection % 5);
      }
    });
    await using client = clientOf([server]);
    let lost = 0;
    for (let n = 0; n < 300; n++) {
      if ((await outcome(client.request("/", { method: "POST", body: `<${n}>` }))) !== 200) lost++;
      if (n % 3 === 0) await new Promise((resolve) => setTimeout(resolve, n % 6));
    }
    expect([...bodies.values()].filter((times) => times > 1)).toEqual([]);
    expect(bodies.size + lost).toBeGreaterThanOrEqual(300);
  });

  it("is not used again after the server has said that it closes it", async () => {
    await using server = await httpServer((_, response) => void response.setHeader("connection", "close").end("ok"));
    await using client = clientOf([server]);
    for (let n = 0; n < 5; n++) expect(await outcome(client.request("/", { method: "POST" }))).toBe(200);
    expect(server.connections()).toBe(5);
  });
});

describe("a failing status", () => {
  it.each([429, 502, 503, 504])(
    "%i of a GET is asked elsewhere, and counts as that endpoint's failure",
    async (status) => {
      await using bad = await refusing(status);
      await using good = await echoing();
      // In turns: by default nobody would ask the bad one again so soon.
      await using client = clientOf([bad, good], { policy: roundRobin() });
      for (let n = 0; n < 10; n++) expect(await outcome(client.request("/"))).toBe(200);
      const stats = client.endpoints.find(({ instance }) => instance.port === bad.port)?.stats;
      expect(stats).toMatchObject({ inFlight: 0, successes: 0, failures: bad.seen.length });
      expect(bad.seen.length).toBeGreaterThanOrEqual(4);
    },
  );

  it.each([200, 301, 400, 404, 500, 501])("is not %i: it is passed on at once", async (status) => {
    await using server = await refusing(status);
    await using client = clientOf([server]);
    expect(await outcome(client.request("/"))).toBe(status);
    expect(server.seen.length).toBe(1);
    expect(client.endpoints[0]?.stats).toMatchObject({ successes: 1, failures: 0 });
  });

  it("of a POST is passed on: it is not sent again", async () => {
    await using bad = await refusing(503);
    await using client = clientOf([bad]);
    const answer = await client.request("/", { method: "POST", body: "body" });
    expect([answer.statusCode, await answer.body.text()]).toEqual([503, "status 503"]);
    expect(bad.seen.length).toBe(1);
    expect(client.endpoints[0]?.stats).toMatchObject({ inFlight: 0, failures: 1 });
  });

  it("is returned as the response it is when the attempts are used up", async () => {
    await using a = await refusing(502);
    await using b = await refusing(502);
    await using client = clientOf([a, b]);
    const answer = await client.request("/");
    expect([answer.statusCode, await answer.body.text()]).toEqual([502, "status 502"]);
    expect(a.seen.length + b.seen.length).toBe(3);
    const response = await client.fetch("/");
    expect([response.status, await response.text()]).toEqual([502, "status 502"]);
    expect(inFlight(client)).toEqual([0, 0]);
  });

  it("is returned too without retries", async () => {
    await using server = await refusing(503);
    await using client = clientOf([server], { retry: false });
    expect(await outcome(client.request("/"))).toBe(503);
    expect(server.seen.length).toBe(1);
  });

  it("leaves no connection behind: the discarded answers are read to their end", async () => {
    // More than undici takes in by itself, less than what is not worth reading.
    const long = "x".repeat(100_000);
    await using bad = await httpServer((_, response) => void response.writeHead(503).end(long));
    await using client = clientOf([bad], { connections: 1, retry: { maxAttempts: 5 } });
    for (let n = 0; n < 5; n++) await (await client.request("/")).body.dump();
    expect(bad.seen.length).toBe(25);
    expect(bad.connections()).toBe(1);
  });

  it("is what the caller says: failureStatuses", async () => {
    await using server = await refusing(418);
    await using client = clientOf([server], { failureStatuses: [418] });
    expect(await outcome(client.request("/"))).toBe(418);
    expect(server.seen.length).toBe(3);
  });

  it("shows itself to predicates and in RetryError as a StatusError", async () => {
    let calls = 0;
    await using server = await httpServer((request, response) => {
      if (++calls > 1) request.socket.destroy();
      else response.writeHead(503).end();
    });
    const seen: unknown[] = [];
    await using client = clientOf([server], { retry: { maxAttempts: 2, retryable: (error) => seen.push(error) > 0 } });
    const error: unknown = await client
      .request("/secret?token=1", { method: "POST" })
      .catch((caught: unknown) => caught);
    expect(isDiscoveryError(error, "RETRY")).toBe(true);
    const errors = (error as AggregateError).errors as unknown[];
    expect(isStatusError(errors[0])).toBe(true);
    expect(String(errors[0])).toBe("StatusError: POST /secret was answered with status 503");
    expect(errors[1]).toMatchObject({ code: "UND_ERR_SOCKET" });
    expect(seen).toEqual(errors);
  });
});

describe("Retry-After", () => {
  const timed = async (work: Promise<unknown>): Promise<number> => {
    const start = performance.now();
    await work;
    return performance.now() - start;
  };

  it("is waited for when nobody else is left to ask", async () => {
    let calls = 0;
    await using server = await httpServer((_, response) => {
      if (++calls === 1) response.writeHead(503, { "retry-after": "1" }).end();
      else response.end("ok");
    });
    await using client = clientOf([server]);
    const ms = await timed(
      client.request("/").then(({ body, statusCode }) => (expect(statusCode).toBe(200), body.dump())),
    );
    expect(ms).toBeGreaterThanOrEqual(990);
    expect(ms).toBeLessThan(4_000);
  });

  it("may be a date, compared with the answer's own", async () => {
    let calls = 0;
    await using server = await httpServer((_, response) => {
      const [date, later] = ["Fri, 31 Dec 1999 23:59:58 GMT", "Fri, 31 Dec 1999 23:59:59 GMT"];
      if (++calls === 1) response.writeHead(503, { date, "retry-after": later }).end();
      else response.end("ok");
    });
    await using client = clientOf([server]);
    expect(await timed(client.request("/"))).toBeGreaterThanOrEqual(990);
    expect(calls).toBe(2);
  });

  it("holds nobody back from another instance", async () => {
    await using bad = await refusing(503, { "retry-after": "60" });
    await using good = await echoing();
    await using client = clientOf([bad, good]);
    expect(await timed(Promise.all([1, 2, 3, 4].map(() => outcome(client.request("/")))))).toBeLessThan(2_500);
    expect(bad.seen.length).toBeGreaterThan(0);
    expect(good.seen.length).toBe(4);
  });

  it("ends the call at once, with the response, when it is longer than the time that is left", async () => {
    await using bad = await refusing(503, { "retry-after": "6" });
    await using client = clientOf([bad]);
    expect(await timed(outcome(client.request("/")).then((result) => expect(result).toBe(503)))).toBeLessThan(2_500);
    expect(bad.seen.length).toBe(1);
  });

  it("ends the call at once when it is longer than anybody should wait, even without a deadline", async () => {
    await using bad = await refusing(503, { "retry-after": "31" });
    await using client = clientOf([bad], { retry: { timeoutMs: Infinity } });
    expect(await timed(outcome(client.request("/")).then((result) => expect(result).toBe(503)))).toBeLessThan(2_500);
  });
});

describe("time-outs", () => {
  const hanging = () => rawServer(() => undefined);

  it("give up an attempt at a server that says nothing, and ask another", async () => {
    await using hung = await hanging();
    await using good = await echoing();
    await using client = clientOf([hung, good], { policy: firstTo(hung.port), retry: { attemptTimeoutMs: 1_000 } });
    expect(await outcome(client.request("/"))).toBe(200);
    expect(hung.seen.length).toBe(1);
    expect(inFlight(client)).toEqual([0, 0]);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(hung.open()).toBe(0);
  });

  it("do not repeat a POST", async () => {
    await using hung = await hanging();
    await using client = clientOf([hung], { retry: { attemptTimeoutMs: 50 } });
    await expect(client.request("/", { method: "POST" })).rejects.toMatchObject({ reason: "not-retryable" });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(hung.seen.length).toBe(1);
  });

  it("bound the whole call: timeoutMs of the call itself", async () => {
    await using hung = await hanging();
    await using client = clientOf([hung]);
    await expect(client.request("/", { timeoutMs: 50 })).rejects.toMatchObject({ reason: "deadline" });
    expect(inFlight(client)).toEqual([0]);
  });

  it("hold for a head that does not come: headersTimeoutMs", async () => {
    await using hung = await hanging();
    await using client = clientOf([hung], { headersTimeoutMs: 100, retry: { maxAttempts: 1 } });
    const error: unknown = await client.request("/").catch((caught: unknown) => caught);
    expect(error).toMatchObject({ errors: [{ code: "UND_ERR_HEADERS_TIMEOUT" }] });
  });

  it("never send a request late that was given up while it queued", async () => {
    await using server = await httpServer((_, response) => void setTimeout(() => response.end("ok"), 150));
    await using client = clientOf([server], { connections: 1 });
    const first = outcome(client.request("/first"));
    await expect(client.request("/second", { method: "POST", timeoutMs: 50 })).rejects.toMatchObject({ code: "RETRY" });
    expect(await first).toBe(200);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(server.seen).toEqual(["GET /first"]);
  });
});

/** The status, or why there is none. */
async function outcome(
  call: Promise<{ statusCode: number; body: { dump(): Promise<void> } }>,
): Promise<number | string> {
  try {
    const { statusCode, body } = await call;
    await body.dump();
    return statusCode;
  } catch (error) {
    return isDiscoveryError(error, "RETRY") ? ((error as { reason?: string }).reason ?? "") : String(error);
  }
}

/** A policy that takes the endpoint with this port whenever it may. */
function firstTo(port: number | undefined): Policy {
  const prefer = <E extends Endpoint>(endpoints: NonEmpty<E>): E =>
    endpoints.find(({ instance }) => instance.port === port) ?? endpoints[0];
  return { name: "first", create: () => ({ picker: (endpoints) => () => prefer(endpoints) }) };
}
