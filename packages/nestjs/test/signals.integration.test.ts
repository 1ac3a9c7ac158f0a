import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it, vi } from "vitest";
import { ADAPTERS, freePort } from "./application.ts";
import type { ChildSettings } from "./child-app.ts";

const script = fileURLToPath(new URL("child-app.ts", import.meta.url));

/** An application in a process of its own. */
interface Child {
  readonly url: string;
  /** What it has told, in order. */
  readonly told: readonly string[];
  /** Resolves when it has told this, with the detail. */
  heard(what: string): Promise<unknown>;
  signal(name: NodeJS.Signals): void;
  /** How it ended: an exit code, or a signal. */
  readonly ended: Promise<number | NodeJS.Signals | null>;
}

const children: { kill(signal: NodeJS.Signals): boolean }[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

function start(settings: ChildSettings): Child {
  const child = spawn(process.execPath, [script, JSON.stringify(settings)], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  const told: string[] = [];
  const details = new Map<string, unknown>();
  createInterface({ input: child.stdout }).on("line", (line) => {
    const [what, detail] = JSON.parse(line) as [string, unknown];
    told.push(what);
    details.set(what, detail);
  });
  return {
    told,
    get url() {
      return `http://127.0.0.1:${String(details.get("listening"))}`;
    },
    async heard(what) {
      await vi.waitFor(() => expect(told).toContain(what), 15_000);
      return details.get(what);
    },
    signal: (name) => void child.kill(name),
    ended: once(child, "close").then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals | null),
  };
}

/** What comes of a request that hangs in the middle of its answer. */
const hung = (url: string): Promise<string> =>
  fetch(`${url}/hang`)
    .then((answer) => answer.text())
    .catch(() => "cut");

describe.each(ADAPTERS)("signals on %s", (on) => {
  it("SIGTERM: not ready, deregistered, served on, server closed, registry closed, and the process ends", async () => {
    const child = start({ on, drainMs: 1_000 });
    await Promise.all(["listening", "registered"].map(child.heard));
    expect((await fetch(`${child.url}/health`)).status).toBe(200);
    child.signal("SIGTERM");
    const startedMs = performance.now();
    await child.heard("deregistered");
    expect((await fetch(`${child.url}/health`)).status).toBe(503);
    const word = await fetch(`${child.url}/word`);
    expect([word.status, await word.text(), word.headers.get("connection")]).toEqual([200, "lorem", "close"]);
    expect(await child.ended).toBe("SIGTERM");
    expect(performance.now() - startedMs).toBeGreaterThan(900);
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    expect(child.told.slice(-3)).toEqual(["deregistered", "server closed", "registry closed"]);
  });

  it.each<[string, ChildSettings]>([
    ["in the drain", { on, drainMs: 60_000 }],
    ["while requests are under way", { on, graceMs: 60_000 }],
  ])("the second one hurries, %s", async (when, settings) => {
    const child = start(settings);
    await Promise.all(["listening", "registered"].map(child.heard));
    const answer = hung(child.url);
    await child.heard("hanging");
    child.signal("SIGTERM");
    await child.heard("deregistered");
    // Long enough for the next step to have begun.
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(child.told).not.toContain("server closed");
    if (when === "in the drain") expect((await fetch(`${child.url}/word`)).status).toBe(200);
    else await expect(fetch(`${child.url}/word`)).rejects.toThrow("fetch failed");
    const startedMs = performance.now();
    child.signal("SIGINT");
    expect(await answer).toBe("cut");
    expect(await child.ended).toBe("SIGTERM");
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    expect(child.told.slice(-2)).toEqual(["server closed", "registry closed"]);
  });

  it("during the first registration: it is given up, and nothing is waited for", async () => {
    const child = start({ on, drainMs: 60_000, register: "hang" });
    await Promise.all(["listening", "registering"].map(child.heard));
    const startedMs = performance.now();
    child.signal("SIGTERM");
    expect(await child.ended).toBe("SIGTERM");
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    expect(child.told).not.toContain("registered");
    expect(child.told.slice(-2)).toEqual(["server closed", "registry closed"]);
  });

  it("during the start: nothing is registered", async () => {
    const child = start({ on, initMs: 500, drainMs: 60_000 });
    await child.heard("starting");
    const startedMs = performance.now();
    child.signal("SIGTERM");
    expect(await child.ended).toBe("SIGTERM");
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    expect(child.told).not.toContain("registering");
  });

  it("with a registry that does not answer any more: bounded", async () => {
    const child = start({ on, remove: "hang" });
    await Promise.all(["listening", "registered"].map(child.heard));
    const startedMs = performance.now();
    child.signal("SIGTERM");
    expect(await child.ended).toBe("SIGTERM");
    expect(performance.now() - startedMs).toBeLessThan(15_000);
  });

  it("with a port that is taken: nothing is registered, and no handle is left after close()", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    try {
      const child = start({ on, port: (other.address() as AddressInfo).port, drainMs: 60_000 });
      expect(await child.heard("failed")).toBe("EADDRINUSE");
      const startedMs = performance.now();
      expect(await child.ended).toBe(0);
      expect(performance.now() - startedMs).toBeLessThan(10_000);
      expect(child.told).not.toContain("registering");
    } finally {
      other.close();
    }
  });
});

describe("signals of a microservice", () => {
  it("SIGTERM: deregistered, served on, and closed", async () => {
    const port = await freePort();
    const child = start({ on: "tcp", port, drainMs: 800 });
    expect(await child.heard("registered")).toBe(port);
    const startedMs = performance.now();
    child.signal("SIGTERM");
    await child.heard("deregistered");
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    socket.destroy();
    expect(await child.ended).toBe("SIGTERM");
    expect(performance.now() - startedMs).toBeGreaterThan(700);
    expect(child.told.slice(-3)).toEqual(["deregistered", "server closed", "registry closed"]);
  });
});
