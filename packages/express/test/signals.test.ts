import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";
import { describe, expect, it, onTestFinished, vi } from "vitest";

/** Starts a process that is announced, and waits until it is. */
async function start(
  drainMs: number,
): Promise<{ child: ChildProcess; url: string; exit: Promise<readonly unknown[]> }> {
  const script = fileURLToPath(new URL("announced-process.ts", import.meta.url));
  const child = spawn(process.execPath, ["--conditions", "@rollcall/source", script, String(drainMs)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [port] = await once(createInterface(child.stdout), "line");
  return { child, url: `http://127.0.0.1:${port}`, exit: once(child, "exit") };
}

describe("an announced process", { timeout: 30_000 }, () => {
  it("ends by itself after SIGTERM, in good order and with exit code 0", async () => {
    const { child, url, exit } = await start(3_000);
    expect(await (await fetch(`${url}/self`)).text()).toBe('{"status":"ok"}');
    const startedMs = performance.now();
    child.kill("SIGTERM");
    await vi.waitFor(async () => {
      const answer = await fetch(`${url}/health`);
      expect([answer.status, answer.headers.get("connection")]).toEqual([503, "close"]);
    }, 3_000);
    expect(await exit).toEqual([0, null]);
    expect(performance.now() - startedMs).toBeGreaterThan(2_990);
    expect(performance.now() - startedMs).toBeLessThan(20_000);
  });

  it("ends at once after a second signal, requests under way or not", async () => {
    const { child, url, exit } = await start(60_000);
    const hanging = await fetch(`${url}/hang`);
    child.kill("SIGTERM");
    await new Promise((resolve) => setTimeout(resolve, 100));
    const startedMs = performance.now();
    child.kill("SIGINT");
    expect(await exit).toEqual([0, null]);
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    await expect(hanging.text()).rejects.toThrow();
  });
});
