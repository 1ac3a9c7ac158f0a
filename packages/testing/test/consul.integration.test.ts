import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startConsul, serverSkipped, type TestServer } from "@rollcall/testing/servers";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";

let consul: TestServer;
/** A temporary folder of our own, to see what is left in it. */
let folder: string;

const call = async (path: string, init: RequestInit = {}): Promise<unknown> => {
  const response = await fetch(`${consul.url}/v1${path}`, { signal: AbortSignal.timeout(5_000), ...init });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
  return text === "" ? undefined : JSON.parse(text);
};
const register = (name: string): Promise<unknown> =>
  call("/agent/service/register", { method: "PUT", body: JSON.stringify({ ID: name, Name: name, Port: 80 }) });
const services = async (): Promise<string[]> => Object.keys((await call("/catalog/services")) as object).toSorted();

/** Whether a process exists (a zombie does not count: it has ended, and nobody has asked for its exit code). */
function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe.skipIf(serverSkipped("consul"))("a Consul for tests", () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "rollcall-test-"));
    consul = await startConsul({ faults: ["kill", "freeze", "wipe"] });
  });

  afterAll(async () => {
    await consul?.close();
    await rm(folder, { recursive: true, force: true });
  });

  afterEach(() => {
    vi.unstubAllEnvs();
  });

  it("does its work as soon as it is there, and its catalogue is clean", async () => {
    expect(await services()).toEqual(["consul"]);
    await register("early");
    expect(await call("/health/service/early?passing")).toHaveLength(1);
  });

  it("is as if it had never been there while it is killed", async () => {
    await consul.kill();
    expect(consul.running).toBe(false);
    await expect(call("/status/leader")).rejects.toMatchObject({ cause: { code: "ECONNREFUSED" } });
    await consul.start();
  });

  it("has its data again after a restart, on the same port, and accepts registrations at once", async () => {
    const { url } = consul;
    await register("lasting");
    await call("/kv/key", { method: "PUT", body: "value" });
    await consul.restart({ wipe: false });
    expect(consul.url).toBe(url);
    expect(await services()).toContain("lasting");
    expect(await call("/kv/key")).toHaveLength(1);
    await register("after-restart");
    expect(await call("/health/service/after-restart?passing")).toHaveLength(1);
  });

  it("has forgotten everything after a wipe, its index too", async () => {
    await register("doomed");
    for (let key = 0; key < 50; key++) await call(`/kv/${key}`, { method: "PUT", body: "x" });
    const index = async (): Promise<number> => {
      const response = await fetch(`${consul.url}/v1/health/service/doomed`);
      await response.text();
      return Number(response.headers.get("X-Consul-Index"));
    };
    const before = await index();
    await consul.restart({ wipe: true });
    expect(await services()).toEqual(["consul"]);
    expect(await index()).toBeLessThan(before);
  });

  it("ends in good order on SIGTERM, and is still a leader of itself after that", async () => {
    await register("polite");
    await consul.stop();
    await consul.start();
    expect(await services()).toContain("polite");
  });

  it("answers nobody while it is frozen, and goes on where it was", async () => {
    await consul.freeze();
    await expect(call("/status/leader", { signal: AbortSignal.timeout(300) })).rejects.toMatchObject({
      name: "TimeoutError",
    });
    await consul.thaw();
    expect(await call("/status/leader")).toMatch(/:\d+/);
    expect(consul.running).toBe(true);
  });

  it("can be killed while it is frozen", async () => {
    await consul.freeze();
    await consul.restart({ wipe: false });
    expect(await call("/status/leader")).toMatch(/:\d+/);
  });

  it("is found by its address, is then nobody's to kill, and outlives the handle", async () => {
    vi.stubEnv("CONSUL_HTTP_ADDR", `${consul.host}:${consul.port}`);
    const found = await startConsul();
    expect(found).toMatchObject({ via: "environment", url: consul.url, port: consul.port, faults: [], pid: undefined });
    await expect(found.kill()).rejects.toThrow("only its address is known, from CONSUL_HTTP_ADDR");
    await expect(found.restart({ wipe: true })).rejects.toThrow("only its address is known");
    await found.close();
    expect(await call("/status/leader")).toMatch(/:\d+/);
  });

  it("passes over the address if the test wants to kill it, and starts one beside it", async () => {
    vi.stubEnv("CONSUL_HTTP_ADDR", `${consul.host}:${consul.port}`);
    await using other = await startConsul({ faults: ["kill"], keepData: false });
    expect(other.via).not.toBe("environment");
    expect(other.port).not.toBe(consul.port);
    await other.kill();
    expect(await call("/status/leader")).toMatch(/:\d+/);
  });

  it("says which variable is wrong when nobody answers at the address", async () => {
    vi.stubEnv("CONSUL_HTTP_ADDR", "127.0.0.1:1");
    await expect(startConsul({ startTimeoutMs: 200 })).rejects.toThrow(
      /no Consul at http:\/\/127\.0\.0\.1:1, which is what CONSUL_HTTP_ADDR says: .*ECONNREFUSED/,
    );
  });

  it("fails at once with Consul's own words when it does not like its arguments", async () => {
    await expect(startConsul({ args: ["-no-such-flag"] })).rejects.toThrow(
      /consul did not start: ended at once \(exit code 1\)[^]*flag provided but not defined: -no-such-flag/,
    );
  });

  it("says so when the port it was given is taken, and does not choose another one", async () => {
    await expect(startConsul({ port: consul.port })).rejects.toThrow(
      /address already in use|port is already allocated/,
    );
  });

  it("is ready for its owner's token when access control is on", async () => {
    const acl = 'acl { enabled = true default_policy = "deny" tokens { master = "root" } }';
    await using guarded = await startConsul({ args: ["-hcl", acl], token: "root" });
    const asked = (headers: Record<string, string>): Promise<Response> =>
      fetch(`${guarded.url}/v1/agent/self`, { headers });
    expect((await asked({})).status).toBe(403);
    expect((await asked({ "X-Consul-Token": "root" })).status).toBe(200);
  });

  it("does not outlive a test process that is killed itself, nor does its data", async ({ skip }) => {
    skip(consul.pid === undefined, "it runs in a container, which has no process id here");
    const script = `import("@rollcall/testing/servers").then(async ({ startConsul }) => {
      const consul = await startConsul({ faults: ["kill"] });
      console.log(consul.pid);
    });`;
    const child = spawn(process.execPath, ["--conditions=@rollcall/source", "-e", script], {
      cwd: import.meta.dirname,
      env: { ...process.env, TMPDIR: folder },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [output] = (await once(child.stdout, "data")) as [Buffer];
    const pid = Number(output);
    expect([alive(pid), (await readdir(folder)).length]).toEqual([true, 1]);
    child.kill("SIGKILL");
    while (alive(pid) || (await readdir(folder)).length > 0) await sleep(10);
  });

  it("leaves neither a process nor a folder behind when it is closed, killed before or not", async () => {
    vi.stubEnv("TMPDIR", folder);
    for (const fault of ["none", "kill"]) {
      const short = await startConsul({ faults: ["kill"], keepData: false });
      const { pid } = short;
      if (fault === "kill") await short.kill();
      await short.close();
      if (pid !== undefined) expect(alive(pid)).toBe(false);
      expect(await readdir(folder)).toEqual([]);
    }
  });
});
