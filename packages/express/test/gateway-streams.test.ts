import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { type IncomingMessage, Agent, request as httpRequest } from "node:http";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { roundRobin } from "@rollcall/core";
import { serviceClient } from "@rollcall/http";
import { manualClock } from "@rollcall/testing";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { raw, until, world } from "./gateway-world.ts";

const MIB = 1024 * 1024;

/** So many bytes, each time the same ones, and never the same twice in a row. */
function blocks(bytes: number): Readable {
  let left = bytes;
  return new Readable({
    read(size) {
      const length = Math.min(left, size);
      left -= length;
      this.push(length === 0 ? null : Buffer.alloc(length, `${left},`));
    },
  });
}

async function digest(stream: AsyncIterable<Buffer>, pauseMs = 0): Promise<string> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of stream) {
    hash.update(chunk);
    const before = bytes;
    bytes += chunk.length;
    if (pauseMs > 0 && Math.floor(before / MIB) !== Math.floor(bytes / MIB)) await delay(pauseMs);
  }
  return `${bytes} ${hash.digest("hex")}`;
}

async function send(
  port: number,
  options: { method?: string; headers?: Record<string, string | number>; agent?: Agent; path?: string } = {},
  body?: string | Readable,
): Promise<{ status: number | undefined; text: string; answer: IncomingMessage }> {
  const outgoing = httpRequest({ port, host: "127.0.0.1", path: "/", agent: false, ...options });
  if (body instanceof Readable) body.pipe(outgoing);
  else outgoing.end(body);
  const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
  outgoing.on("error", () => undefined); // the answer tells of it too
  let text = "";
  for await (const chunk of answer) text += String(chunk);
  return { status: answer.statusCode, text, answer };
}

describe("gateway, large bodies", () => {
  it(
    "passes 50 MB up and 50 MB down at once, at the pace of slow readers, in flat memory",
    { timeout: 120_000 },
    async () => {
      const total = 50 * MIB;
      const expected = await digest(blocks(total));
      const uploads: string[] = [];
      const here = world();
      const instance = await here.instance((request, response) => {
        if (request.method === "GET") {
          response.end("small");
          return;
        }
        // An answer that ends is the end of an upload, too: this one ends when both have come through.
        const down = blocks(total);
        down.pipe(response, { end: false });
        void Promise.all([digest(request, 5), once(down, "end")]).then(([upload]) => {
          uploads.push(upload);
          response.end();
        });
      });
      const child = fork(fileURLToPath(new URL("gateway-process.ts", import.meta.url)), [String(instance)], {
        execArgv: ["--conditions=@rollcall/source", "--max-old-space-size=64"],
      });
      onTestFinished(() => void child.kill("SIGKILL"));
      const [port] = (await once(child, "message")) as [number];
      const memory = async (): Promise<number> => {
        const answered = once(child, "message");
        child.send("memory");
        return Number((await answered)[0]);
      };
      for (let n = 0; n < 200; n++) await send(port);
      const one = async (headers: Record<string, number>): Promise<string> => {
        const outgoing = httpRequest({ port, host: "127.0.0.1", path: "/", method: "POST", agent: false, headers });
        blocks(total).pipe(outgoing);
        const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
        return digest(answer, 5);
      };
      await memory();
      const before = await memory();
      expect(await Promise.all([one({}), one({ "content-length": total })])).toEqual([expected, expected]);
      expect(uploads).toEqual([expected, expected]);
      const grown = (await memory()) - before;
      // 200 MB have passed. What is needed for buffers, and not collected yet, is less than any of the four bodies.
      expect(grown / MIB).toBeLessThan(50);
    },
  );

  it("answers while the upload is still coming, and leaves the connection usable", async () => {
    const here = world();
    await here.instance((request, response) => {
      if (request.method === "GET") response.end("next");
      else response.writeHead(403).end("no");
    });
    const port = await here.front();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    const outgoing = httpRequest({ port, host: "127.0.0.1", path: "/", method: "POST", agent });
    outgoing.write("begun");
    const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
    expect(answer.statusCode).toBe(403);
    answer.resume();
    for (let n = 0; n < 50; n++) outgoing.write(Buffer.alloc(65_536));
    outgoing.end();
    await once(outgoing, "close");
    expect(await send(port, { agent })).toMatchObject({ status: 200, text: "next" });
  });
});

