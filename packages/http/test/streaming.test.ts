import { Readable } from "node:stream";
import { fetch as undiciFetch, request } from "undici";
import { describe, expect, it, onTestFinished } from "vitest";
import { createFetch } from "../src/fetch.ts";
import { discoveryDispatcher } from "../src/index.ts";
import { clientOf, httpServer, registryOf } from "./servers.ts";

const MiB = 1_048_576;
const CHUNK = Buffer.alloc(65_536, "x");
const TOTAL = 50 * MiB;
/** What may be under way: the buffers of the sockets there and back, of the server, and of the client. */
const FLAT = 24 * MiB;

/** 50 MiB, made as they are taken, and how far ahead of their reader they were at most. */
function upload() {
  const seen = { made: 0, read: 0, ahead: 0 };
  const parts = async function* (): AsyncGenerator<Buffer> {
    for (; seen.made < TOTAL; seen.made += CHUNK.length) {
      seen.ahead = Math.max(seen.ahead, seen.made - seen.read);
      yield CHUNK;
    }
  };
  return { seen, parts };
}

/** Reads it to its end, and stops for a while on the way: everything before has to wait. */
async function readSlowly(body: AsyncIterable<unknown>, seen: { read: number }): Promise<void> {
  let waited = false;
  for await (const chunk of body) {
    seen.read += (chunk as Uint8Array).byteLength;
    if (!waited && seen.read > 10 * MiB) {
      waited = true;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }
}

type Body = () => AsyncGenerator<Buffer>;
type Ask = (parts: Body) => Promise<AsyncIterable<unknown>>;

/** Every way to send a stream and to get one back. */
async function ways(): Promise<Record<string, Ask>> {
  const server = await httpServer((incoming, response) => void incoming.pipe(response));
  onTestFinished(() => server.kill());
  const registry = await registryOf([server]);
  const client = clientOf([server]);
  const dispatcher = discoveryDispatcher({ registry });
  const fetched = createFetch({ registry });
  onTestFinished(async () => void (await Promise.all([client.close(), dispatcher.close(), fetched.close()])));
  const method = "POST";
  const duplex = "half";
  const web = (parts: Body) => ReadableStream.from<Uint8Array>(parts());
  const bodyOf = ({ body }: { readonly body: AsyncIterable<unknown> | null }) => body ?? expect.fail("no body");
  return {
    "httpClient.request": async (parts) => (await client.request("/", { method, body: Readable.from(parts()) })).body,
    "httpClient.fetch": async (parts) => bodyOf(await client.fetch("/", { method, body: parts() })),
    "dispatcher, request": async (parts) =>
      (await request("http://lorem/", { dispatcher, method, body: Readable.from(parts()) })).body,
    "dispatcher, fetch": async (parts) =>
      bodyOf(await undiciFetch("http://lorem/", { dispatcher, method, duplex, body: parts() })),
    "created fetch": async (parts) => bodyOf(await fetched("http://lorem/", { method, duplex, body: web(parts) })),
    "created fetch, of a Request": async (parts) =>
      bodyOf(await fetched(new Request("http://lorem/", { method, duplex, body: web(parts) }))),
  };
}

describe("50 MiB up and down at once", () => {
  it.each([
    "httpClient.request",
    "httpClient.fetch",
    "dispatcher, request",
    "dispatcher, fetch",
    "created fetch",
    "created fetch, of a Request",
  ])("by %s arrive whole, and wait for their reader", async (way) => {
    const ask = (await ways())[way] ?? expect.fail("no such way");
    const { seen, parts } = upload();
    await readSlowly(await ask(parts), seen);
    expect(seen.read).toBe(TOTAL);
    expect(seen.ahead).toBeLessThan(FLAT);
  });
});
