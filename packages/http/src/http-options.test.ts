import { fixedInstancer } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { httpClient } from "./http-client.ts";
import { type HttpClientOptions, resolvePoolOptions } from "./http-options.ts";

const instancer = fixedInstancer("lorem", []);

describe("httpClient", () => {
  it.each<[string, unknown]>([
    ["instancer", { instancer: undefined }],
    ["instancer", { instancer: "lorem" }],
    ["timeout", { timeout: 1 }],
    ["close", { close: () => undefined }],
    ["factory", { factory: () => undefined }],
    ["policy", { policy: "roundRobin" }],
    ["retry", { retry: true }],
    ["retry.attempts", { retry: { attempts: 3 } }],
    ["retry.timeoutMs", { retry: { timeoutMs: -1 } }],
    ["drainMs", { drainMs: -1 }],
    ["staleAfterMs", { staleAfterMs: NaN }],
    ["env", { env: { now: 1 } }],
    ["protocol", { protocol: "ftp" }],
    ["protocol", { protocol: "https:" }],
    ["headers", { headers: ["a", "b"] }],
    ["headers.a", { headers: { a: 1 } }],
    ["connectTimeoutMs", { connectTimeoutMs: -1 }],
    ["connectTimeoutMs", { connectTimeoutMs: "1s" }],
    ["headersTimeoutMs", { headersTimeoutMs: 1.5 }],
    ["bodyTimeoutMs", { bodyTimeoutMs: Infinity }],
    ["keepAliveTimeoutMs", { keepAliveTimeoutMs: 0 }],
    ["connections", { connections: 0 }],
    ["connections", { connections: 1.5 }],
    ["maxReplayBytes", { maxReplayBytes: -1 }],
    ["failureStatuses", { failureStatuses: 503 }],
    ["failureStatuses", { failureStatuses: [99] }],
    ["failureStatuses", { failureStatuses: ["503"] }],
    ["tls", { tls: true }],
    ["tls.ca", { tls: { ca: "ca.pem" } }],
    ["tls.key", { tls: { key: "key.pem" } }],
    ["tls.servername", { tls: { servername: "" } }],
    ["tls.rejectUnauthorized", { tls: { rejectUnauthorized: "no" } }],
    ["tls.serverName", { tls: { serverName: "lorem" } }],
    ["pool.connect", { tls: {}, pool: { connect: () => undefined } }],
    ["pool", { pool: 5 }],
    ["pool", { pool: { pipelining: 1, maxHeaderSize: -1 } }],
    ["pool.connections", { pool: { connections: 5 } }],
    ["pool.factory", { pool: { factory: () => undefined } }],
  ])("refuses a bad %s: %j", (path, options) => {
    const given = { instancer, ...(options as object) } as HttpClientOptions;
    expect(() => httpClient(given)).toThrow(expect.objectContaining({ code: "INVALID_OPTION", path }));
  });

  it.each([undefined, null, 5, []])("refuses %j for its options", (options) => {
    expect(() => httpClient(options as unknown as HttpClientOptions)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION" }),
    );
  });

  it("takes every option as undefined, which is as good as left out", async () => {
    const names = [
      "policy",
      "retry",
      "drainMs",
      "staleAfterMs",
      "env",
      "protocol",
      "headers",
      "connectTimeoutMs",
    ].concat([
      "headersTimeoutMs",
      "bodyTimeoutMs",
      "keepAliveTimeoutMs",
      "connections",
      "maxReplayBytes",
      "failureStatuses",
      "tls",
      "pool",
    ]);
    await httpClient({ instancer, ...Object.fromEntries(names.map((name) => [name, undefined])) }).close();
  });

  it("changes no options", async () => {
    const pool = Object.freeze({ connect: Object.freeze({ servername: "a" }) });
    const options = Object.freeze({ instancer, pool, retry: Object.freeze({}), headers: Object.freeze({ a: "b" }) });
    await httpClient(options).close();
  });
});

describe("resolvePoolOptions", () => {
  it("has defaults, which options of the same kind replace", () => {
    expect(resolvePoolOptions({ instancer })).toEqual({
      allowH2: false,
      connections: null,
      connectTimeout: 1_000,
      headersTimeout: 300_000,
      bodyTimeout: 30_000,
      keepAliveTimeout: 4_000,
    });
    const given = { instancer, connectTimeoutMs: 5, connections: 2, pool: { allowH2: true, pipelining: 1 } };
    expect(resolvePoolOptions(given)).toMatchObject({
      connectTimeout: 5,
      connections: 2,
      allowH2: true,
      pipelining: 1,
    });
  });
});
