import type { RequestListener } from "node:http";
import { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "undici";
import { describe, expect, it } from "vitest";
import type { HttpResponse } from "../src/index.ts";
import { clientOf, httpServer, until } from "./servers.ts";

type Body = HttpResponse["body"];

const MEBIBYTE = Buffer.alloc(1_048_576, "abcdefg");

/** What servers answer. */
const ANSWERS: Readonly<Record<string, (...args: Parameters<RequestListener>) => void | Promise<void>>> = {
  "a short text": (_, response) => void response.setHeader("content-type", "text/plain").end("näch"),
  JSON: (_, response) => void response.end('{"a":[1,2]}'),
  nothing: (_, response) => void response.end(),
  "no content": (_, response) => void response.writeHead(204).end(),
  "UTF-8 with a mark": (_, response) => void response.end("\uFEFFtext"),
  "characters in two parts, and trailers": async (_, response) => {
    const bytes = Buffer.from("aö€b");
    response.writeHead(200, { trailer: "x-end, __proto__" });
    for (const byte of bytes) {
      response.write(Buffer.of(byte));
      await sleep(2);
    }
    response.addTrailers({ "x-end": "yes" });
    response.end();
  },
  "a mebibyte": (_, response) => void response.end(MEBIBYTE),
  "a part of what was announced": async (_, response) => {
    response.writeHead(200, { "content-length": "1000" }).write("begun");
    await sleep(20);
    response.destroy();
  },
  "a part of a mebibyte": async (_, response) => {
    response.writeHead(200).write(MEBIBYTE);
    await sleep(50);
    response.destroy();
  },
};

async function joined(chunks: AsyncIterable<unknown>): Promise<string> {
  const all: string[] = [];
  for await (const chunk of chunks) all.push(String(chunk));
  return digest(all.join(""));
}

function digest(text: string): string {
  return text.length > 100 ? `${text.length} characters: ${text.slice(0, 20)}…` : text;
}

function closed(body: Body): Promise<unknown> {
  return body.closed ? Promise.resolve() : new Promise((resolve) => body.once("close", resolve));
}

function state(body: Body): object {
  const { bodyUsed, destroyed, readableEnded, readable } = body;
  return { bodyUsed, destroyed, readableEnded, readable, disturbed: Readable.isDisturbed(body) };
}

async function events(body: Body, use: () => unknown): Promise<unknown> {
  const seen: string[] = [];
  for (const event of ["end", "close"]) body.on(event, () => seen.push(event));
  body.on("error", (error: Error) => seen.push(codeOf(error)));
  await Promise.resolve(use()).catch(() => undefined);
  await sleep(150);
  return [...seen];
}

/** What readers do. */
const WAYS: Readonly<Record<string, (body: Body, trailers: Record<string, string>) => unknown>> = {
  text: async (body) => digest(await body.text()),
  "text, a little later": async (body) => {
    await sleep(30);
    return digest(await body.text());
  },
  json: (body) => body.json(),
  bytes: async (body) => {
    const bytes = await body.bytes();
    return [bytes.constructor.name, bytes.byteLength, bytes.buffer.byteLength];
  },
  arrayBuffer: async (body) => (await body.arrayBuffer()).byteLength,
  blob: async (body) => {
    const blob = await body.blob();
    return [blob.type, blob.size, digest(await blob.text())];
  },
  formData: (body) => body.formData(),
  "a loop": joined,
  "a loop, a little later": async (body) => {
    await sleep(30);
    return joined(body);
  },
  "a loop that is left": async (body) => {
    for await (const _ of body) break;
    await closed(body);
    return state(body);
  },
  "an encoding, and a loop": (body) => joined(body.setEncoding("utf8")),
  "an encoding, and text": async (body) => digest(await body.setEncoding("latin1").text()),
  listeners: (body) =>
    new Promise((resolve, reject) => {
      const seen: string[] = [];
      body
        .on("data", (chunk) => seen.push(String(chunk)))
        .on("end", () => resolve(digest(seen.join(""))))
        .on("error", reject);
    }),
  "readable events": (body) =>
    new Promise((resolve, reject) => {
      const seen: Buffer[] = [];
      body
        .on("readable", () => {
          for (let chunk; (chunk = body.read() as Buffer | null) !== null;) seen.push(chunk);
        })
        .on("end", () => resolve(digest(Buffer.concat(seen).toString())))
        .on("error", reject);
    }),
  "a listener, and text": async (body) => {
    let bytes = 0;
    body.on("data", (chunk: Buffer) => (bytes += chunk.length));
    const text = await body.text();
    return [digest(text), bytes === Buffer.byteLength(text)];
  },
  "text, and a listener": async (body) => {
    const text = body.text();
    body.on("data", () => undefined);
    return digest(await text);
  },
  pipeline: async (body) => {
    const seen: Buffer[] = [];
    const sink = new Writable({
      write(chunk: Buffer, _, done) {
        seen.push(chunk);
        setImmediate(done);
      },
    });
    await pipeline(body, sink);
    return digest(Buffer.concat(seen).toString());
  },
  "a web stream": (body) => joined(Readable.toWeb(body)),
  "its own web stream": (body) => joined(body.body as unknown as AsyncIterable<unknown>),
  "its own web stream, taken": async (body) => {
    const text = body.text();
    await Promise.resolve();
    const { locked } = body.body as unknown as ReadableStream;
    return [locked, digest(await text)];
  },
  "its own web stream, held by somebody": (body) => {
    (body.body as unknown as ReadableStream).getReader();
    return body.text();
  },
  "a web response": async (body) => digest(await new Response(Readable.toWeb(body) as ReadableStream).text()),
  "text after a loop": async (body) => {
    await joined(body);
    return body.text();
  },
  "text after it was destroyed": async (body) => {
    body.on("error", () => undefined).destroy(new Error("mine"));
    await closed(body);
    return body.text();
  },
  "destroyed while it is read as text": async (body) => {
    const text = body.text();
    await Promise.resolve();
    body.destroy();
    return text;
  },
  "its state": state,
  "its state when it was read as text": async (body) => {
    await body.text().catch(() => undefined);
    await closed(body);
    // undici forgets that one was used in which there was nothing.
    return { ...state(body), bodyUsed: true, disturbed: true };
  },
  "its state when it was read by a loop": async (body) => {
    await joined(body).catch(() => undefined);
    return state(body);
  },
  "its events when it is read as text": (body) => events(body, () => body.text()),
  "its events when it is read by a loop": (body) => events(body, () => joined(body)),
  "its events when it is dumped": (body) => events(body, () => body.dump()),
  "its events when it is destroyed": (body) => events(body, () => body.destroy()),
  "its events when it is destroyed with an error": (body) => events(body, () => body.destroy(new Error("mine"))),
  "its events when nobody reads it": (body) => events(body, () => undefined),
  "a dump": async (body) => [await body.dump().then(() => "dumped"), body.destroyed],
  "a dump of little": async (body) => {
    await body.dump({ limit: 2 });
    return body.destroyed;
  },
  "a dump that is aborted": (body) => body.dump({ limit: 2, signal: AbortSignal.abort(new Error("mine")) }),
  "a dump when it is over": async (body) => {
    await body.text();
    await closed(body);
    return body.dump().then(() => "dumped");
  },
  trailers: async (body, trailers) => {
    const before = { ...trailers };
    await body.text();
    return [before, trailers];
  },
};

/** What came of it, in words that do not depend on whose body it is. */
async function outcome(read: () => unknown): Promise<unknown> {
  try {
    return await read();
  } catch (error) {
    return codeOf(error);
  }
}

function codeOf(error: unknown): string {
  const { name, code, message } = error as { name: string; code?: string; message: string };
  // One is not to be had from outside of undici.
  return `${name}: ${code === "UND_ERR_ABORT" ? "UND_ERR_ABORTED" : (code ?? message)}`;
}

describe.each(Object.entries(ANSWERS))("a body that is %s", (_, answer) => {
  it.concurrent.each(Object.entries(WAYS))("can be used as that of undici's request: %s", async (_way, use) => {
    await using server = await httpServer(answer);
    const pool = new Pool(`http://127.0.0.1:${server.port}`);
    const theirs = await pool.request({ path: "/", method: "GET" });
    const expected = await outcome(() => use(theirs.body, theirs.trailers));
    await pool.destroy();
    await using client = clientOf([server]);
    const ours = await client.request("/");
    expect(ours.body).toBeInstanceOf(Readable);
    expect(await outcome(() => use(ours.body, ours.trailers))).toEqual(expected);
  });

  it("is used when it was read, and not to be had again", async () => {
    await using server = await httpServer(answer);
    await using client = clientOf([server]);
    const { body } = await client.request("/");
    expect(body.bodyUsed).toBe(false);
    const text = body.text();
    expect([body.bodyUsed, Readable.isDisturbed(body)]).toEqual([true, true]);
    const first = await outcome(() => text);
    const again = await outcome(() => body.text());
    expect(again).toBe(body.errored === null ? "TypeError: unusable" : first);
  });
});

describe("a body that is not read", () => {
  it("stops its server when there is enough of it, and goes on when it is read", async () => {
    const endless = Buffer.alloc(65_536);
    let sent = 0;
    await using server = await httpServer((_, response) => {
      const send = (): void => {
        sent += endless.length;
        response.write(endless, () => void (sent < 50_000_000 ? send() : response.end()));
      };
      send();
    });
    await using client = clientOf([server]);
    const { body } = await client.request("/");
    let before = -1;
    await until(() => {
      const still = sent === before;
      before = sent;
      return still && sent > 0;
    });
    await sleep(200);
    // What the sockets of both sides hold.
    expect(sent).toBeLessThan(12_000_000);
    expect((await body.bytes()).byteLength).toBe(sent);
    expect(sent).toBeGreaterThanOrEqual(50_000_000);
  });

  it("has nothing to announce to who asks by HEAD", async () => {
    await using server = await httpServer((_, response) => void response.setHeader("content-length", "1000000").end());
    await using client = clientOf([server]);
    const { body, headers } = await client.request("/", { method: "HEAD" });
    expect(headers["content-length"]).toBe("1000000");
    await body.dump();
    expect(body.readableEnded).toBe(true);
  });
});
