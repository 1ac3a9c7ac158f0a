import { type AddressInfo, createServer, type Server } from "node:net";
import { encode, streamEncode, TRUNCATED_RESPONSE } from "dns-packet";
import { afterEach, describe, expect, it } from "vitest";
import type { Question } from "./client.ts";
import { exchangeBy, type NameServer } from "./exchange.ts";

const QUESTION: Question = { name: "lorem.test", type: "A", port: 80 };
let server: Server | undefined;
afterEach(() => server?.close());

/** A server for TCP that answers with these bytes, one write after the other, made from the id of the question. */
async function serve(answer: (id: number) => readonly Uint8Array[]): Promise<NameServer> {
  server = createServer((socket) => {
    socket.setNoDelay(true).once("data", (message) => {
      const pieces = answer(message.readUInt16BE(2));
      const write = (index: number): void => {
        const piece = pieces[index];
        if (piece === undefined) socket.end();
        else socket.write(piece, () => setImmediate(write, index + 1));
      };
      write(0);
    });
    socket.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}
const answered = (id: number, flags = 0): Buffer =>
  streamEncode({
    type: "response",
    id,
    flags,
    questions: [QUESTION],
    answers: [{ type: "A", name: QUESTION.name, ttl: 1, data: "10.0.0.1" }],
  });
const ask = (to: NameServer) => exchangeBy("tcp")(to, QUESTION, AbortSignal.timeout(5_000));

describe("exchangeBy tcp", () => {
  it("puts together an answer that comes byte by byte", async () => {
    const to = await serve((id) => Array.from(answered(id), (byte) => Buffer.of(byte)));
    expect((await ask(to)).hosts).toMatchObject([{ host: "10.0.0.1", port: 80 }]);
  });

  it("takes no answer that says itself that it is cut", async () => {
    const to = await serve((id) => [answered(id, TRUNCATED_RESPONSE)]);
    await expect(ask(to)).rejects.toThrow("even by TCP, the answer to A lorem.test is cut");
  });

  it("takes no answer to somebody else's question, and does not wait for more", async () => {
    const to = await serve((id) => [answered((id + 1) % 2 ** 16), Buffer.alloc(1 << 20)]);
    await expect(ask(to)).rejects.toThrow("ended before the answer did");
  });

  it("takes no answer that ends before its length", async () => {
    const to = await serve((id) => [answered(id).subarray(0, -1)]);
    await expect(ask(to)).rejects.toThrow("ended before the answer did");
    const header = await serve(() => [encode({ type: "response" }).subarray(0, 1)]);
    await expect(ask(header)).rejects.toThrow("ended before the answer did");
  });
});
