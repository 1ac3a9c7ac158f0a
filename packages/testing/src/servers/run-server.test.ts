import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { freePort } from "../free-port.ts";
import { etcdKind } from "./etcd.ts";
import { probeRequest } from "./probe-request.ts";
import { processMachine } from "./process-machine.ts";
import { runServer } from "./run-server.ts";
import type { ServerKind } from "./server-kind.ts";
import type { TestServer } from "./test-server.ts";

/** A real server in 10 lines, so that the machinery is tested without waiting for elections: it counts its starts in a file. */
const SCRIPT = `
const { existsSync, readFileSync, writeFileSync } = require("node:fs");
const [port, dataDir, ...flags] = process.argv.slice(1);
if (flags.includes("crash")) { console.error("cannot go on: address already sold"); process.exit(3); }
const file = dataDir + "/starts";
const starts = 1 + Number(existsSync(file) ? readFileSync(file, "utf8") : 0);
writeFileSync(file, String(starts));
if (flags.includes("stubborn")) process.on("SIGTERM", () => console.log("never"));
console.log("start " + starts + " in " + dataDir);
require("node:http").createServer((_, answer) => answer.end(JSON.stringify(starts))).listen(port, "127.0.0.1");
`;

const kind: ServerKind = {
  ...etcdKind(),
  name: "counter",
  ports: ["client"],
  command: ({ ports, dataDir }) => Promise.resolve(["-e", SCRIPT, String(ports["client"]), dataDir]),
  probe: async (url, signal) => void (await probeRequest(url, { signal })),
};

const open: TestServer[] = [];

async function start(args: string[] = [], startTimeoutMs = 10_000, keepData = true): Promise<TestServer> {
  const port = await freePort();
  const machine = await processMachine({ kind, binary: process.execPath, ports: { client: port }, keepData, args });
  const { probe } = kind;
  const server = await runServer({
    name: "counter",
    via: "binary",
    host: "127.0.0.1",
    port,
    machine,
    startTimeoutMs,
    probe,
  });
  open.push(server);
  return server;
}

const starts = (server: TestServer): Promise<unknown> =>
  probeRequest(server.url, { signal: AbortSignal.timeout(5_000) });
const dataDirOf = (server: TestServer): string => / in (.*)\n/.exec(server.log())?.[1] ?? "";

afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

