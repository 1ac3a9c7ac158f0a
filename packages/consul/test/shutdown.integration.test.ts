import { spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, type Socket, connect } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { type TcpProxy, tcpProxy } from "@rollcall/testing";
import { type TestServer, serverSkipped, startConsul } from "@rollcall/testing/servers";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { closeAfterwards, newService, pause, until } from "../../testing/test/backend.ts";
import { ask } from "./consul.ts";

/** What a leaver closes; "nothing" is one that forgets to. */
const THINGS = ["registry", "instancer", "client", "registrar", "nothing"] as const;

interface Said {
  readonly registered?: boolean;
  readonly closedInMs?: number;
  readonly left?: readonly string[];
}

/** A process that runs `leaver.ts`. */
function leaver(url: string, service: string, closes: string) {
  const script = fileURLToPath(new URL("leaver.ts", import.meta.url));
  const child = spawn(
    process.execPath,
    ["--conditions=@rollcall/source", "--no-warnings", script, url, service, closes],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const said: (Said & { readonly atMs: number })[] = [];
  createInterface(child.stdout).on("line", (line) => {
    said.push({ ...(JSON.parse(line) as Said), atMs: performance.now() });
  });
  const exited = once(child, "exit").then(([code, signal]) => ({ code, signal, atMs: performance.now() }));
  return {
    said,
    kill: () => child.kill("SIGKILL"),
    /** Tells it to leave; how it did. */
    async leave() {
      const toldMs = performance.now();
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), 15_000);
      const { code, signal, atMs } = await exited;
      clearTimeout(late);
      const closed = said.find(({ closedInMs }) => closedInMs !== undefined);
      return {
        closes,
        ending: [code, signal],
        closedInMs: closed?.closedInMs ?? Infinity,
        left: closed?.left,
        // Once it was closed; one that forgets to has nothing to wait for either.
        outInMs: atMs - (closed?.atMs ?? toldMs),
      };
    },
  };
}

/** An address where connecting neither succeeds nor fails: somebody listens there, but has no room for more. */
async function unconnectable() {
  const worker = new Worker(
    `const { parentPort } = require("node:worker_threads");
    const server = require("node:net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
      parentPort.postMessage(server.address());
      setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
    });`,
    { eval: true },
  );
  const [{ port }] = (await once(worker, "message")) as [AddressInfo];
  await pause(100);
  const fillers: Socket[] = [];
  for (let full = false; !full;) {
    const socket = connect(port, "127.0.0.1").on("error", () => undefined);
    fillers.push(socket);
    full = await Promise.race([once(socket, "connect").then(() => false), pause(500).then(() => true)]);
  }
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of fillers) socket.destroy();
      await worker.terminate();
    },
  };
}

describe.skipIf(serverSkipped("consul"))("a process that leaves", () => {
  let consul: TestServer;
  let proxy: TcpProxy;
  const leavers: ReturnType<typeof leaver>[] = [];
  beforeAll(async () => {
    consul = await startConsul({ faults: ["kill", "freeze"], keepData: false });
  });
  closeAfterwards(() => consul?.close());
  beforeEach(async () => {
    proxy = await tcpProxy({ target: { host: consul.host, port: consul.port } });
  });
  afterEach(async () => {
    for (const each of leavers.splice(0)) each.kill();
    await consul.thaw();
    await consul.start();
    await proxy.close();
  });

  const start = (service: string, url = proxy.url) => {
    const started = THINGS.map((thing) => leaver(url, service, thing));
    leavers.push(...started);
    return started;
  };
  /** Tells them all to leave; nobody may take long, and nothing may be left. */
  const expectGood = async (started: readonly ReturnType<typeof leaver>[], outWithinMs = 1_000) => {
    const endings = await Promise.all(started.map((each) => each.leave()));
    for (const ending of endings) {
      expect(ending).toMatchObject({ ending: [0, null] });
      expect(ending.closedInMs, JSON.stringify(ending)).toBeLessThan(3_000);
      expect(ending.outInMs, JSON.stringify(ending)).toBeLessThan(outWithinMs);
      if (outWithinMs === 1_000) expect(ending).toMatchObject({ left: [] });
    }
  };
  const FAULTS: readonly (readonly [string, () => Promise<unknown> | undefined])[] = [
    ["is well", () => undefined],
    ["is dead", () => consul.kill()],
    ["is frozen", () => consul.freeze()],
    ["is cut off", () => proxy.cut()],
    ["is behind a hole", () => proxy.hole()],
    ["takes two seconds for each answer", () => proxy.delay(2_000)],
  ];

  it.each(FAULTS)("in the middle of polls and renewals, while Consul %s, is gone at once", async (_, fault) => {
    const service = newService();
    const started = start(service);
    await until("all are registered", () => started.every(({ said }) => said.some((each) => each.registered)), 20_000);
    await fault();
    await pause(1_500); // renewals are due every second
    await expectGood(started);
  });

  it.each(FAULTS)("in the middle of connecting and registering, while Consul %s, is gone soon", async (_, fault) => {
    await fault();
    const started = start(newService());
    await until("all have started", () => started.every(({ said }) => said.length > 0), 20_000);
    await pause(100);
    // Whoever did not end the registration waits for its first try, which is awaited, but for nothing else.
    await expectGood(started, 6_000);
  });

  it("that cannot even connect is gone soon", async () => {
    await using nowhere = await unconnectable();
    const started = start(newService(), nowhere.url);
    await until("all have started", () => started.every(({ said }) => said.length > 0), 20_000);
    await pause(100);
    // Node stays for a connection that is being made. Of one that watches and announces, one or the other always tries to.
    await expectGood(
      started.filter((_, n) => THINGS[n] !== "nothing"),
      6_000,
    );
  });

  it("is not in Consul any more when it closed its registry or its registrar", async () => {
    const service = newService();
    const started = start(service);
    await until("all are registered", () => started.every(({ said }) => said.some((each) => each.registered)), 20_000);
    await Promise.all(started.map((each) => each.leave()));
    const entries = await ask<readonly { Service: { ID: string } }[]>(consul.url, `/health/service/${service}`);
    const ids = entries.map(({ Service }) => Service.ID.slice(service.length + 1));
    expect(ids.toSorted()).toEqual(["client", "instancer", "nothing"]);
  });
});
