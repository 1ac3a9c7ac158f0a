import { once } from "node:events";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { memoryRegistry } from "@rollcall/core";
import express from "express";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { type Handler, type HealthOptions, announce, health } from "./index.ts";

/** A server of `handler` alone. */
async function serve(handler: Handler): Promise<{ readonly server: Server; readonly url: string }> {
  const server = createServer(express().use("/health", handler)).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/health` };
}

/** Announces it, begins its shutdown, and says what the check answered before and after. */
async function drain(handler: Handler): Promise<readonly unknown[]> {
  const { server, url } = await serve(handler);
  const registry = memoryRegistry();
  onTestFinished(() => registry.close());
  const announced = await announce(server, { registry, service: "lorem", drainMs: 200, signals: false });
  const before = await look(url);
  const closing = announced.close();
  const after = await look(url);
  await closing;
  return [before, after];
}

async function look(url: string): Promise<readonly unknown[]> {
  const answer = await fetch(url);
  expect(answer.headers.get("cache-control")).toBe("no-store");
  return [answer.status, await answer.json()];
}

const OK = [200, { status: "ok" }];
const DRAINING = [503, { status: "draining" }];

describe("health", () => {
  it("is ready until the shutdown begins, and live also after", async () => {
    expect(await drain(health())).toEqual([OK, DRAINING]);
    expect(await drain(health("ready"))).toEqual([OK, DRAINING]);
    expect(await drain(health("ready", { checks: { index: () => true } }))).toEqual([OK, DRAINING]);
    expect(await drain(health("live"))).toEqual([OK, OK]);
  });

  it("says ok in a server that is not announced, and answers HEAD", async () => {
    const { url } = await serve(health());
    expect(await look(url)).toEqual(OK);
    const head = await fetch(url, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
  });

  it("is not ready while a check fails, and says which and how", async () => {
    let present = false;
    const checks = {
      here: () => true,
      gone: () => present,
      broken: async () => {
        if (!present) throw new Error("secret.internal refused");
        return true;
      },
      thrown: () => {
        if (!present) throw new Error("at once");
        return true;
      },
      late: () => (present ? true : new Promise<boolean>(() => undefined)),
    };
    const { url } = await serve(health("ready", { checks, timeoutMs: 20 }));
    expect(await look(url)).toEqual([
      503,
      {
        status: "unavailable",
        checks: { here: "ok", gone: "failed", broken: "failed", thrown: "failed", late: "timeout" },
      },
    ]);
    present = true;
    expect(await look(url)).toEqual(OK);
  });

  it("ends a check that takes too long by its signal", async () => {
    const aborted = vi.fn();
    const checks = {
      slow: (signal: AbortSignal) =>
        new Promise<boolean>(() => signal.addEventListener("abort", () => aborted(signal.reason))),
    };
    const { url } = await serve(health("ready", { checks, timeoutMs: 20 }));
    expect(await look(url)).toMatchObject([503, {}]);
    expect(aborted).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ code: "TIMEOUT" }));
  });

  it("leaves a request alone that somebody else has answered meanwhile", async () => {
    const result = Promise.withResolvers<boolean>();
    const handler = health("ready", { checks: { check: () => result.promise } });
    const { url } = await serve((request, response) => {
      handler(request, response);
      response.writeHead(504, { "cache-control": "no-store" }).end("{}");
    });
    expect(await look(url)).toEqual([504, {}]);
    result.resolve(true);
    await new Promise((resolve) => setImmediate(resolve)); // an error now would be an unhandled rejection
  });

  it("asks once for all who ask meanwhile, and anew for those who ask later", async () => {
    let results: PromiseWithResolvers<boolean>[] = [];
    const check = (): Promise<boolean> => {
      const result = Promise.withResolvers<boolean>();
      results.push(result);
      return result.promise;
    };
    const handler = health("ready", { checks: { check } });
    let asked = 0;
    const { url } = await serve((request, response) => {
      asked++;
      handler(request, response);
    });
    const together = Array.from({ length: 5 }, () => look(url));
    await vi.waitFor(() => expect(asked).toBe(5));
    expect(results).toHaveLength(1);
    results[0]?.resolve(true);
    expect(await Promise.all(together)).toEqual(Array.from({ length: 5 }, () => OK));
    results = [];
    const later = look(url);
    await vi.waitFor(() => expect(results).toHaveLength(1));
    results[0]?.resolve(false);
    expect(await later).toEqual([503, { status: "unavailable", checks: { check: "failed" } }]);
  });

  it.each<[string, unknown, unknown]>([
    ["kind", "alive", undefined],
    ["checks", "ready", { checks: 1 }],
    ["checks.db", "ready", { checks: { db: true } }],
    ["timeoutMs", "ready", { timeoutMs: -1 }],
    ["nonsense", "ready", { nonsense: 1 }],
    ["checks", "live", { checks: {} }],
  ])("refuses a wrong %s", (path, kind, options) => {
    expect(() => health(kind as "ready", options as HealthOptions)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION", path }),
    );
  });
});
