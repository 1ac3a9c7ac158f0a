import { once } from "node:events";
import { type AddressInfo, type Socket, createServer } from "node:net";
import { type Host, isDiscoveryError, systemEnv } from "@rollcall/core";
import { manualClock } from "@rollcall/testing";
import { afterEach, describe, expect, it } from "vitest";
import { ZooKeeperSession } from "./session.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});
const never = new AbortController().signal;

/** A frame of ZooKeeper's protocol: its length, and then numbers of 32 bits. */
const frame = (...numbers: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(4 + 4 * numbers.length);
  bytes.writeInt32BE(4 * numbers.length, 0);
  numbers.forEach((number, index) => bytes.writeInt32BE(number, 4 + 4 * index));
  return bytes;
};
/** The answer to a connection: protocol, time-out, session, 16 bytes of password. */
const welcome = (timeoutMs: number): Buffer => frame(0, timeoutMs, 1, 2, 16, 0, 0, 0, 0);
/** The answer to a request: its number, a transaction, an error code. */
const answer = (xid: number, code: number): Buffer => frame(xid, 0, 7, code);

/** A server that says what it is told to: first to the connection, then to each request. */
async function fakeServer(...script: readonly ((socket: Socket) => void)[]) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    let step = 0;
    sockets.add(socket.on("error", () => undefined));
    socket.on("data", () => script[step++]?.(socket));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { protocol: "zookeeper:", host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}

const open = async (host: Host, more: object = {}) => {
  const options = { sessionTimeoutMs: 4_000, timeoutMs: 200, connectMs: 200, env: systemEnv, ...more };
  const session = new ZooKeeperSession(host, options);
  closing.push(() => session.end(new Error("the test is over")));
  await session.begin(never);
  return session;
};
const ask = (session: ZooKeeperSession, signal = never) =>
  session.call("asking", signal, (client, done) => client.exists("/", done));

const say =
  (...chunks: readonly Buffer[]) =>
  (socket: Socket) => {
    for (const chunk of chunks) socket.write(chunk);
  };

describe("a session", () => {
  it("stands when the server agrees to it, with the server's time-out", async () => {
    const session = await open(await fakeServer(say(welcome(3_000))));
    expect(session.open).toBe(true);
    expect(session.timeoutMs).toBe(3_000);
    expect(session.resume.sessionId).toEqual(Buffer.from([0, 0, 0, 1, 0, 0, 0, 2]));
  });

  it("is refused with a code of its own if it has expired", async () => {
    await expect(open(await fakeServer(say(welcome(0))))).rejects.toMatchObject({ code: -112 });
  });

  it("is given up if the server is silent, hangs up or is not there", async () => {
    const silent = await open(await fakeServer()).catch((error: unknown) => error);
    expect(isDiscoveryError(silent, "TIMEOUT")).toBe(true);
    const rude = await fakeServer((socket) => socket.destroy());
    await expect(open(rude)).rejects.toMatchObject({ code: -4 });
    await expect(open({ protocol: "zookeeper:", host: "127.0.0.1", port: 1 })).rejects.toMatchObject({
      code: -4,
      cause: { code: "ECONNREFUSED" },
    });
  });

  it("tells errors by their codes, and lives on", async () => {
    const session = await open(await fakeServer(say(welcome(4_000)), say(answer(0, -102)), say(answer(1, -101))));
    await expect(ask(session)).rejects.toMatchObject({ code: -102 });
    await expect(ask(session)).resolves.toBeNull();
    expect(session.open).toBe(true);
  });

  it.each([
    ["an error that nobody knows", answer(0, -127)],
    ["the answer to another request", answer(77, 0)],
    ["an answer without its contents", answer(0, 0)],
    ["an event of no kind", frame(-1, 0, 0, 0, 99, 3, 1, 0x2f000000)],
    ["the end in the middle", frame(0, 0).subarray(0, 6)],
  ])("ends, and nothing else does, with %s", async (_, bytes) => {
    const session = await open(await fakeServer(say(welcome(4_000)), (socket) => socket.end(bytes)));
    await expect(ask(session)).rejects.toThrow("ZooKeeper: ");
    expect(session.open).toBe(false);
    await expect(ask(session)).rejects.toBe(session.ended.reason);
  });

  it("ends if nothing at all comes within the time for an answer, and not because somebody gave up", async () => {
    const session = await open(await fakeServer(say(welcome(4_000))));
    await expect(ask(session, AbortSignal.timeout(20))).rejects.toThrow();
    expect(session.open).toBe(true);
    const error = await ask(session).catch((each: unknown) => each);
    expect(isDiscoveryError(error, "TIMEOUT")).toBe(true);
    expect(session.open).toBe(false);
  });

  it("asks for a sign of life three times per time-out, and ends without one", async () => {
    const clock = manualClock();
    let asked = 0;
    const host = await fakeServer(
      say(welcome(3_000)),
      (socket) => socket.write(answer(asked++, -101)),
      () => asked++,
    );
    const session = await open(host, { env: clock.env, timeoutMs: 500 });
    await clock.advance(999);
    expect(asked).toBe(0);
    await clock.advance(1);
    await expect.poll(() => asked).toBe(1);
    const again = async (): Promise<number> => {
      await clock.advance(100);
      return asked;
    };
    await expect.poll(again, { timeout: 5_000 }).toBe(2);
    expect(session.open).toBe(true);
    await clock.advance(500);
    expect(session.open).toBe(false);
  });
});
