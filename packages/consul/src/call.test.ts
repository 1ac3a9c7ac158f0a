import { getEventListeners } from "node:events";
import { Agenda, systemEnv } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { type FakeConsul, answer, fakeConsul } from "../test/fake-consul.ts";
import { ConsulError, call, parseAnswer } from "./call.ts";
import type { ConsulApi } from "./client.ts";

const never = new AbortController().signal;
const health = { path: "/health/service/{service}", params: { service: "lorem" }, timeoutMs: 5_000 };
const failure = (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => expect.unreachable("it should have failed"),
    (error: unknown) => error as Error,
  );
/** Resolves when the fake has no connection any more. */
const unconnected = async (fake: FakeConsul): Promise<void> => {
  for (const startMs = performance.now(); fake.connections > 0;) {
    if (performance.now() - startMs > 2_000) expect.unreachable("a connection was left");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

describe("call", () => {
  it("gives headers and body, and keeps the connection for the next one", async () => {
    await using fake = await fakeConsul((_, response) => answer(response, 5, [{ a: "ü" }]));
    const access = fake.access();
    const got = await call(access, "GET", health, never);
    expect([got.headers["x-consul-index"], parseAnswer(got.body.text)]).toEqual(["5", [{ a: "ü" }]]);
    await call(access, "GET", health, never);
    expect([fake.requests.length, fake.connections]).toEqual([2, 1]);
  });

  it("encodes names, and sends token and namespace with every request", async () => {
    await using fake = await fakeConsul((_, response) => answer(response, 1, true));
    const access = fake.access({ token: "secret", namespace: "team a" });
    await call(
      access,
      "GET",
      { ...health, params: { service: "a b/ü?#%{id}" }, query: { tag: "x&y", dc: undefined } },
      never,
    );
    await call(access, "PUT", { path: "/agent/x", body: { A: 1 }, timeoutMs: 5_000 }, never);
    const [get, put] = fake.requests;
    expect(get?.path).toBe("/v1/health/service/a%20b%2F%C3%BC%3F%23%25%7Bid%7D");
    expect(Object.fromEntries(get?.query ?? [])).toEqual({ tag: "x&y", ns: "team a" });
    expect([put?.method, put?.body, put?.headers["content-type"]]).toEqual([
      "PUT",
      '{"A":1}',
      expect.stringContaining("json"),
    ]);
    expect([get, put].map((request) => request?.headers["x-consul-token"])).toEqual(["secret", "secret"]);
  });

  it("uses the token that a given client has by default", async () => {
    await using fake = await fakeConsul((_, response) => answer(response, 1, []));
    const access = fake.access();
    const api = Object.assign(access.api, { _defaults: { token: "default" } });
    await call({ ...access, api }, "GET", health, never);
    await call({ ...access, api, token: "own" }, "GET", health, never);
    expect(fake.requests.map((request) => request.headers["x-consul-token"])).toEqual(["default", "own"]);
  });

  it("ends a parked request at once when the signal aborts, with its reason, and closes the socket", async () => {
    await using fake = await fakeConsul(() => undefined);
    const controller = new AbortController();
    const failed = failure(call(fake.access(), "GET", { ...health, timeoutMs: 60_000 }, controller.signal));
    const request = await fake.request(1);
    const reason = new Error("enough");
    const startMs = performance.now();
    controller.abort(reason);
    expect(await failed).toBe(reason);
    await request.closed;
    await unconnected(fake);
    expect(performance.now() - startMs).toBeLessThan(1_000);
  });

  it("sends nothing when the signal has aborted already", async () => {
    await using fake = await fakeConsul((_, response) => answer(response, 1, []));
    const reason = new Error("too late");
    expect(await failure(call(fake.access(), "GET", health, AbortSignal.abort(reason)))).toBe(reason);
    expect([fake.requests.length, fake.connections]).toEqual([0, 0]);
  });

  it("leaves no listener on the signal, however it ends", async () => {
    await using fake = await fakeConsul((_, response) => answer(response, 1, []));
    const { signal } = new AbortController();
    const access = fake.access();
    for (let n = 0; n < 3; n++) await call(access, "GET", health, signal);
    fake.reply = (_, response) => response.writeHead(500).end();
    await failure(call(access, "GET", health, signal));
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  it("gives up after its time when nothing is answered", async () => {
    await using fake = await fakeConsul(() => undefined);
    const error = await failure(call(fake.access(), "GET", { ...health, timeoutMs: 50 }, never));
    expect(error).toMatchObject({ code: "TIMEOUT", timeoutMs: 50 });
    expect(error.message).toContain("GET /health/service/lorem");
    await unconnected(fake);
  });

  it("gives up after its time when the body stops coming", async () => {
    await using fake = await fakeConsul((_, response) => response.writeHead(200).write("[{"));
    expect(await failure(call(fake.access(), "GET", { ...health, timeoutMs: 50 }, never))).toMatchObject({
      code: "TIMEOUT",
    });
    await unconnected(fake);
  });

  it.each([
    ["declared longer", { "content-length": "100" }],
    ["chunked", {}],
  ])("notices at once that a body was cut off in the middle (%s)", async (_, headers) => {
    await using fake = await fakeConsul((_request, response) => {
      response.writeHead(200, headers).write('[{"Node":');
      setTimeout(() => response.destroy(), 20);
    });
    const startMs = performance.now();
    const error = await failure(call(fake.access(), "GET", health, never));
    expect(error.message).toBe("consul: GET /health/service/lorem: the answer was cut off");
    expect(performance.now() - startMs).toBeLessThan(1_000);
  });

  it("stops reading an answer that is too long, and closes the socket", async () => {
    let sent = 0;
    await using fake = await fakeConsul((_, response) => {
      const pump = (): void => {
        while (sent < 10_000_000 && !response.destroyed) {
          sent += 65_536;
          if (!response.write("x".repeat(65_536))) return void response.once("drain", pump);
        }
        response.end();
      };
      pump();
    });
    const error = await failure(call(fake.access({ maxAnswerBytes: 100_000 }), "GET", health, never));
    expect(error).toBeInstanceOf(ConsulError);
    expect(error.message).toContain("longer than 100000 bytes");
    expect(sent).toBeLessThan(10_000_000);
    await unconnected(fake);
  });

  it("reads 10 MB that are within its limit", async () => {
    const junk = "x".repeat(10_000_000);
    await using fake = await fakeConsul((_, response) => response.end(junk));
    const got = await call(fake.access(), "GET", health, never);
    expect(got.body.text.length).toBe(10_000_000);
    expect(() => parseAnswer(got.body.text)).toThrow(/not JSON: x{200}…$/);
  });

  it.each([
    [400, "Invalid index"],
    [403, "Permission denied"],
    [429, "slow down"],
    [500, "No cluster leader"],
    [503, ""],
    [301, '<a href="/x">Moved</a>'],
  ])("fails with status and text of an answer %i", async (status, text) => {
    await using fake = await fakeConsul((_, response) => response.writeHead(status).end(text));
    const error = await failure(call(fake.access(), "GET", health, never));
    expect(error).toMatchObject({ name: "ConsulError", statusCode: status });
    expect(error.message).toBe(`consul: GET /health/service/lorem: answered ${status}${text && `: ${text}`}`);
  });

  it("shows only the beginning of a long error page", async () => {
    await using fake = await fakeConsul((_, response) => response.writeHead(502).end(`<html>\n  ${"x".repeat(5_000)}`));
    const { message } = await failure(call(fake.access(), "GET", health, never));
    expect(message).toContain("answered 502: <html> xxx");
    expect(message.length).toBeLessThan(300);
  });

  it("says what is wrong when there is nobody to connect to", async () => {
    const fake = await fakeConsul(() => undefined);
    const access = fake.access();
    await fake[Symbol.asyncDispose]();
    const error = await failure(call(access, "GET", health, never));
    expect(error.message).toMatch(/^consul: GET \/health\/service\/lorem: connect ECONNREFUSED/);
    expect(error.cause).toMatchObject({ code: "ECONNREFUSED" });
  });

  it("has a message even where the error below has none", async () => {
    const api = {
      _get: () => Promise.reject(Object.assign(new AggregateError([]), { message: "consul: ", code: "ECONNREFUSED" })),
      _put: () => Promise.reject(new Error("unused")),
    } satisfies ConsulApi;
    const error = await failure(
      call({ api, maxAnswerBytes: 1, agenda: new Agenda(systemEnv), env: systemEnv }, "GET", health, never),
    );
    expect(error.message).toBe("consul: GET /health/service/lorem: ECONNREFUSED");
  });

  it("names Consul's limit of connections when one is closed without any answer", async () => {
    await using fake = await fakeConsul((_, response) => response.destroy());
    const { message } = await failure(call(fake.access(), "GET", health, never));
    expect(message).toContain("http_max_conns_per_client");
    fake.reply = (_, response) => setTimeout(() => response.destroy(), 1_050);
    const late = await failure(call(fake.access(), "GET", health, never)); // parked first: the server went away
    expect(late.message).not.toContain("http_max_conns_per_client");
  });

  it("can be aborted while it still connects", async () => {
    const controller = new AbortController();
    await using fake = await fakeConsul(() => undefined);
    const failed = failure(call(fake.access(), "GET", health, controller.signal));
    controller.abort(new Error("now"));
    expect((await failed).message).toBe("now");
    await unconnected(fake);
  });
});

describe("parseAnswer", () => {
  it.each([
    "",
    "<html><title>Sign in</title></html>",
    '[{"Node":',
    '[{"Service":{"Weights":{"Passing":NaN}}}]',
    "[1] x",
  ])("refuses %j", (text) => {
    expect(() => parseAnswer(text)).toThrow(ConsulError);
  });
});
