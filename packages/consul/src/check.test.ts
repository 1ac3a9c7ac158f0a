import { createInstance } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { type ConsulCheck, checkConsulCheck, defineCheck, duration } from "./check.ts";

const instance = createInstance({ service: "lorem", host: "2001:db8::1", port: 80 });

describe("defineCheck", () => {
  it.each<[string, ConsulCheck, object]>([
    ["a TTL of 30 s by default", {}, { TTL: "30000ms" }],
    ["a TTL", { ttlMs: 2_000 }, { TTL: "2000ms" }],
    [
      "a path of the instance",
      { http: "/health?x=1" },
      { HTTP: "http://[2001:db8::1]:80/health?x=1", Interval: "5000ms", Timeout: "2000ms" },
    ],
    [
      "a URL elsewhere",
      { http: "https://h/x", intervalMs: 1_000, timeoutMs: 500 },
      { HTTP: "https://h/x", Interval: "1000ms", Timeout: "500ms" },
    ],
    ["a connection to the instance", { tcp: true }, { TCP: "[2001:db8::1]:80", Interval: "5000ms", Timeout: "2000ms" }],
    ["a connection elsewhere", { tcp: "h:81" }, { TCP: "h:81", Interval: "5000ms", Timeout: "2000ms" }],
  ])("writes %s", (_, check, definition) => {
    checkConsulCheck(check, "check");
    expect(defineCheck(check, instance)).toEqual(definition);
  });
});

describe("checkConsulCheck", () => {
  it.each<[unknown, string]>([
    ["ttl", "check"],
    [null, "check"],
    [{ ttlMs: -1 }, "check.ttlMs"],
    [{ ttlMs: Infinity }, "check.ttlMs"],
    [{ ttlMs: Number.NaN }, "check.ttlMs"],
    [{ ttl: 5 }, "check.ttl"],
    [{ http: "health" }, "check.http"],
    [{ http: "ftp://h/x" }, "check.http"],
    [{ http: undefined }, "check.http"],
    [{ http: "/h", intervalMs: 0 }, "check.intervalMs"],
    [{ http: "/h", timeoutMs: -5 }, "check.timeoutMs"],
    [{ http: "/h", ttlMs: 5_000 }, "check.ttlMs"],
    [{ tcp: false }, "check.tcp"],
    [{ tcp: "host" }, "check.tcp"],
    [{ tcp: true, http: "/h" }, "check.tcp"],
  ])("refuses %j", (check, path) => {
    expect(() => checkConsulCheck(check, "check")).toThrow(expect.objectContaining({ code: "INVALID_OPTION", path }));
  });
});

describe("duration", () => {
  it("writes whole milliseconds, never less than asked", () => {
    expect([duration(15_000), duration(0.2), duration(333.4)]).toEqual(["15000ms", "1ms", "334ms"]);
  });
});
