import { once } from "node:events";
import { createServer, connect, type AddressInfo, type Server, type Socket } from "node:net";
import { createServer as createHttpServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type TcpProxy, tcpProxy } from "./tcp-proxy.ts";

/** Long enough to be sure that nothing comes, on a loaded machine too: a wrong byte would be there in under 1 ms. */
const QUIET_MS = 60;

let echo: Server;
let target: { host: string; port: number };
let proxy: TcpProxy;
const atServer: Socket[] = [];

beforeEach(async () => {
  atServer.length = 0;
  echo = createServer((socket) => {
    atServer.push(socket);
    socket.on("error", () => {});
    socket.pipe(socket);
  }).listen(0, "127.0.0.1");
  await once(echo, "listening");
  target = { host: "127.0.0.1", port: (echo.address() as AddressInfo).port };
  proxy = await tcpProxy({ target });
});

afterEach(async () => {
  await proxy.close();
  for (const socket of atServer) socket.destroy();
  echo.close();
});

/** A client connection that collects what it receives. */
async function dial(): Promise<{ socket: Socket; received: () => string; closed: Promise<string> }> {
  const socket = connect(proxy.port, proxy.host);
  let text = "";
  let failure = "end";
  socket.on("data", (chunk) => (text += String(chunk)));
  socket.on("error", (error: NodeJS.ErrnoException) => (failure = error.code ?? error.message));
  const closed = new Promise<string>((resolve) => socket.on("close", () => resolve(failure)));
  await once(socket, "connect");
  return { socket, received: () => text, closed };
}

async function ask(text: string): Promise<string> {
  const { socket, received, closed } = await dial();
  socket.end(text);
  expect(await closed).toBe("end");
  return received();
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(1);
}

