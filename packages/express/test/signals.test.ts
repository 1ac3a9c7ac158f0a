import { once } from "node:events";
import { Agent, type IncomingMessage, createServer, get } from "node:http";
import { type AddressInfo, type Socket, connect } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { WebSocket } from "ws";
import { announcedChild, servingChild } from "./announced-child.ts";

const FRAMEWORKS = ["http", "express"] as const;

async function answerOf(port: number, path: string, options: object = {}): Promise<IncomingMessage> {
  const request = get({ host: "127.0.0.1", port, path, agent: false, ...options });
  const [answer] = (await once(request, "response")) as [IncomingMessage];
  request.on("error", () => undefined); // comes with a reset besides the answer's own
  return answer;
}

/** Sends this as it is, and waits for what comes first. */
async function raw(port: number, request: string): Promise<{ readonly socket: Socket; readonly received: string }> {
  const socket = connect(port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  socket.setEncoding("latin1").write(request);
  const [received] = (await once(socket, "data")) as [string];
  return { socket, received };
}

const ago = (sinceMs: number): number => performance.now() - sinceMs;

describe.each(FRAMEWORKS)("a process that is told to end, on %s", { timeout: 30_000 }, (framework) => {
  it("ends by itself, in good order, with exit code 0 and without a word of complaint", async () => {
    const child = await servingChild({ framework, drainMs: 1_000 });
    const agent = new Agent({ keepAlive: true });
    onTestFinished(() => agent.destroy());
    const self = await answerOf(child.port, "/self", { agent });
    expect([self.headers.connection, await text(self)]).toEqual(["keep-alive", '{"status":"ok"}']);
    const startedMs = performance.now();
    child.signal("SIGTERM");
    await vi.waitFor(async () => {
      const health = await answerOf(child.port, "/health");
      expect([health.statusCode, health.headers.connection]).toEqual([503, "close"]);
    }, 900);
    expect(child.out()).not.toContain("drained");
    expect(await child.ended).toEqual([0, null]);
    // The idle connection that was kept alive is no reason to stay.
    expect(ago(startedMs)).toBeGreaterThan(990);
    expect(ago(startedMs)).toBeLessThan(3_500);
    expect(child.out()).toMatch(/^starting\nregistered .*\nserving \d+\ndrained\nclosed\n$/);
    expect(child.complaints()).toBe("");
  });

  it("lets a streamed answer finish that takes less than graceMs", async () => {
    const child = await servingChild({ framework });
    const answer = await answerOf(child.port, "/stream", { headers: { "x-parts": 20 } });
    child.signal("SIGTERM");
    expect(await text(answer)).toBe(`${"part ".repeat(20)}end`);
    expect(await child.ended).toEqual([0, null]);
  });

  it("cuts off one that takes longer, so that nobody takes it for whole", async () => {
    const child = await servingChild({ framework, graceMs: 200 });
    const answer = await answerOf(child.port, "/stream", { headers: { "x-parts": 10_000 } });
    const old = await raw(child.port, "GET /stream HTTP/1.0\r\nx-parts: 10000\r\n\r\n");
    const broken = once(old.socket, "error");
    const startedMs = performance.now();
    child.signal("SIGTERM");
    await expect(text(answer)).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(await broken).toMatchObject([{ code: "ECONNRESET" }]);
    expect(await child.ended).toEqual([0, null]);
    expect(ago(startedMs)).toBeGreaterThan(190);
    expect(ago(startedMs)).toBeLessThan(3_000);
  });

  it("ends at once after a second signal, whatever is under way", async () => {
    const child = await servingChild({ framework, drainMs: 60_000, graceMs: 60_000 });
    const answer = await answerOf(child.port, "/stream", { headers: { "x-parts": 10_000 } });
    child.signal("SIGTERM");
    await vi.waitFor(async () => expect((await answerOf(child.port, "/health")).statusCode).toBe(503), 5_000);
    const startedMs = performance.now();
    child.signal("SIGINT");
    await expect(text(answer)).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(await child.ended).toEqual([0, null]);
    expect(ago(startedMs)).toBeLessThan(3_000);
  });

  it("answers HTTP/1.0 until the end, and keeps no connection of it", async () => {
    const child = await servingChild({ framework, drainMs: 1_000 });
    const request = "GET /once HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
    const before = await raw(child.port, request);
    expect(before.received).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*connection: keep-alive\r\n/i);
    child.signal("SIGTERM");
    await vi.waitFor(async () => expect((await answerOf(child.port, "/health")).statusCode).toBe(503), 900);
    const after = once(before.socket, "data");
    const ended = once(before.socket, "end");
    before.socket.write(request);
    expect(String(await after)).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*connection: close\r\n/i);
    await ended;
    expect(await child.ended).toEqual([0, null]);
  });

  it.each([
    ["said goodbye to in onDrained, and costs no time", true],
    ["cut after graceMs otherwise", false],
  ])("has a WebSocket that is %s", async (_, goodbye) => {
    const child = await servingChild({ framework, goodbye, graceMs: goodbye ? 60_000 : 300 });
    const socket = new WebSocket(`ws://127.0.0.1:${child.port}`);
    socket.on("error", () => undefined);
    await once(socket, "open");
    const closed = once(socket, "close");
    const startedMs = performance.now();
    child.signal("SIGTERM");
    expect((await closed)[0]).toBe(goodbye ? 1001 : 1006);
    expect(await child.ended).toEqual([0, null]);
    expect(ago(startedMs)).toBeLessThan(3_000);
  });
});

describe("a process that cannot start", { timeout: 30_000 }, () => {
  it("ends with exit code 1 if its port is taken, and says so", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    onTestFinished(() => void other.close());
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    for (const framework of FRAMEWORKS) {
      const child = announcedChild({ framework, port });
      expect(await child.ended).toEqual([1, null]);
      expect(child.complaints()).toContain(`listen EADDRINUSE: address already in use 127.0.0.1:${port}`);
      expect(child.out()).toBe("starting\n");
    }
  });

  it("ends with exit code 1 if it is told to end before it listens, and says so", async () => {
    const child = announcedChild({ listenAfterMs: 60_000 });
    await child.printed(/^starting$/m);
    child.signal("SIGTERM");
    expect(await child.ended).toEqual([1, null]);
    expect(child.complaints()).toContain("ClosedError: the announced server is closed");
    expect(child.out()).not.toMatch(/registered|serving/);
  });
});
