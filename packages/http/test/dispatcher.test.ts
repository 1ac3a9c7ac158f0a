import { Readable, Writable } from "node:stream";
import { pipeline as streamPipeline } from "node:stream/promises";
import { type Endpoint, type Outcome, type Policy, roundRobin } from "@rollcall/core";
import {
  Agent,
  type Dispatcher,
  fetch,
  getGlobalDispatcher,
  interceptors,
  pipeline,
  request,
  setGlobalDispatcher,
  stream,
  upgrade,
} from "undici";
import { describe, expect, it, onTestFinished } from "vitest";
import { type DiscoveryDispatcherOptions, discoveryDispatcher } from "../src/index.ts";
import { deadInstance, httpServer, rawServer, registryOf, until } from "./servers.ts";

/** Round robin that keeps every outcome, and the endpoints it has seen. */
function watching(): { policy: Policy; outcomes: string[]; inFlight: () => number[] } {
  const outcomes: string[] = [];
  let seen: readonly Endpoint[] = [];
  const policy: Policy = {
    name: "watching",
    create: (env) => {
      const inner = roundRobin().create(env);
      return {
        picker: (endpoints) => {
          seen = endpoints;
          return inner.picker(endpoints);
        },
        observe: (_: Endpoint, outcome: Outcome) => void outcomes.push(outcome.kind),
      };
    },
  };
  return { policy, outcomes, inFlight: () => seen.map(({ stats }) => stats.inFlight) };
}

/** A dispatcher to these servers, whose every pick is accounted for. */
async function dispatcherTo(
  servers: Parameters<typeof registryOf>[0],
  options: Partial<DiscoveryDispatcherOptions> = {},
) {
  const registry = await registryOf(servers);
  const { policy, outcomes, inFlight } = watching();
  const dispatcher = discoveryDispatcher({
    registry,
    ...options,
    defaults: {
      policy,
      drainMs: 1_000,
      env: { random: () => 0 },
      retry: { timeoutMs: 5_000, budget: false },
      ...options.defaults,
    },
  });
  onTestFinished(() => dispatcher.close());
  return { dispatcher, outcomes, inFlight };
}

const ok = (body = "ok") => httpServer((_, response) => void response.end(body));
const echo = () => httpServer((request, response) => void request.pipe(response));
const failing = (status: number) =>
  httpServer((_, response) => void response.writeHead(status, { "x-status": String(status) }).end(`status ${status}`));
const resetting = () => rawServer((socket) => void socket.resetAndDestroy());

/** Sets it for the time of the test. */
function global(dispatcher: Dispatcher): void {
  const before = getGlobalDispatcher();
  setGlobalDispatcher(dispatcher);
  onTestFinished(() => setGlobalDispatcher(before));
}

