import type { IncomingHttpHeaders } from "node:http";
import { TimeoutError, roundRobin } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import type { DispatchRequest, HttpClient, RelayController } from "../src/index.ts";
import { clientOf, deadInstance, httpServer, inFlight, until } from "./servers.ts";

interface Told {
  readonly events: string[];
  readonly error: unknown;
  readonly text: string;
  readonly controller: RelayController;
}

/** Dispatches it, and resolves with all that the handler was told when it was told the end. */
function dispatched(
  client: HttpClient,
  request: DispatchRequest,
  onStart: (controller: RelayController) => void = () => undefined,
  onData: (controller: RelayController) => void = () => undefined,
): Promise<Told> {
  return new Promise((resolve) => {
    const events: string[] = [];
    let text = "";
    const end = (controller: unknown, event: string, error?: unknown): void => {
      events.push(event);
      // Whatever came after the end would be told, too.
      setTimeout(() => resolve({ events, error, text, controller: controller as RelayController }), 20);
    };
    client.dispatch(request, {
      onRequestStart: (controller) => {
        events.push("start");
        onStart(controller as RelayController);
      },
      onResponseStart: (_: unknown, status: number, headers: IncomingHttpHeaders) =>
        void events.push(`${status} ${String(headers["x-from"])}`),
      onResponseData: (controller, chunk) => {
        text += String(chunk);
        onData(controller as RelayController);
      },
      onResponseEnd: (controller) => end(controller, "end"),
      onResponseError: (controller, error) => end(controller, "error", error),
    });
  });
}

const from = (name: string, status = 200) =>
  httpServer((_, response) => void response.writeHead(status, { "x-from": name }).end(name));

describe("HttpClient.dispatch", () => {
  it("is balanced, asks elsewhere where that is safe, and tells of one answer only", async () => {
    await using bad = await from("bad", 503);
    await using good = await from("good");
    await using client = clientOf([bad, await deadInstance(), good], { policy: roundRobin() });
    for (let n = 0; n < 6; n++) {
      const { events, text } = await dispatched(client, { path: "/", method: "GET" });
      expect([events, text]).toEqual([["start", "200 good", "end"], "good"]);
    }
    expect(bad.seen.length).toBeGreaterThan(0);
    const posts = await Promise.all([1, 2, 3].map(() => dispatched(client, { path: "/", method: "POST" })));
    expect(new Set(posts.map(({ text }) => text))).toEqual(new Set(["bad", "good"]));
    expect(inFlight(client)).toEqual([0, 0, 0]);
  });

  it("takes what a single request says of how it is balanced, and bodies of all kinds", async () => {
    await using echo = await httpServer((request, response) => void request.pipe(response));
    await using client = clientOf([echo]);
    const bodies = ["text", Buffer.from("bytes"), new URLSearchParams({ a: "1" }), (async function* () { yield "streamed"; })()]; // prettier-ignore
    for (const [n, word] of ["text", "bytes", "a=1", "streamed"].entries()) {
      const { text } = await dispatched(client, { path: "/", method: "POST", body: bodies[n] });
      expect(text).toBe(word);
    }
    await using hung = await httpServer(() => undefined);
    await using slow = clientOf([hung]);
    const { error, events } = await dispatched(slow, { path: "/", method: "GET", timeoutMs: 60 });
    expect([events, error]).toMatchObject([["start", "error"], { code: "RETRY", reason: "deadline" }]);
  });

  it.each(["http://evil/", "//evil", "/\\evil", "word", "", "/a#b", undefined])("refuses the path %j", async (path) => {
    await using server = await from("good");
    await using client = clientOf([server]);
    const { events, error } = await dispatched(client, { path: path as string, method: "GET" });
    expect([events, error]).toMatchObject([["start", "error"], { code: "INVALID_OPTION", path: "path" }]);
    expect(server.seen).toEqual([]);
  });

  it("throws where there is nobody to tell", async () => {
    await using client = clientOf([]);
    const request: DispatchRequest = { path: "/", method: "GET" };
    expect(() => client.dispatch(request, undefined as never)).toThrow(/handler: expected an object/);
  });

  it("is cut off by abort: nobody's failure, and no attempt follows", async () => {
    await using hung = await httpServer(() => undefined);
    await using client = clientOf([hung]);
    const reason = new Error("the caller left");
    const { events, error, controller } = await dispatched(client, { path: "/", method: "GET" }, (held) => {
      void until(() => hung.seen.length === 1).then(() => held.abort(reason));
    });
    expect([events, error, controller.aborted]).toEqual([["start", "error"], reason, true]);
    await until(() => hung.open() === 0);
    expect(client.endpoints[0]?.stats).toMatchObject({ inFlight: 0, failures: 0, successes: 0 });
    expect(hung.seen.length).toBe(1);
  });

  it("is cut off by expire: a failure of the instance, and no attempt follows", async () => {
    await using hung = await httpServer(() => undefined);
    await using client = clientOf([hung]);
    const late = new TimeoutError("the upload", 60);
    const { events, error } = await dispatched(client, { path: "/", method: "PUT", body: "x" }, (held) => {
      void until(() => hung.seen.length === 1).then(() => held.expire(late));
    });
    expect([events, error]).toMatchObject([["start", "error"], { reason: "not-retryable", errors: [late] }]);
    await until(() => hung.open() === 0);
    expect(client.endpoints[0]?.stats).toMatchObject({ inFlight: 0, failures: 1 });
    expect(hung.seen.length).toBe(1);
  });

  it("expires no more once an answer has begun", async () => {
    await using slow = await httpServer((_, response) => {
      response.write("a");
      setTimeout(() => response.end("b"), 60);
    });
    await using client = clientOf([slow]);
    const expire = (held: RelayController): void => held.expire(new TimeoutError("the upload", 30));
    const { text, events } = await dispatched(client, { path: "/", method: "GET" }, undefined, expire);
    expect([text, events]).toEqual(["ab", ["start", "200 undefined", "end"]]);
  });
});
