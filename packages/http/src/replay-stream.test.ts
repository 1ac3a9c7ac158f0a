import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { ReplayStream } from "./replay-stream.ts";

async function read(stream: ReplayStream): Promise<string> {
  let all = "";
  for await (const chunk of stream) all += String(chunk);
  return all;
}

function counted(chunks: readonly string[]) {
  const source = { taken: 0, returned: false };
  async function* generate() {
    try {
      for (const chunk of chunks) {
        source.taken++;
        yield chunk;
      }
    } finally {
      source.returned = true;
    }
  }
  return Object.assign(source, { chunks: generate() });
}

describe("ReplayStream", () => {
  it("takes nothing before it is read", async () => {
    const source = counted(["a"]);
    const stream = new ReplayStream(source.chunks, 10);
    stream[Symbol.asyncIterator]();
    await Promise.resolve();
    expect(source.taken).toBe(0);
    expect(stream.replayable).toBe(true);
  });

  it.each([
    ["an async generator", () => counted(["a", "b", "c"]).chunks],
    ["a generator", () => (function* () { yield "a"; yield "bc"; })()], // prettier-ignore
    ["an array", () => ["a", Buffer.from("bc")]],
    ["a Node stream", () => Readable.from(["a", "bc"])],
    ["a web stream", () => ReadableStream.from(["a", "bc"]) as AsyncIterable<string>],
  ])("reads %s as often as wanted", async (_, source) => {
    const stream = new ReplayStream(source(), 3);
    for (let n = 0; n < 3; n++) expect(await read(stream)).toBe("abc");
    expect(stream.replayable).toBe(true);
  });

  it("can be read once, whole, when it is longer than may be kept", async () => {
    const stream = new ReplayStream(["a", "b", "c", "d"], 2);
    expect(await read(stream)).toBe("abcd");
    expect(stream.replayable).toBe(false);
  });

  it("lets a second reader begin anew after a first that stopped half-way", async () => {
    const source = counted(["a", "b", "c"]);
    const stream = new ReplayStream(source.chunks, 10);
    const first = stream[Symbol.asyncIterator]();
    expect((await first.next()).value).toBe("a");
    await first.return();
    expect(source.returned).toBe(false);
    expect(await read(stream)).toBe("abc");
  });

  it("loses no chunk for which a reader waited that has been given up", async () => {
    const push = Promise.withResolvers<string>();
    const stream = new ReplayStream((async function* () { yield "a"; yield await push.promise; yield "c"; })(), 10); // prettier-ignore
    const first = stream[Symbol.asyncIterator]();
    await first.next();
    const waiting = first.next();
    const second = read(stream);
    await new Promise((resolve) => setImmediate(resolve));
    push.resolve("b");
    await expect(waiting).rejects.toThrow(/no longer read/);
    expect(await second).toBe("abc");
  });

  it("loses none either when just that chunk is too much to keep", async () => {
    const push = Promise.withResolvers<string>();
    const stream = new ReplayStream((async function* () { yield "a"; yield await push.promise; yield "c"; })(), 1); // prettier-ignore
    const first = stream[Symbol.asyncIterator]();
    await first.next();
    void first.next().catch(() => undefined);
    const second = stream[Symbol.asyncIterator]();
    const one = second.next();
    push.resolve("bb");
    expect([(await one).value, (await second.next()).value, (await second.next()).value]).toEqual(["a", "bb", "c"]);
    expect(stream.replayable).toBe(false);
  });

  it("fails its reader with the source's own error, and knows it again", async () => {
    const broken = new Error("broken");
    const stream = new ReplayStream((async function* () { yield "a"; throw broken; })(), 10); // prettier-ignore
    await expect(read(stream)).rejects.toBe(broken);
    expect(stream.failedWith(broken)).toBe(true);
    expect(stream.failedWith(new Error("broken"))).toBe(false);
    expect(stream.replayable).toBe(false);
  });

  it("never ends as if it were whole when it is closed under its reader", async () => {
    const stream = new ReplayStream(counted(["a", "b"]).chunks, 10);
    const reader = stream[Symbol.asyncIterator]();
    await reader.next();
    stream.close();
    await expect(reader.next()).rejects.toThrow(/no longer read/);
  });

  it("gives the source up when closed, read or not, once", async () => {
    const source = counted(["a", "b"]);
    const stream = new ReplayStream(source.chunks, 10);
    await stream[Symbol.asyncIterator]().next();
    stream.close();
    stream.close();
    await new Promise((resolve) => setImmediate(resolve));
    expect(source.returned).toBe(true);

    const untouched = Readable.from(["a"]);
    new ReplayStream(untouched, 10).close();
    expect(untouched.destroyed).toBe(true);

    let cancelled = false;
    const web = new ReadableStream<string>({ cancel: () => void (cancelled = true) });
    new ReplayStream(web as AsyncIterable<string>, 10).close();
    expect(cancelled).toBe(true);
  });

  it("does not destroy what has ended by itself, nor fail on a return that throws", async () => {
    let returns = 0;
    const source = { [Symbol.iterator]: () => ({ next: () => ({ done: true as const, value: undefined }), return: () => { returns++; throw new Error("no"); } }) }; // prettier-ignore
    const ended = new ReplayStream(source, 10);
    expect(await read(ended)).toBe("");
    ended.close();
    expect(returns).toBe(0);
    const endless = { [Symbol.iterator]: () => ({ next: () => ({ done: false as const, value: "a" }), return: () => { returns++; throw new Error("no"); } }) }; // prettier-ignore
    const left = new ReplayStream(endless, 10);
    await left[Symbol.asyncIterator]().next();
    left.close();
    expect(returns).toBe(1);
  });
});