describe("the discovery dispatcher", () => {
  it("sends what goes to a service to its instances in turn: request, fetch, stream, pipeline", async () => {
    await using a = await echo();
    await using b = await echo();
    const { dispatcher, outcomes, inFlight } = await dispatcherTo([a, b]);
    const options = { dispatcher, method: "POST" as const, body: "word" };

    const answer = await request("http://lorem/request?x=1", options);
    expect([answer.statusCode, await answer.body.text()]).toEqual([200, "word"]);

    const response = await fetch("http://lorem/fetch", { ...options, headers: { "content-type": "text/x" } });
    expect([response.status, await response.text(), response.url]).toEqual([200, "word", "http://lorem/fetch"]);

    let streamed = "";
    await stream(
      "http://lorem/stream",
      options,
      () => new Writable({ write: (chunk, _, done) => ((streamed += String(chunk)), done()) }),
    );
    expect(streamed).toBe("word");

    const piped: string[] = [];
    await streamPipeline(
      Readable.from(["wo", "rd"]),
      pipeline("http://lorem/pipeline", { dispatcher, method: "PUT" }, ({ body }) => body),
      new Writable({ write: (chunk, _, done) => (piped.push(String(chunk)), done()) }),
    );
    expect(piped.join("")).toBe("word");

    expect([...a.seen, ...b.seen].toSorted()).toEqual([
      "POST /fetch",
      "POST /request?x=1",
      "POST /stream",
      "PUT /pipeline",
    ]);
    expect([a.seen.length, b.seen.length]).toEqual([2, 2]);
    await until(() => outcomes.length === 4);
    expect(outcomes).toEqual(["success", "success", "success", "success"]);
    expect(inFlight()).toEqual([0, 0]);
  });

  it("passes headers, status text, trailers and informational answers on as they are", async () => {
    await using server = await httpServer((request, response) => {
      response.writeEarlyHints({ link: "</style.css>; rel=preload" });
      response.writeHead(201, "Made", { "X-Got": request.headers["x-sent"], Trailer: "X-Sum" });
      response.write("made");
      response.addTrailers({ "X-Sum": "4" });
      response.end();
    });
    const { dispatcher } = await dispatcherTo([server], { defaults: { headers: { "x-sent": "default" } } });
    const hints: number[] = [];
    const answer = await request("http://lorem/", {
      dispatcher,
      onInfo: ({ statusCode }) => void hints.push(statusCode),
    });
    expect([answer.statusCode, answer.statusText, answer.headers["x-got"]]).toEqual([201, "Made", "default"]);
    expect([await answer.body.text(), answer.trailers, hints]).toEqual(["made", { "x-sum": "4" }, [103]]);
    const own = await request("http://lorem/", { dispatcher, headers: { "X-Sent": "own" }, responseHeaders: "raw" });
    expect(JSON.stringify(own.headers)).toContain('"own"');
    await own.body.dump();
  });

  it("is followed by everything once it is the global one, the process's own fetch too", async () => {
    await using server = await ok();
    const { dispatcher } = await dispatcherTo([server]);
    global(dispatcher);
    expect(await (await globalThis.fetch("http://lorem/built-in", { method: "POST", body: "x" })).text()).toBe("ok");
    expect(await (await request("http://lorem/request")).body.text()).toBe("ok");
    expect(await (await request(`http://127.0.0.1:${server.port}/direct`)).body.text()).toBe("ok");
    expect(server.seen).toEqual(["POST /built-in", "GET /request", "GET /direct"]);
  });

  it("can be given to the process's own fetch", async () => {
    await using server = await ok();
    const { dispatcher } = await dispatcherTo([server]);
    // The built-in fetch knows the option; its types are those of another undici.
    const init = { dispatcher } as unknown as RequestInit;
    expect(await (await globalThis.fetch("http://lorem/", init)).text()).toBe("ok");
  });

  it("follows a change of the service", async () => {
    await using a = await ok("a");
    await using b = await ok("b");
    const registry = await registryOf([a]);
    const dispatcher = discoveryDispatcher({ registry });
    onTestFinished(() => dispatcher.close());
    expect(await (await request("http://lorem/", { dispatcher })).body.text()).toBe("a");
    await registry.registrar(b.instance).register();
    const words = new Set<string>();
    for (let n = 0; n < 10; n++) words.add(await (await request("http://lorem/", { dispatcher })).body.text());
    expect([...words].toSorted()).toEqual(["a", "b"]);
  });
});