describe("tcpProxy", () => {
  it("forwards both ways, half-closed connections too, and counts them", async () => {
    expect(await ask("hello")).toBe("hello");
    const [one, two] = [await dial(), await dial()];
    expect([proxy.mode, proxy.connections, proxy.accepted]).toEqual(["open", 2, 3]);
    one.socket.destroy();
    two.socket.destroy();
    await until(() => proxy.connections === 0);
  });

  it("carries 20 MB unchanged although the client reads slowly", async () => {
    const sent = Buffer.alloc(20 << 20, "rollcall ");
    const { socket } = await dial();
    const chunks: Buffer[] = [];
    socket.removeAllListeners("data").on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      socket.pause();
      setImmediate(() => socket.resume());
    });
    socket.end(sent);
    await once(socket, "end");
    expect(Buffer.concat(chunks).equals(sent)).toBe(true);
  });

  it("serves HTTP by its url", async () => {
    const web = createHttpServer((_request, response) => response.end("fine")).listen(0, "127.0.0.1");
    await once(web, "listening");
    await using front = await tcpProxy({ target: { host: "127.0.0.1", port: (web.address() as AddressInfo).port } });
    expect(await (await fetch(front.url)).text()).toBe("fine");
    web.closeAllConnections();
    web.close();
  });

  it("resets existing connections and refuses new ones when cut, and works again on the same port", async () => {
    const { closed } = await dial();
    const { port } = proxy;
    await proxy.cut();
    expect(await closed).toBe("ECONNRESET");
    await expect(dial()).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect([proxy.mode, proxy.connections]).toEqual(["cut", 0]);
    await proxy.open();
    expect(proxy.port).toBe(port);
    expect(await ask("again")).toBe("again");
  });

  it("freezes existing connections in a hole without closing them, and goes on where it stopped", async () => {
    const { socket, received } = await dial();
    socket.write("before ");
    await until(() => received() === "before ");
    await proxy.hole();
    socket.write("during ");
    await sleep(QUIET_MS);
    expect([received(), socket.closed, proxy.connections]).toEqual(["before ", false, 1]);
    await proxy.open();
    socket.write("after");
    await until(() => received() === "before during after");
    socket.destroy();
  });

  it("accepts new connections in a hole, never answers, and does not even call the target", async () => {
    await proxy.hole();
    const { socket, received } = await dial();
    socket.write("anybody there?");
    await sleep(QUIET_MS);
    expect([received(), socket.closed, proxy.connections, atServer.length]).toEqual(["", false, 1, 0]);
    await proxy.open();
    await until(() => received() === "anybody there?");
    socket.destroy();
  });

  it("hides from a client in a hole that the server has gone, until it opens", async () => {
    const { socket, closed } = await dial();
    socket.write("x");
    await until(() => atServer.length === 1);
    await proxy.hole();
    atServer[0]?.resetAndDestroy();
    await sleep(QUIET_MS);
    expect(socket.closed).toBe(false);
    await proxy.open();
    expect(await closed).toBe("ECONNRESET");
  });

  it("turns a hole into a cut and back", async () => {
    await proxy.hole();
    const { closed } = await dial();
    await proxy.cut();
    expect(await closed).toBe("ECONNRESET");
    await proxy.hole();
    const { socket } = await dial();
    await sleep(QUIET_MS);
    expect(socket.closed).toBe(false);
    socket.destroy();
  });

  it("resets clients when nothing listens at the target", async () => {
    await using nowhere = await tcpProxy({ target: { host: "127.0.0.1", port: 1 } });
    await expect(fetch(nowhere.url)).rejects.toMatchObject({ cause: { code: "ECONNRESET" } });
  });

  it("delays what the server sends, in order, and catches up when it is open again", async () => {
    await proxy.delay(80);
    const { socket, received } = await dial();
    const startedMs = performance.now();
    socket.write("one ");
    await until(() => received() === "one ");
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(79);
    socket.write("two ");
    await sleep(10);
    await proxy.open();
    socket.end("three");
    await until(() => received() === "one two three");
  });

  it("ends a connection in the middle of an answer when truncating, each by its own count", async () => {
    const old = await dial();
    old.socket.write("0123456789");
    await until(() => old.received() === "0123456789");
    await proxy.truncate(4);
    const young = await dial();
    old.socket.write("abcdefgh");
    young.socket.write("ABCDEFGH");
    expect([await old.closed, old.received()]).toEqual(["end", "0123456789abcd"]);
    expect([await young.closed, young.received()]).toEqual(["end", "ABCD"]);
    await proxy.open();
    expect(await ask("whole again")).toBe("whole again");
  });

  it("makes overlapping changes in the order they were asked for", async () => {
    await Promise.all([proxy.cut(), proxy.open(), proxy.cut(), proxy.open()]);
    expect(proxy.mode).toBe("open");
    expect(await ask("still here")).toBe("still here");
  });

  it("frees its port and its connections on close, is closed once, and refuses to be used again", async () => {
    const { closed } = await dial();
    const closing = proxy.close();
    expect(proxy.close()).toBe(closing);
    await closing;
    expect(await closed).toBe("ECONNRESET");
    await expect(dial()).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await expect(proxy.open()).rejects.toMatchObject({ code: "CLOSED" });
  });

  it("listens on the port it was given, or rejects if it is taken", async () => {
    await expect(tcpProxy({ target, port: proxy.port })).rejects.toMatchObject({ code: "EADDRINUSE" });
  });

  it.each([
    [{}, "target"],
    [{ target: { host: "127.0.0.1", port: 0 } }, "target.port"],
    [{ target: { host: "", port: 80 } }, "target.host"],
    [{ target: { host: "127.0.0.1", port: 80 }, port: 70_000 }, "port"],
    [{ target: { host: "127.0.0.1", port: 80 }, prot: 80 }, "prot"],
  ])("refuses the options %j", async (options, path) => {
    await expect(tcpProxy(options as Parameters<typeof tcpProxy>[0])).rejects.toMatchObject({
      code: "INVALID_OPTION",
      path,
    });
  });

  it("refuses impossible delays and counts", async () => {
    await expect(proxy.delay(-1)).rejects.toMatchObject({ path: "delayMs" });
    await expect(proxy.truncate(1.5)).rejects.toMatchObject({ path: "bytes" });
  });
});