describe("gateway, answers that end before the upload", () => {
  it("reach a caller whole that sends on, also where the connection closes with them", async () => {
    const here = world();
    const ended = vi.fn();
    await here.instance((request, response) => {
      request.on("end", ended).once("data", () => void blocks(MIB).pipe(response));
    });
    const port = await here.front();
    for (let n = 0; n < 5; n++) {
      const outgoing = httpRequest({ port, host: "127.0.0.1", path: "/", method: "POST", agent: false });
      outgoing.on("error", () => undefined);
      blocks(20 * MIB).pipe(outgoing);
      const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
      expect(await digest(answer)).toBe(await digest(blocks(MIB)));
    }
    // Nor does the instance take what it has got for all there was.
    expect(ended).not.toHaveBeenCalled();
  });
});

describe("gateway, limits", () => {
  it("answers 413 to a body that says it is too large, and tells no instance", async () => {
    const here = world();
    const seen = vi.fn();
    await here.instance(seen);
    const port = await here.front({ maxBodyBytes: 1_000 });
    for (const length of [1_001, 5 * MIB]) {
      const { status, text, answer } = await send(
        port,
        { method: "POST", headers: { "content-length": length } },
        blocks(length),
      );
      expect([status, JSON.parse(text), answer.headers.connection]).toMatchObject([
        413,
        { error: "content_too_large" },
        "close",
      ]);
    }
    expect(seen).not.toHaveBeenCalled();
  });

  it("answers 413 to chunks that turn out too large, and the instance never takes them for a whole body", async () => {
    const here = world();
    const ends: string[] = [];
    await here.instance((request, response) => {
      request
        .on("end", () => ends.push("end"))
        .on("error", (error: NodeJS.ErrnoException) => ends.push(String(error.code)));
      request.resume().once("end", () => response.end("taken"));
    });
    const onError = vi.fn();
    const port = await here.front({ maxBodyBytes: MIB, onError });
    expect(await send(port, { method: "POST" }, blocks(MIB))).toMatchObject({ status: 200, text: "taken" });
    expect(ends.splice(0)).toEqual(["end"]);
    expect(await send(port, { method: "POST" }, blocks(MIB + 1))).toMatchObject({ status: 413 });
    await until(() => ends.length > 0);
    expect(ends).toEqual(["ECONNRESET"]);
    expect(onError).not.toHaveBeenCalled();
  });

  it("breaks off where chunks turn out too large when the answer has begun", async () => {
    const here = world();
    await here.instance((request, response) => {
      response.write("begun");
      request.on("error", () => undefined).resume();
    });
    const port = await here.front({ maxBodyBytes: MIB });
    const outgoing = httpRequest({ port, host: "127.0.0.1", path: "/", method: "POST", agent: false });
    outgoing.on("error", () => undefined).write("begun");
    const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
    const reading = digest(answer);
    outgoing.write(Buffer.alloc(2 * MIB));
    await expect(reading).rejects.toMatchObject({ code: "ECONNRESET" });
  });

  it("takes any body where there is no limit", async () => {
    const here = world();
    await here.instance((request, response) => void request.resume().once("end", () => response.end("taken")));
    const port = await here.front({ maxBodyBytes: Infinity });
    expect(await send(port, { method: "POST" }, blocks(101 * MIB))).toMatchObject({ status: 200 });
  });

  it("answers 431 to more headers, and to larger ones, than allowed", async () => {
    const here = world();
    await here.instance((_, response) => response.end("ok"));
    const port = await here.front({ maxHeaders: 5, maxHeaderBytes: 200 });
    expect(await send(port, { headers: { a: "1", b: "2", c: "3" } })).toMatchObject({ status: 200 });
    const many = await send(port, { headers: { a: "1", b: "2", c: "3", d: "4" } });
    expect([many.status, JSON.parse(many.text)]).toMatchObject([431, { error: "header_fields_too_large" }]);
    expect(await send(port, { headers: { a: "x".repeat(200) } })).toMatchObject({ status: 431 });
  });
});