describe("which hosts are services", () => {
  it.each([
    ["a name with a dot", "http://127.0.0.1"],
    ["localhost", "http://localhost"],
    ["a port", "http://lorem:8080"],
    ["an address", "http://[::1]"],
    ["a port, by https", "https://lorem:1"],
  ])("not one with %s: the fallback gets it as it is", async (_, origin) => {
    const { dispatcher, passed } = await passingOn();
    await expect(request(`${origin}/x`, { dispatcher })).rejects.toThrow("passed on");
    expect(passed).toEqual([`${origin}/x`]);
  });

  it("any other single label, in any case", async () => {
    await using server = await ok();
    const { dispatcher } = await dispatcherTo([server]);
    for (const origin of ["http://lorem", "http://LOREM:80", "http://lorem/"]) {
      expect((await request(origin, { dispatcher })).statusCode).toBe(200);
    }
    expect((await dispatcher.request({ origin: new URL("http://lorem"), path: "/", method: "GET" })).statusCode).toBe(
      200,
    );
  });

  it("only the given names, if names are given, and those with options of their own", async () => {
    const { dispatcher, passed } = await passingOn({
      services: ["Lorem.Internal"],
      clients: { "Other": { service: "lorem" } }, // prettier-ignore
    });
    for (const host of ["lorem.internal", "other"]) {
      expect((await request(`http://${host}/`, { dispatcher })).statusCode).toBe(200);
    }
    await expect(request("http://lorem/", { dispatcher })).rejects.toThrow("passed on");
    expect(passed).toEqual(["http://lorem/"]);
  });

  it("those that a function says", async () => {
    const { dispatcher, passed } = await passingOn({ services: (host) => host === "lorem" });
    expect((await request("http://lorem/", { dispatcher })).statusCode).toBe(200);
    await expect(request("http://ipsum/", { dispatcher })).rejects.toThrow("passed on");
    expect(passed).toEqual(["http://ipsum/"]);
  });

  async function passingOn(options: Partial<DiscoveryDispatcherOptions> = {}) {
    const server = await ok();
    onTestFinished(() => server.kill());
    const passed: string[] = [];
    const fallback = new Agent().compose(() => (options, handler) => {
      passed.push(`${String(options.origin)}${options.path}`);
      handler.onResponseError?.(null as never, new Error("passed on"));
      return true;
    });
    const named = { ...server.instance, service: "Lorem.Internal" };
    const { dispatcher } = await dispatcherTo([server, named], { fallback, ...options });
    return { dispatcher, passed };
  }

  it("names the service in the error when the registry does not know it", async () => {
    const { dispatcher } = await dispatcherTo([], { defaults: { retry: { maxAttempts: 1, timeoutMs: 1_000 } } });
    await expect(request("http://no-such-service/", { dispatcher })).rejects.toMatchObject({
      code: "RETRY",
      cause: { code: "NO_ENDPOINTS", service: "no-such-service" },
    });
  });

  it("passes on what two dispatchers would pass to each other for ever", async () => {
    await using server = await ok();
    const one = await dispatcherTo([], { services: [] });
    global(one.dispatcher);
    const two = await dispatcherTo([], { services: [] });
    global(two.dispatcher.compose(interceptors.dump()));
    const url = `http://127.0.0.1:${server.port}/`;
    expect((await request(url)).statusCode).toBe(200);
    expect((await request(url, { dispatcher: one.dispatcher })).statusCode).toBe(200);
  });

  it("keeps no more clients than maxServices, and closes the one that was not used for longest", async () => {
    await using server = await ok();
    const { host, port } = server.instance;
    const services = ["a", "b", "c"].map((service) => ({ service, host, port }));
    const { dispatcher } = await dispatcherTo(services, { maxServices: 2 });
    const connected = async (service: string) => {
      const before = server.connections();
      await (await request(`http://${service}/`, { dispatcher })).body.dump();
      return server.connections() - before;
    };
    const first = [await connected("a"), await connected("b"), await connected("a"), await connected("c")];
    expect(first).toEqual([1, 1, 0, 1]);
    expect([await connected("a"), await connected("b")]).toEqual([0, 1]);
    await until(() => server.open() === 2);
  });
});