describe.skipIf(process.platform === "win32")("runServer", () => {
  it("resolves when the server answers, and tells about it", async () => {
    const server = await start();
    expect(await starts(server)).toBe(1);
    expect(server).toMatchObject({ name: "counter", via: "binary", running: true, faults: ["kill", "freeze", "wipe"] });
    expect(server.url).toBe(`http://127.0.0.1:${server.port}`);
    expect(server.pid).toBeGreaterThan(0);
    expect(server.log()).toContain("start 1");
  });

  it("kills it, and starts it again on the same port with its data", async () => {
    const server = await start();
    await server.kill();
    expect([server.running, server.pid]).toEqual([false, undefined]);
    await expect(starts(server)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await server.kill();
    await server.start();
    await server.start();
    expect([await starts(server), server.running]).toEqual([2, true]);
    await server.restart({ wipe: false });
    expect(await starts(server)).toBe(3);
  });

  it("wipes its data, but only while it does not run", async () => {
    const server = await start();
    await expect(server.wipe()).rejects.toThrow("counter runs");
    await server.restart({ wipe: true });
    expect(await starts(server)).toBe(1);
    await server.stop();
    await server.wipe();
    await server.start();
    expect(await starts(server)).toBe(1);
  });

  it("puts older data back in the place of newer ones, as often as wanted", async () => {
    const server = await start();
    await expect(server.save()).rejects.toThrow("counter runs");
    await server.kill();
    await expect(server.restore()).rejects.toThrow("no data of counter were saved");
    await server.save();
    for (const round of [2, 3]) {
      await server.start();
      await server.restart({ wipe: false });
      expect(await starts(server), `round ${round}`).toBe(3);
      await expect(server.restore()).rejects.toThrow("counter runs");
      await server.kill();
      await server.restore();
    }
    await server.start();
    expect(await starts(server)).toBe(2);
    const folder = join(dataDirOf(server), "..");
    await server.close();
    expect(existsSync(folder)).toBe(false);
  });

  it("keeps no data over a restart if it was told so", async () => {
    const server = await start([], 10_000, false);
    await server.restart({ wipe: false });
    expect(await starts(server)).toBe(1);
  });

  it("stops a stubborn one after 3 s, a frozen one at once", async () => {
    const [stubborn, frozen] = [await start(["stubborn"]), await start()];
    await frozen.freeze();
    let startedMs = performance.now();
    await frozen.stop();
    expect(performance.now() - startedMs).toBeLessThan(2_500);
    startedMs = performance.now();
    await stubborn.stop();
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(2_990);
    expect([stubborn.running, stubborn.log()]).toEqual([false, expect.stringContaining("never")]);
  }, 15_000);

  it("freezes it so that nobody answers, and thaws it so that the answer comes", async () => {
    const server = await start();
    await server.freeze();
    let answered = false;
    const answer = starts(server).then((value) => {
      answered = true;
      return value;
    });
    await sleep(100);
    expect(answered).toBe(false);
    await server.thaw();
    expect(await answer).toBe(1);
  });

  it("fails at once, with the log, if the server ends while it starts", async () => {
    const startedMs = performance.now();
    await expect(start(["crash"], 60_000)).rejects.toThrow(
      /^counter did not start: ended at once \(exit code 3\)\. Its log:\ncannot go on: address already sold\n/,
    );
    expect(performance.now() - startedMs).toBeLessThan(10_000);
  });

  it("gives up after its time, with the last thing that was missing", async () => {
    const never = { ...kind, probe: () => Promise.reject(new Error("no leader")) };
    const port = await freePort();
    const machine = await processMachine({
      kind,
      binary: process.execPath,
      ports: { client: port },
      keepData: true,
      args: [],
    });
    const options = { name: "counter", via: "binary", host: "127.0.0.1", port, machine } as const;
    await expect(runServer({ ...options, startTimeoutMs: 300, probe: never.probe })).rejects.toThrow(
      "counter did not start: getting ready (last: no leader) timed out after 300 ms. Its log:\n",
    );
    expect(machine.pid).toBeUndefined();
  });

  it("says what it could not run", async () => {
    const port = await freePort();
    const machine = await processMachine({
      kind,
      binary: "/nowhere",
      ports: { client: port },
      keepData: true,
      args: [],
    });
    const { probe } = kind;
    const options = { name: "counter", via: "binary", host: "127.0.0.1", port, machine, probe } as const;
    await expect(runServer({ ...options, startTimeoutMs: 1_000 })).rejects.toThrow("cannot run /nowhere");
  });

  it("starts once, however many ask for it at the same time", async () => {
    const server = await start();
    await server.kill();
    await Promise.all([server.start(), server.start(), server.start()]);
    expect(await starts(server)).toBe(2);
  });

  it("leaves nothing running when it is closed in the middle of a start", async () => {
    const server = await start();
    await server.kill();
    const starting = server.start();
    await Promise.all([expect(starting).rejects.toThrow("counter did not start: closed meanwhile"), server.close()]);
    expect([server.running, server.pid]).toEqual([false, undefined]);
    await expect(starts(server)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("notices by itself that the server has ended", async () => {
    const server = await start();
    process.kill(server.pid ?? 0, "SIGKILL");
    while (server.running) await sleep(5);
    await server.start();
    expect(await starts(server)).toBe(2);
  });

  it("ends it and deletes its data on close, once, and starts no more", async () => {
    const server = await start();
    const dataDir = dataDirOf(server);
    expect(existsSync(dataDir)).toBe(true);
    const closing = server.close();
    expect(server.close()).toBe(closing);
    await closing;
    expect([existsSync(dataDir), server.running]).toEqual([false, false]);
    await expect(server.start()).rejects.toThrow("counter is closed");
  });
});