describe("gateway, callers that are slow", () => {
  it.each([
    ["a small body, of which no instance hears", "Content-Length: 10\r\n\r\nhello", 0],
    ["a large one", `Content-Length: ${MIB}\r\n\r\nhello`, 1],
    ["chunks", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 1],
  ])("answers 408 to one that does not go on with %s, and blames no instance", async (_, upload, heard) => {
    const here = world();
    let requests = 0;
    const ends: unknown[] = [];
    await here.instance((request) => {
      requests++;
      request.resume().once("error", (error) => ends.push(error));
    });
    const client = serviceClient(here.registry, { service: "lorem", retry: { timeoutMs: 700 } });
    onTestFinished(() => client.close());
    const onError = vi.fn();
    // Its time-out is the client's, though that is a borrowed one.
    const port = await here.front({ registry: undefined, client, onError });
    const startedMs = performance.now();
    const answer = await raw(port, `POST / HTTP/1.1\r\nHost: x\r\n${upload}`);
    expect(answer).toMatch(/^HTTP\/1\.1 408 [^]*"error":"request_timeout"/);
    expect(performance.now() - startedMs).toBeLessThan(6_000);
    await until(() => ends.length === heard);
    expect(requests).toBe(heard);
    expect(client.endpoints.map(({ stats }) => stats.failures)).toEqual([0]);
    expect(onError).not.toHaveBeenCalled();
  });

  it("asks an instance only when a small body is here, and at once for a large one", async () => {
    const here = world();
    let requests = 0;
    await here.instance((request, response) => {
      requests++;
      request.resume().once("end", () => response.end("taken"));
    });
    const port = await here.front();
    for (const [length, before] of [
      [65_536, 0],
      [65_537, 1],
    ] as const) {
      requests = 0;
      const headers = { "content-length": length };
      const outgoing = httpRequest({ port, host: "127.0.0.1", path: "/", method: "POST", agent: false, headers });
      outgoing.write("x".repeat(length - 1));
      if (before === 0) await delay(100);
      else await until(() => requests > 0);
      expect(requests).toBe(before);
      outgoing.end("x");
      const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
      expect(String((await once(answer, "data"))[0])).toBe("taken");
      expect(requests).toBe(1);
    }
  });

  it("blames an instance that has got an upload and does not answer it", async () => {
    const here = world();
    await here.instance((request) => void request.resume());
    const client = serviceClient(here.registry, { service: "lorem", retry: { timeoutMs: 700 } });
    onTestFinished(() => client.close());
    const port = await here.front({ registry: undefined, client });
    expect(await send(port, { method: "POST" }, "hello")).toMatchObject({ status: 504 });
    expect(client.endpoints.map(({ stats }) => stats.failures)).toEqual([1]);
  });

  it("cuts off one that takes nothing of its answer for a minute, frees the instance, and lets others be slow", async () => {
    const clock = manualClock();
    const here = world();
    let left = false;
    await here.instance((_, response) => {
      response.once("close", () => (left = true));
      blocks(100 * MIB).pipe(response);
    });
    // Policies that learn have a timer of the balancer's run while a call is in flight; this one does not.
    const port = await here.front({ env: clock.env, policy: roundRobin() });
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined).write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    /** Until every buffer in between has been full for a while: then the gateway waits, and this is its only timer. */
    const stalled = async (): Promise<void> => {
      for (let still = 0; still < 20; still = clock.pending === 1 ? still + 1 : 0) await delay(10);
    };
    await stalled();
    await clock.advance(59_999);
    let bytes = 0;
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
      bytes += (chunk as Buffer).length;
      if (bytes > 20 * MIB) break;
    }
    await stalled();
    await clock.advance(59_999);
    await delay(50);
    expect(left).toBe(false);
    // A buffer that took its last bytes after the gateway began to wait has taken something: then it is a minute more.
    await clock.advance(60_001);
    await until(() => left);
  });

  it("frees the instance within 100 ms of a caller's leaving, whatever it was about", async () => {
    const here = world();
    let began = (): void => undefined;
    let left = (): void => undefined;
    await here.instance((request, response) => {
      response.once("close", () => left());
      if (request.url === "/answering") response.write("begun");
      if (request.url === "/flooding") blocks(500 * MIB).pipe(response);
      request.on("error", () => undefined).resume();
      began();
    });
    const onError = vi.fn();
    const port = await here.front({ onError });
    for (const [path, head] of [
      ["/waiting", "GET /waiting HTTP/1.1\r\nHost: x\r\n\r\n"],
      ["/answering", "GET /answering HTTP/1.1\r\nHost: x\r\n\r\n"],
      ["/flooding", "GET /flooding HTTP/1.1\r\nHost: x\r\n\r\n"],
      ["/uploading", "POST /uploading HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"],
    ] as const) {
      const tookMs: number[] = [];
      for (let n = 0; n < 5; n++) {
        const begun = new Promise<void>((resolve) => (began = resolve));
        const leaving = new Promise<void>((resolve) => (left = resolve));
        const socket = connect(port, "127.0.0.1");
        socket.on("error", () => undefined);
        socket.write(head);
        await begun;
        await delay(10);
        const startedMs = performance.now();
        socket.destroy();
        await leaving;
        tookMs.push(performance.now() - startedMs);
      }
      // Of several, as the machine may be busy with something else.
      expect([path, Math.min(...tookMs) < 100]).toEqual([path, true]);
    }
    expect(onError).not.toHaveBeenCalled();
  });

  it("takes it for no failure when it is an answer's next piece that finds the caller gone", async () => {
    const here = world();
    const pieces = "5\r\nhello\r\n5\r\nworld\r\n";
    const dropped = Promise.withResolvers<void>();
    // Both pieces come at once, so that nothing has told of the connection's end before the second one.
    await here.rawInstance((socket, received) => {
      if (!received.endsWith("\r\n\r\n")) return;
      socket.once("close", () => dropped.resolve());
      socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${pieces}`);
    });
    const onError = vi.fn();
    const port = await here.front({ onError }, (server) => {
      server.prependListener("request", ({ socket }, response) => {
        const { write } = response;
        response.write = (...args: unknown[]) => {
          socket.destroy();
          return Boolean(Reflect.apply(write, response, args));
        };
      });
    });
    await expect(send(port)).rejects.toThrow(/hang up|ECONNRESET|aborted/);
    await dropped.promise;
    expect(onError).not.toHaveBeenCalled();
  });
});

describe("gateway, what comes besides a body", () => {
  it("passes on the trailers of an answer, but none that would change its head", async () => {
    const here = world();
    let te: string | undefined;
    await here.instance((request, response) => {
      te = request.headers.te as string | undefined;
      response.writeHead(200, { trailer: "x-checksum" });
      response.write("body");
      response.addTrailers({ "x-checksum": "7", "set-cookie": "a=b" });
      response.end();
    });
    const port = await here.front();
    const { text, answer } = await send(port, { headers: { te: "trailers" } });
    expect([text, answer.trailers, answer.headers.trailer, te]).toEqual([
      "body",
      { "x-checksum": "7" },
      "x-checksum",
      "trailers",
    ]);
    // There is no place for them in HTTP/1.0.
    expect(await raw(port, "GET / HTTP/1.0\r\n\r\n")).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nbody$/);
  });

  it("passes on early hints, and leaves out what it cannot", async () => {
    const here = world();
    await here.instance((_, response) => {
      response.writeProcessing();
      response.writeEarlyHints({ link: "</style.css>; rel=preload; as=style" });
      setTimeout(() => response.end("page"), 20);
    });
    const port = await here.front();
    const outgoing = httpRequest({ port, host: "127.0.0.1", path: "/", agent: false });
    const hints: unknown[] = [];
    outgoing.on("information", ({ statusCode, headers }) => hints.push([statusCode, headers]));
    outgoing.end();
    const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
    answer.resume();
    expect(hints).toEqual([[103, { link: "</style.css>; rel=preload; as=style" }]]);
    expect(await raw(port, "GET / HTTP/1.0\r\n\r\n")).toMatch(/^HTTP\/1\.1 200 OK\r\n/);

    const odd = world();
    await odd.rawInstance((socket) => {
      socket.write("HTTP/1.1 103 Early Hints\r\nLink: nonsense\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    expect(await send(await odd.front())).toMatchObject({ status: 200, text: "ok" });
  });

  it("tells a caller to go on that waits for that, and the instance nothing of it", async () => {
    const here = world();
    await here.instance((request, response) => {
      response.write(`${request.headers.expect}: `);
      request.pipe(response);
    });
    const port = await here.front();
    const headers = { expect: "100-continue" };
    const outgoing = httpRequest({ port, host: "127.0.0.1", path: "/", method: "POST", agent: false, headers });
    outgoing.flushHeaders();
    await once(outgoing, "continue");
    outgoing.end("hello");
    const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
    let text = "";
    for await (const chunk of answer) text += String(chunk);
    expect(text).toBe("undefined: hello");
  });
});