describe("a dispatched request that fails", () => {
  it("before a byte has left goes elsewhere, a POST too, its stream untouched", async () => {
    await using alive = await echo();
    const { dispatcher, outcomes } = await dispatcherTo([await deadInstance(), alive]);
    for (let n = 0; n < 4; n++) {
      const answer = await request("http://lorem/", { dispatcher, method: "POST", body: Readable.from(["a", "b"]) });
      expect(await answer.body.text()).toBe("ab");
    }
    expect(alive.seen.length).toBe(4);
    expect(outcomes.filter((kind) => kind === "failure").length).toBe(outcomes.length - 4);
  });

  it("after bytes have left goes elsewhere only if it is idempotent", async () => {
    await using broken = await resetting();
    await using alive = await ok();
    const { dispatcher } = await dispatcherTo([broken, alive]);
    for (let n = 0; n < 4; n++) expect((await request("http://lorem/", { dispatcher })).statusCode).toBe(200);
    const posts = await Promise.allSettled(
      Array.from({ length: 4 }, () => request("http://lorem/", { dispatcher, method: "POST", body: "x" })),
    );
    expect(posts.filter(({ status }) => status === "rejected").length).toBe(2);
    const declared = { dispatcher, method: "POST" as const, body: "x", idempotent: true };
    for (let n = 0; n < 4; n++) expect((await request("http://lorem/", declared)).statusCode).toBe(200);
  });

  it("is repeated from memory only: a stream that was longer is not", async () => {
    await using broken = await rawServer(
      (socket, received) => void (received.includes("wo") && socket.resetAndDestroy()),
    );
    await using alive = await echo();
    const { dispatcher } = await dispatcherTo([broken, alive], { defaults: { maxReplayBytes: 3 } });
    const put = async (parts: string[]) => {
      const answer = await request("http://lorem/", {
        dispatcher,
        method: "PUT",
        headers: { "content-length": String(parts.join("").length) },
        body: Readable.from(parts),
      });
      return answer.body.text();
    };
    const short = [await put(["w", "o"]), await put(["w", "o"])];
    expect(short).toEqual(["wo", "wo"]);
    const long = await Promise.allSettled([put(["wo", "rd"]), put(["wo", "rd"])]);
    expect(long.filter(({ status }) => status === "rejected").length).toBe(1);
  });

  it("with a failing status is asked elsewhere; the last such answer is passed on whole, with its body", async () => {
    await using bad = await failing(503);
    await using good = await ok();
    const { dispatcher } = await dispatcherTo([bad, good]);
    for (let n = 0; n < 4; n++) expect((await request("http://lorem/", { dispatcher })).statusCode).toBe(200);
    expect(bad.seen.length).toBeGreaterThan(0);
    const { dispatcher: poor, outcomes, inFlight } = await dispatcherTo([bad]);
    for (const ask of [request, fetch]) {
      const answer = await ask("http://lorem/", { dispatcher: poor });
      const status = "status" in answer ? answer.status : answer.statusCode;
      const body = "status" in answer ? answer.text() : answer.body.text();
      expect([status, await body]).toEqual([503, "status 503"]);
    }
    expect(outcomes).toEqual(Array.from({ length: 6 }, () => "failure"));
    expect(inFlight()).toEqual([0]);
  });

  it("with a failing status, and a long answer that comes slowly, is passed on to its end", async () => {
    const long = "x".repeat(300_000);
    await using bad = await httpServer((_, response) => {
      response.writeHead(503).write(long);
      setTimeout(() => response.end("end"), 30);
    });
    const { dispatcher } = await dispatcherTo([bad]);
    for (const method of ["GET", "POST"] as const) {
      const answer = await request("http://lorem/", { dispatcher, method });
      expect(answer.statusCode).toBe(503);
      expect(await answer.body.text()).toBe(`${long}end`);
    }
    expect(bad.seen.length).toBe(4);
  });

  it("leaves no connection behind: answers that nobody gets are read to their end, if they have one near", async () => {
    await using bad = await httpServer((_, response) => void response.writeHead(503).end("x".repeat(100_000)));
    const retry = { maxAttempts: 5, timeoutMs: 5_000, budget: false as const };
    const { dispatcher } = await dispatcherTo([bad], { defaults: { connections: 1, retry } });
    for (let n = 0; n < 5; n++) await (await request("http://lorem/", { dispatcher })).body.dump();
    expect([bad.seen.length, bad.connections()]).toEqual([25, 1]);
  });

  it("gives an untouched stream back as good as new, for whoever may send it elsewhere", async () => {
    const { dispatcher } = await dispatcherTo([await deadInstance()]);
    const body = Readable.from(["a"]);
    const failed = new Promise((resolve) => {
      const options = { origin: "http://lorem", path: "/", method: "POST", body };
      dispatcher.dispatch(options, { onRequestStart: () => undefined, onResponseError: (_, error) => resolve(error) });
    });
    expect(await failed).toMatchObject({ code: "RETRY" });
    expect([body.destroyed, await body.toArray()]).toEqual([false, ["a"]]);
  });

  it("rejects with RetryError, every cause kept; without retries with its own error", async () => {
    const dead = await deadInstance();
    const { dispatcher } = await dispatcherTo([dead]);
    await expect(request("http://lorem/", { dispatcher })).rejects.toMatchObject({
      code: "RETRY",
      errors: [{ code: "ECONNREFUSED" }, { code: "ECONNREFUSED" }, { code: "ECONNREFUSED" }],
    });
    const { dispatcher: once } = await dispatcherTo([dead], { defaults: { retry: false } });
    await expect(request("http://lorem/", { dispatcher: once })).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await expect(fetch("http://lorem/", { dispatcher: once })).rejects.toMatchObject({
      cause: { code: "ECONNREFUSED" },
    });
  });

  it.each([
    ["a bad header", { headers: { "a b": "c" } }],
    [
      "a content length that is not the body's",
      { method: "POST" as const, body: "four", headers: { "content-length": "3" } },
    ],
  ])("because of %s rejects with undici's error, and is held against nobody", async (_, options) => {
    await using server = await ok();
    const { dispatcher, outcomes, inFlight } = await dispatcherTo([server]);
    await expect(request("http://lorem/", { dispatcher, ...options })).rejects.toMatchObject({ code: /^UND_ERR/ });
    expect([outcomes, inFlight()]).toEqual([["cancelled"], [0]]);
  });

  it("in the middle of its body fails the body, and is not repeated", async () => {
    await using broken = await rawServer((socket) => {
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
      setTimeout(() => socket.destroy(), 20);
    });
    const { dispatcher, outcomes, inFlight } = await dispatcherTo([broken]);
    const answer = await request("http://lorem/", { dispatcher });
    expect(inFlight()).toEqual([1]);
    await expect(answer.body.text()).rejects.toMatchObject({ code: "UND_ERR_SOCKET" });
    expect([broken.seen.length, outcomes, inFlight()]).toEqual([1, ["failure"], [0]]);
  });
});

