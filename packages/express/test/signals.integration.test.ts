import { setTimeout as delay } from "node:timers/promises";
import { type TestServer, serverSkipped, startConsul } from "@rollcall/testing/servers";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { announcedChild, servingChild } from "./announced-child.ts";

describe.skipIf(serverSkipped("consul"))("a process whose Consul is away", () => {
  let consul: TestServer;

  beforeAll(async () => {
    consul = await startConsul({ faults: ["kill", "freeze", "wipe"], keepData: false });
  });
  afterEach(async () => {
    await consul.restart({ wipe: true });
  });
  afterAll(() => consul?.close());

  /** Ids of all instances. */
  async function listed(): Promise<readonly string[]> {
    const answer = await fetch(`${consul.url}/v1/agent/services`);
    return Object.keys((await answer.json()) as object);
  }

  it.each(["http", "express"] as const)(
    "serves all the same, says so, and registers later, on %s",
    async (framework) => {
      await consul.kill();
      const child = await servingChild({ framework, consul: consul.url });
      expect(child.out()).not.toContain("registered");
      // Two pipes keep no order among each other.
      await vi.waitFor(() =>
        expect(child.complaints()).toMatch(
          /^\(node:\d+\) Error: own-127.0.0.1-\d+ could not be registered in "consul", and is tried again: consul: PUT \/agent\/service\/register: connect ECONNREFUSED/,
        ),
      );
      expect((await fetch(`http://127.0.0.1:${child.port}/health`)).status).toBe(200);
      await consul.start();
      await child.printed(/^registered/m);
      expect(await listed()).toEqual([`own-127.0.0.1-${child.port}`]);
      child.signal("SIGTERM");
      expect(await child.ended).toEqual([0, null]);
      expect(await listed()).toEqual([]);
      expect(child.complaints().match(/could not/g)).toHaveLength(1);
    },
  );

  it.each(["kill", "freeze"] as const)("does not start if that is required, and says why (%s)", async (fault) => {
    await consul[fault]();
    const startedMs = performance.now();
    const child = announcedChild({ consul: consul.url, required: true });
    expect(await child.ended).toEqual([1, null]);
    expect(performance.now() - startedMs).toBeLessThan(15_000);
    expect(child.complaints()).toMatch(
      /Error: own-127.0.0.1-\d+ could not be registered in "consul", as is required: /,
    );
    expect(child.out()).toBe("starting\n");
  });

  it.each(["kill", "freeze"] as const)("can be told to end while it registers (%s)", async (fault) => {
    await consul[fault]();
    const child = announcedChild({ consul: consul.url, drainMs: 60_000 });
    await child.printed(/^starting$/m);
    await delay(500);
    const startedMs = performance.now();
    child.signal("SIGTERM");
    expect(await child.ended).toEqual([0, null]);
    expect(performance.now() - startedMs).toBeLessThan(8_000);
    // What a frozen one had received it executes when it thaws, and forgets after the TTL: nobody is left to tell it.
    if (fault === "freeze") return;
    await consul.start();
    await delay(500);
    expect(await listed()).toEqual([]);
  });

  it.each(["kill", "freeze"] as const)("ends within bounds, and finishes what it began (%s)", async (fault) => {
    const child = await servingChild({ consul: consul.url, drainMs: 300 });
    await child.printed(/^registered/m);
    await consul[fault]();
    const startedMs = performance.now();
    const answer = await fetch(`http://127.0.0.1:${child.port}/stream`, { headers: { "x-parts": "40" } });
    child.signal("SIGTERM");
    expect(await answer.text()).toBe(`${"part ".repeat(40)}end`);
    expect(await child.ended).toEqual([0, null]);
    // Two tries of two seconds to deregister, the drain, and the moment of quiet.
    expect(performance.now() - startedMs).toBeLessThan(8_000);
  });
});
