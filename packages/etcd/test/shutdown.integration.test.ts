import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type Socket, connect } from "node:net";
import { type TcpProxy, tcpProxy } from "@rollcall/testing";
import { type TestServer, serverSkipped, startEtcd } from "@rollcall/testing/servers";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { etcdRegistry } from "../src/index.ts";
import { closeAfterwards, follow, newService, pause, run, timed, until } from "../../testing/test/backend.ts";

/** A port of this machine that drops every packet: its process stands still, and its queue of connections is full. */
async function dropper() {
  const script =
    "require('net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () { console.log(this.address().port) })";
  const child: ChildProcess = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  if (child.stdout === null) return expect.unreachable();
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  child.kill("SIGSTOP");
  const port = Number(line);
  const fillers: Socket[] = [];
  for (let pending = false; !pending;) {
    const socket = connect({ port, host: "127.0.0.1" }).on("error", () => undefined);
    fillers.push(socket);
    pending = !(await Promise.race([once(socket, "connect"), pause(300)]));
    if (fillers.length > 50) expect.unreachable("the queue is never full");
  }
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of fillers) socket.destroy();
      child.kill("SIGKILL");
    },
  };
}

describe.skipIf(serverSkipped("etcd"))("a process with an etcd registry", () => {
  let etcd: TestServer;
  let proxy: TcpProxy;
  beforeAll(async () => {
    etcd = await startEtcd({ faults: ["kill", "freeze"] });
  });
  closeAfterwards(() => etcd?.close());
  beforeEach(async () => {
    await etcd.thaw();
    await etcd.start();
    proxy = await tcpProxy({ target: { host: etcd.host, port: etcd.port } });
  });
  afterEach(async () => {
    await etcd.thaw();
    await proxy.close();
  });

  /** Everything in use, and well. */
  const using = (url: string): string => `
    import { etcdRegistry } from "@rollcall/etcd";
    const registry = etcdRegistry({ url: ${JSON.stringify(url)}, ttlMs: 6_000 });
    const instancer = registry.instancer("lorem");
    instancer.subscribe(() => undefined);
    const registrar = registry.registrar({ service: "lorem", host: "h", port: 80 });`;
  const close = `
    const startMs = performance.now();
    await registry.close();
    say("closed " + Math.round(performance.now() - startMs));`;
  const faults: readonly (readonly [string, () => Promise<void>])[] = [
    ["is well", async () => undefined],
    ["was killed", () => etcd.kill()],
    ["is frozen", () => etcd.freeze()],
    ["cannot be reached", () => proxy.hole()],
  ];

  const expectClosed = (ending: Awaited<ReturnType<typeof run>>): void => {
    expect(ending).toMatchObject({ code: 0, stderr: "", stdout: expect.stringMatching(/^(?:fault\n)?closed \d+\n$/) });
    expect(Number(/closed (\d+)/.exec(ending.stdout)?.[1])).toBeLessThan(3_000);
    expect(ending.lingeredMs).toBeLessThan(500);
  };

  describe.each(faults)("whose etcd %s", (_, fault) => {
    it("closes while it connects", async () => {
      await fault();
      expectClosed(await run(`${using(proxy.url)} void registrar.register(); await pause(100); ${close}`));
    });

    it("closes in the middle of watching and renewing", async () => {
      expectClosed(
        await run(
          `${using(proxy.url)} await registrar.register(); say("fault"); await pause(2_500); ${close}`,
          (line) => line === "fault" && fault(),
        ),
      );
    });

    it("closes in the middle of listing, registering and deregistering", async () => {
      expectClosed(
        await run(
          `${using(proxy.url)}
          await registrar.register();
          say("fault");
          await pause(300);
          for (let port = 1; port <= 20; port++) {
            registry.instancer("lorem-" + port).subscribe(() => undefined);
            void registry.registrar({ service: "lorem", host: "h", port }).register();
          }
          registrar.deregister().catch(() => undefined);
          ${close}`,
          (line) => line === "fault" && fault(),
        ),
      );
    });

    it("ends by itself although it forgot to close", async () => {
      const ending = await run(
        `${using(proxy.url)} await registrar.register(); say("fault"); await pause(1_000); say("done");`,
        (line) => line === "fault" && fault(),
      );
      expect(ending).toMatchObject({ code: 0, stderr: "", stdout: "fault\ndone\n" });
      expect(ending.lingeredMs).toBeLessThan(6_000);
    });

    it("ends by itself although it forgot to close, and never came to know a thing", async () => {
      await fault();
      const ending = await run(`${using(proxy.url)} void registrar.register(); say("done");`);
      expect(ending).toMatchObject({ code: 0, stderr: "", stdout: "done\n" });
      expect(ending.lingeredMs).toBeLessThan(8_000);
    });
  });

  it("ends at once although it forgot to close, if etcd is well or dead", async () => {
    const well = await run(`${using(proxy.url)} await registrar.register(); await pause(200); say("done");`);
    expect(well.lingeredMs).toBeLessThan(500);
    await proxy.cut();
    const dead = await run(
      `${using(proxy.url)} await registrar.register().catch(() => undefined); await pause(1_000); say("done");`,
    );
    expect(dead.lingeredMs).toBeLessThan(500);
  });

  it("is not held by a host that drops packets: neither when it closes, nor when it forgets to", async () => {
    await using nowhere = await dropper();
    expectClosed(await run(`${using(nowhere.url)} void registrar.register(); await pause(2_500); ${close}`));
    const ending = await run(`${using(nowhere.url)} void registrar.register(); await pause(2_500); say("done");`);
    expect(ending).toMatchObject({ code: 0, stderr: "", stdout: "done\n" });
    expect(ending.lingeredMs).toBeLessThan(8_000);
  });

  it("finds the living one of two hosts although the other drops packets", async () => {
    await using nowhere = await dropper();
    for (const hosts of [
      [nowhere.url, etcd.url],
      [etcd.url, nowhere.url],
    ]) {
      await using registry = etcdRegistry({ hosts });
      const seen = follow(registry.instancer(newService()));
      await seen.shows([], 1_000);
    }
  });

  it("leaves no connection when it is closed at any moment", async () => {
    for (let n = 0; n < 60; n++) {
      const registry = etcdRegistry({ url: proxy.url });
      follow(registry.instancer("lorem"));
      void registry.registrar({ service: "lorem", host: "h", port: 80 }).register();
      await pause(n);
      expect(await timed(registry.close())).toBeLessThan(1_000);
      await until("no connection is left", () => proxy.connections === 0, 200);
    }
  });
});