describe("the slot of a dispatched request", () => {
  const slow = () =>
    httpServer((_, response) => {
      response.write("begun");
      setTimeout(() => response.end("done"), 100);
    });

  it("is held until the body has ended", async () => {
    await using server = await slow();
    const { dispatcher, outcomes, inFlight } = await dispatcherTo([server]);
    const answer = await request("http://lorem/", { dispatcher });
    expect([inFlight(), outcomes]).toEqual([[1], []]);
    expect(await answer.body.text()).toBe("begundone");
    expect([inFlight(), outcomes]).toEqual([[0], ["success"]]);
  });

  it.each([
    ["a request whose head has not come", false, 0],
    ["a request whose body is coming", true, 20],
  ])("is given back at once by an abort of %s, and the connection is closed", async (_, answers, afterMs) => {
    await using server = await httpServer((_request, response) => void (answers && response.write("begun")));
    const { dispatcher, outcomes, inFlight } = await dispatcherTo([server]);
    const controller = new AbortController();
    const answer = fetch("http://lorem/", { dispatcher, signal: controller.signal }).then((response) =>
      response.text(),
    );
    await until(() => server.seen.length === 1);
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    controller.abort(new Error("enough"));
    await expect(answer).rejects.toThrow("enough");
    expect([inFlight(), outcomes]).toEqual([[0], ["cancelled"]]);
    await until(() => server.open() === 0);
  });

  it("is never taken by a request that was aborted before, or while the service was unknown", async () => {
    await using server = await ok();
    const patient = { retry: { backoff: () => 3_000, timeoutMs: 5_000 } };
    const { dispatcher, outcomes } = await dispatcherTo([server], { clients: { unknown: patient } });
    await expect(request("http://lorem/", { dispatcher, signal: AbortSignal.abort(new Error("no")) })).rejects.toThrow(
      "no",
    );
    const unknown = request("http://unknown/", { dispatcher, signal: AbortSignal.timeout(30) });
    await expect(unknown).rejects.toMatchObject({ name: "TimeoutError" });
    expect([server.seen, outcomes]).toEqual([[], []]);
  });

  it("is given back when the reader throws or leaves, which is not the endpoint's failure", async () => {
    await using server = await httpServer((_, response) => void response.end("x".repeat(1_000_000)));
    const { dispatcher, outcomes, inFlight } = await dispatcherTo([server]);
    const answer = await request("http://lorem/", { dispatcher });
    answer.body.on("error", () => undefined).destroy();
    const thrown = stream("http://lorem/", { dispatcher, method: "GET" }, () => {
      throw new Error("no place");
    });
    await expect(thrown).rejects.toThrow("no place");
    await until(() => outcomes.length === 2);
    expect([inFlight(), outcomes]).toEqual([[0], ["cancelled", "cancelled"]]);
  });

  it("is held while an upgraded connection is open", async () => {
    await using server = await httpServer(
      () => undefined,
      "127.0.0.1",
      (socket) => {
        socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
        socket.pipe(socket);
      },
    );
    const { dispatcher, outcomes, inFlight } = await dispatcherTo([await deadInstance(), server]);
    for (let n = 0; n < 2; n++) {
      const { socket, headers } = await upgrade("http://lorem/ws", { dispatcher, method: "GET", protocol: "echo" });
      expect(headers["upgrade"]).toBe("echo");
      expect(inFlight().reduce((a, b) => a + b)).toBe(1);
      const answered = new Promise((resolve) => void socket.once("data", (chunk) => resolve(String(chunk))));
      socket.write("hello");
      expect(await answered).toBe("hello");
      socket.destroy();
      await until(() => inFlight().every((count) => count === 0));
    }
    expect(outcomes.filter((kind) => kind !== "failure")).toEqual(["success", "success"]);
  });

  it("is held while a tunnel through an instance is open", async () => {
    await using server = await rawServer((socket, received) => {
      if (received.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 200 OK\r\n\r\n");
      else socket.end(received.slice(-4));
    });
    const { dispatcher, outcomes, inFlight } = await dispatcherTo([server]);
    const { socket } = await dispatcher.connect({ origin: "http://lorem", path: "far.test:80" });
    expect(inFlight()).toEqual([1]);
    socket.end("ping");
    expect((await socket.toArray()).join("")).toBe("ping");
    await until(() => outcomes.length === 1);
    expect([server.seen[0]?.split("\r\n")[0], inFlight()]).toEqual(["CONNECT far.test:80 HTTP/1.1", [0]]);
  });

  it("is given back when an upgrade is refused", async () => {
    await using server = await ok();
    const { dispatcher, outcomes, inFlight } = await dispatcherTo([server]);
    await expect(upgrade("http://lorem/ws", { dispatcher, method: "GET" })).rejects.toThrow("bad upgrade");
    await until(() => outcomes.length === 1);
    expect([inFlight(), outcomes]).toEqual([[0], ["cancelled"]]);
  });
});

describe("undici's interceptors around it", () => {
  it("retry: finds what the dispatcher itself has repeated already", async () => {
    await using bad = await failing(503);
    await using broken = await resetting();
    await using good = await ok();
    const retry = { maxAttempts: 4, timeoutMs: 5_000, budget: false as const };
    const servers = [bad, broken, await deadInstance(), good];
    const { dispatcher, inFlight } = await dispatcherTo(servers, { defaults: { retry } });
    const composed = dispatcher.compose(interceptors.retry({ minTimeout: 1 }));
    for (let n = 0; n < 8; n++) {
      const answer = await request("http://lorem/", { dispatcher: composed });
      expect([answer.statusCode, await answer.body.text()]).toEqual([200, "ok"]);
    }
    expect(inFlight()).toEqual([0, 0, 0, 0]);
  });

  it("retry: does it all where the dispatcher is told to leave it, each attempt accounted for once", async () => {
    await using bad = await failing(503);
    await using broken = await resetting();
    await using good = await ok();
    const servers = [bad, broken, await deadInstance(), good];
    const { dispatcher, outcomes, inFlight } = await dispatcherTo(servers, { defaults: { retry: false } });
    const composed = dispatcher.compose(interceptors.retry({ minTimeout: 1 }));
    for (let n = 0; n < 8; n++) {
      const answer = await request("http://lorem/", { dispatcher: composed });
      expect([answer.statusCode, await answer.body.text()]).toEqual([200, "ok"]);
    }
    expect(inFlight()).toEqual([0, 0, 0, 0]);
    expect(outcomes.filter((kind) => kind === "success").length).toBe(8);
    // Round robin meets the three others between two answers; before the first one only as many as come before it.
    expect(outcomes.filter((kind) => kind === "failure").length).toBeGreaterThanOrEqual(21);
    expect(outcomes).not.toContain("cancelled");
  });

  it("retry: goes on with a body that broke off where it broke off, on another instance", async () => {
    const word = "0123456789";
    await using broken = await rawServer((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\netag: "1"\r\ncontent-length: 10\r\n\r\n${word.slice(0, 4)}`);
      setTimeout(() => socket.destroy(), 20);
    });
    await using good = await httpServer((request, response) => {
      const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
      response.writeHead(from === 0 ? 200 : 206, {
        etag: '"1"',
        "content-length": word.length - from,
        ...(from === 0 ? {} : { "content-range": `bytes ${from}-9/10` }),
      });
      response.end(word.slice(from));
    });
    const { dispatcher, outcomes, inFlight } = await dispatcherTo([broken, good]);
    const composed = dispatcher.compose(interceptors.retry({ minTimeout: 1 }));
    for (let n = 0; n < 2; n++) {
      const answer = await request("http://lorem/", { dispatcher: composed });
      expect(await answer.body.text()).toBe(word);
    }
    expect(broken.seen.length).toBeGreaterThan(0);
    await until(() => inFlight().every((count) => count === 0));
    expect(outcomes.filter((kind) => kind === "success").length).toBe(2);
    expect(outcomes.filter((kind) => kind === "failure").length).toBe(broken.seen.length);
  });

  it("redirect: follows within the service and out of it, each step balanced", async () => {
    await using outside = await ok("outside");
    await using server = await httpServer((request, response) => {
      if (request.url === "/a") response.writeHead(302, { location: "/b" }).end();
      else if (request.url === "/b") response.writeHead(302, { location: "http://lorem/c" }).end();
      else response.writeHead(302, { location: `http://127.0.0.1:${outside.port}/d` }).end();
    });
    const { dispatcher, outcomes } = await dispatcherTo([server]);
    const composed = dispatcher.compose(interceptors.redirect({ maxRedirections: 5 }));
    expect(await (await request("http://lorem/a", { dispatcher: composed })).body.text()).toBe("outside");
    expect(server.seen).toEqual(["GET /a", "GET /b", "GET /c"]);
    expect(outcomes).toEqual(["success", "success", "success"]);
  });

  it("dump and cache: end what they do not read, and ask no instance twice for what they have", async () => {
    await using server = await httpServer((_, response) => {
      response.setHeader("cache-control", "max-age=60").setHeader("content-type", "text/plain").end("x".repeat(100));
    });
    const { dispatcher, outcomes, inFlight } = await dispatcherTo([server]);
    const cached = dispatcher.compose(interceptors.cache());
    for (let n = 0; n < 3; n++) {
      expect((await (await request("http://lorem/", { dispatcher: cached })).body.text()).length).toBe(100);
    }
    expect(server.seen.length).toBe(1);
    const dumping = dispatcher.compose(interceptors.dump({ maxSize: 50 }));
    await expect(request("http://lorem/", { dispatcher: dumping, method: "GET" })).rejects.toThrow(
      /larger than maxSize/,
    );
    await until(() => outcomes.length === 2);
    expect([outcomes, inFlight()]).toEqual([["success", "cancelled"], [0]]);
  });
});

describe("the end of the dispatcher", () => {
  it("lets running requests end, takes no new ones and closes all connections", async () => {
    await using server = await httpServer((_, response) => void setTimeout(() => response.end("late"), 100));
    const { dispatcher } = await dispatcherTo([server, { ...server.instance, service: "ipsum" }]);
    const answers = ["lorem", "ipsum"].map((service) =>
      request(`http://${service}/`, { dispatcher }).then(({ body }) => body.text()),
    );
    await until(() => server.seen.length === 2);
    const closed = dispatcher.close();
    await expect(request("http://lorem/", { dispatcher })).rejects.toMatchObject({ code: "CLOSED" });
    await closed;
    expect(await Promise.all(answers)).toEqual(["late", "late"]);
    await until(() => server.open() === 0);
    await new Promise<void>((resolve) => dispatcher.close(resolve));
  });

  it("cuts everything off at once by destroy", async () => {
    await using server = await httpServer(
      (request, response) => void (request.url === "/b" && response.write("begun")),
    );
    const { dispatcher, inFlight } = await dispatcherTo([server]);
    const head = request("http://lorem/a", { dispatcher });
    const body = request("http://lorem/b", { dispatcher }).then((answer) => answer.body.text());
    const results = Promise.allSettled([head, body]);
    await until(() => server.seen.length === 2);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await dispatcher.destroy(new Error("the end"));
    expect(await results).toMatchObject([{ reason: new Error("the end") }, { reason: new Error("the end") }]);
    expect(inFlight()).toEqual([0]);
    await until(() => server.open() === 0);
  });
});
