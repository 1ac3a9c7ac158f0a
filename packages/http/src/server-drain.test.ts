import { type IncomingMessage, type RequestListener, type Server, createServer, request } from "node:http";
import { type AddressInfo, type Socket, connect } from "node:net";
import { once } from "node:events";
import { Agent } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { manualClock } from "@rollcall/testing";
import { afterEach, describe, expect, it, vi } from "vitest";
import { isDraining, serverDrain } from "./server-drain.ts";

const servers: Server[] = [];
const agents: Agent[] = [];

async function listen(listener: RequestListener): Promise<{ server: Server; port: number }> {
  const server = createServer(listener);
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, port: (server.address() as AddressInfo).port };
}

function keepAliveAgent(): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  agents.push(agent);
  return agent;
}

async function get(port: number, agent: Agent): Promise<{ body: string; connection: string | undefined }> {
  const outgoing = request({ port, host: "127.0.0.1", agent });
  outgoing.on("error", () => undefined); // comes with a reset besides the answer's own
  outgoing.end();
  const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
  let body = "";
  for await (const chunk of answer) body += String(chunk);
  return { body, connection: answer.headers.connection };
}

async function open(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  return socket;
}

afterEach(() => {
  for (const agent of agents.splice(0)) agent.destroy();
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

describe("serverDrain", () => {
  it("is one per server", async () => {
    const { server } = await listen((_, response) => response.end());
    expect(serverDrain(server)).toBe(serverDrain(server));
  });

  it("goes on serving after it began, and asks each client to leave with its answer", async () => {
    const { server, port } = await listen((_, response) => response.end("served"));
    const drain = serverDrain(server);
    const agent = keepAliveAgent();
    expect((await get(port, agent)).connection).toBe("keep-alive");
    drain.begin();
    drain.begin();
    expect(await get(port, agent)).toEqual({ body: "served", connection: "close" });
    expect(await get(port, agent)).toEqual({ body: "served", connection: "close" });
  });

  it("speaks before a handler that writes its headers at once", async () => {
    const { server, port } = await listen((_, response) => response.writeHead(200, { "content-length": 2 }).end("ok"));
    serverDrain(server).begin();
    expect((await get(port, keepAliveAgent())).connection).toBe("close");
  });

  it("tells a request whether its server is draining", async () => {
    const { server, port } = await listen((incoming, response) => response.end(String(isDraining(incoming))));
    const agent = keepAliveAgent();
    expect((await get(port, agent)).body).toBe("false");
    expect(isDraining(server)).toBe(false);
    serverDrain(server).begin();
    expect((await get(port, agent)).body).toBe("true");
    expect(isDraining(server)).toBe(true);
  });

  it("is quiet when nothing has come for 50 ms", async () => {
    const clock = manualClock();
    const { server, port } = await listen((_, response) => response.end("served"));
    const drain = serverDrain(server, { env: clock.env });
    const agent = keepAliveAgent();
    let quiet = false;
    const waiting = drain.quiet().then(() => (quiet = true));
    for (let n = 0; n < 5; n++) {
      await clock.advance(49);
      await get(port, agent);
      expect(quiet).toBe(false);
    }
    // Timers are armed anew some turns after the last one.
    while (!quiet) await clock.advance(1).then(() => new Promise((resolve) => setImmediate(resolve)));
    await waiting;
    expect(clock.now()).toBeGreaterThanOrEqual(5 * 49 + 50);
    expect((await get(port, agent)).body).toBe("served");
  });

  it("does not wait for quiet longer than 500 ms, nor after an abort", async () => {
    const clock = manualClock();
    const { server, port } = await listen((_, response) => response.end("served"));
    const drain = serverDrain(server, { env: clock.env });
    const agent = keepAliveAgent();
    let quiet = false;
    const waiting = drain.quiet().then(() => (quiet = true));
    while (!quiet && clock.now() < 2_000) {
      await clock.advance(20);
      await get(port, agent);
    }
    await waiting;
    expect(clock.now()).toBeGreaterThanOrEqual(500);
    expect(clock.now()).toBeLessThan(600);
    await drain.quiet({ signal: AbortSignal.abort() });
    const controller = new AbortController();
    const aborted = drain.quiet({ signal: controller.signal });
    controller.abort();
    await aborted;
  });

  it("reads what had been sent while the process was too busy to look", async () => {
    const { server, port } = await listen((_, response) => response.end("served"));
    const drain = serverDrain(server);
    drain.begin();
    const answers = [get(port, keepAliveAgent()), get(port, keepAliveAgent())];
    const stopping = drain.quiet().then(() => drain.stop({ graceMs: 1_000 }));
    for (const untilMs = performance.now() + 150; performance.now() < untilMs;);
    expect((await Promise.all(answers)).map((answer) => answer.body)).toEqual(["served", "served"]);
    await stopping;
  });

  it("accepts everybody who has connected before it stops, though it never became quiet", async () => {
    const clock = manualClock();
    const { server, port } = await listen((_, response) => response.end("served"));
    const drain = serverDrain(server, { env: clock.env });
    const stopping = drain.quiet().then(() => drain.stop({ graceMs: 1_000 }));
    // Connected and written by the system, while this process has not accepted one yet.
    const answers = Array.from({ length: 100 }, () => get(port, keepAliveAgent()));
    await clock.advance(600);
    expect((await Promise.all(answers)).every(({ body }) => body === "served")).toBe(true);
    await stopping;
  });

  it("stops listening before it closes idle connections, of which there may be many", async () => {
    const { server, port } = await listen((_, response) => response.end("served"));
    const drain = serverDrain(server);
    const destroyed = new Promise<boolean>((resolve) => {
      server.once("connection", (socket: Socket) => {
        const destroy = socket.destroy.bind(socket);
        socket.destroy = (error) => {
          resolve(server.listening);
          return destroy(error);
        };
      });
    });
    await get(port, keepAliveAgent());
    const stopped = drain.stop({ graceMs: 1_000 });
    expect(await destroyed).toBe(false);
    await stopped;
  });

  it("serves what is on its way on an idle connection while requests still come", async () => {
    const { server, port } = await listen((_, response) => response.end("served"));
    const drain = serverDrain(server);
    const agent = keepAliveAgent();
    await get(port, agent);
    drain.begin();
    await get(port, keepAliveAgent());
    const stopped = drain.stop({ graceMs: 10_000 });
    // Written before the server was told, and read after.
    expect((await get(port, agent)).body).toBe("served");
    await stopped;
  });

  it("stops at once when only idle connections are left", async () => {
    const { server, port } = await listen((_, response) => response.end("ok"));
    const drain = serverDrain(server);
    await get(port, keepAliveAgent());
    const startedMs = performance.now();
    await drain.stop({ graceMs: 60_000 });
    expect(performance.now() - startedMs).toBeLessThan(500);
    expect(server.listening).toBe(false);
  });

  it("lets a request under way finish, and does not keep its connection", async () => {
    let finish = (): void => undefined;
    const { server, port } = await listen((_, response) => {
      response.write("first,");
      finish = () => response.end("last");
    });
    const drain = serverDrain(server);
    const answer = get(port, keepAliveAgent());
    await once(server, "request");
    let stopped = false;
    const stopping = drain.stop({ graceMs: 60_000 }).then(() => (stopped = true));
    await expect(open(port)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect(stopped).toBe(false);
    finish();
    const finishedMs = performance.now();
    expect((await answer).body).toBe("first,last");
    await stopping;
    // Its answer had begun before the drain, as keep-alive: without the sweep the connection would stay for 5 s.
    expect(performance.now() - finishedMs).toBeLessThan(1_000);
  });

  it.each(["stop", "the framework's own close"])(
    "lets an answer leave whole that was ended before the %s",
    async (how) => {
      const size = 20_000_000; // more than the system takes at once
      const { server, port } = await listen((_, response) => response.end(Buffer.alloc(size)));
      const drain = serverDrain(server);
      const client = await open(port);
      client.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
      await once(server, "request");
      drain.begin();
      const stopped = how === "stop" ? drain.stop({ graceMs: 60_000 }) : once(server, "close");
      if (how !== "stop") {
        server.close();
        drain.sweep();
      }
      await new Promise((resolve) => setTimeout(resolve, 250)); // the client takes its time
      let received = 0;
      for await (const chunk of client) received += (chunk as Buffer).length;
      expect(received).toBeGreaterThan(size);
      await stopped;
    },
  );

  it("breaks off an answer that only the end of its connection would delimit, so that it cannot look whole", async () => {
    const { server, port } = await listen((_, response) => response.write("the first half"));
    const drain = serverDrain(server);
    const client = await open(port);
    const failed = once(client, "error");
    client.write("GET / HTTP/1.0\r\nhost: x\r\n\r\n");
    await once(client, "data");
    const ended = vi.fn();
    client.on("end", ended).resume();
    await drain.stop({ graceMs: 50 });
    expect(await failed).toMatchObject([{ code: "ECONNRESET" }]);
    expect(ended).not.toHaveBeenCalled();
  });

  it("cuts off connections of a Unix socket as well", async () => {
    const path = join(tmpdir(), `drain-${process.pid}.sock`);
    const server = createServer((_, response) => response.write("never ends")).listen(path);
    servers.push(server);
    const drain = serverDrain(server);
    const client = connect(path);
    const closed = once(client, "close");
    client.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    await once(client, "data");
    client.resume();
    await drain.stop({ graceMs: 50 });
    await closed;
  });

  it("cuts off what is still under way after the grace period", async () => {
    const { server, port } = await listen((_, response) => response.write("never ends"));
    const drain = serverDrain(server);
    const answer = get(port, keepAliveAgent());
    const failed = expect(answer).rejects.toMatchObject({ code: "ECONNRESET" });
    await once(server, "request");
    await drain.stop({ graceMs: 50 });
    await failed;
  });

  it("cuts off upgraded connections too, which Node does not count as its own", async () => {
    const { server, port } = await listen((_, response) => response.end());
    const drain = serverDrain(server);
    server.on("upgrade", (_, socket) => socket.write("HTTP/1.1 101 Switching Protocols\r\n\r\n"));
    const client = await open(port);
    client.write("GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: test\r\n\r\n");
    await once(client, "data");
    const broken = once(client, "error");
    await drain.stop({ graceMs: 50 });
    expect(await broken).toMatchObject([{ code: "ECONNRESET" }]);
  });

  it("cuts off at once when the signal aborts, before or meanwhile", async () => {
    for (const early of [true, false]) {
      const { server, port } = await listen((_, response) => response.write("never ends"));
      const answer = get(port, keepAliveAgent());
      const failed = expect(answer).rejects.toMatchObject({ code: "ECONNRESET" });
      await once(server, "request");
      const controller = new AbortController();
      if (early) controller.abort();
      const stopping = serverDrain(server).stop({ graceMs: Infinity, signal: controller.signal });
      controller.abort();
      await stopping;
      await failed;
    }
  });

  it("does not wait for connections that were opened ahead of need", async () => {
    const { server, port } = await listen((_, response) => response.end());
    const drain = serverDrain(server);
    const silent = await open(port);
    const closed = once(silent, "close");
    await drain.stop({ graceMs: 60_000 });
    await closed;
  }, 3_000);

  it("resolves for a server that never listened or was closed by somebody else", async () => {
    await serverDrain(createServer()).stop({ graceMs: 1_000 });
    const { server } = await listen((_, response) => response.end());
    const drain = serverDrain(server);
    server.close();
    await drain.stop({ graceMs: 1_000 });
    await drain.stop({ graceMs: 1_000 });
  });

  it("closes connections left over by a framework that closes the server itself", async () => {
    let finish = (): void => undefined;
    const { server, port } = await listen((_, response) => {
      response.write("first,");
      finish = () => response.end("last");
    });
    const drain = serverDrain(server);
    const answer = get(port, keepAliveAgent());
    await once(server, "request");
    drain.begin();
    drain.sweep();
    drain.sweep();
    const closed = once(server, "close");
    server.close();
    finish();
    const finishedMs = performance.now();
    await answer;
    await closed;
    expect(performance.now() - finishedMs).toBeLessThan(1_000);
  });
});
