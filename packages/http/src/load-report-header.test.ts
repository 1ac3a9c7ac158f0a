import type { LoadReport } from "@rollcall/core";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatLoadReport, parseLoadReport } from "./load-report-header.ts";

describe("the header of a load report", () => {
  it("is ORCA's text form, with three decimals", () => {
    expect(formatLoadReport({ inFlight: 7, utilization: 0.42 })).toBe(
      "TEXT application_utilization=0.42,named_metrics.in_flight=7",
    );
    expect(formatLoadReport({ utilization: 1 / 3 })).toBe("TEXT application_utilization=0.333");
    expect(formatLoadReport({ inFlight: 0 })).toBe("TEXT named_metrics.in_flight=0");
  });

  it.each<[string, LoadReport | undefined]>([
    ["TEXT application_utilization=0.42,named_metrics.in_flight=7", { utilization: 0.42, inFlight: 7 }],
    ["text named_metrics.in_flight: 7 , application_utilization : 1.5e-1", { utilization: 0.15, inFlight: 7 }],
    ["TEXT cpu_utilization=0.9", { utilization: 0.9 }],
    ["TEXT cpu_utilization=0.9,application_utilization=0.2", { utilization: 0.2 }],
    ["TEXT mem_utilization=0.5,rps_fractional=1000,eps=2,named_metrics.foo=123,utilization.disk=0.5", {}],
    [
      'JSON {"cpu_utilization":0.3,"named_metrics":{"in_flight":4,"foo":-1},"eps":2}',
      { utilization: 0.3, inFlight: 4 },
    ],
    ['JSON {"application_utilization":0.1,"cpu_utilization":0.3}', { utilization: 0.1 }],
    ["JSON {}", {}],
    ['JSON {"named_metrics":null}', {}],
    // What is none.
    ["", undefined],
    ["TEXT", undefined],
    ["TEXT ", undefined],
    ["application_utilization=0.42", undefined],
    ["BIN CQAAAAAAAOA/", undefined],
    ["TEXT application_utilization", undefined],
    ["TEXT application_utilization=", undefined],
    ["TEXT =1", undefined],
    ["TEXT application_utilization=0.1,", undefined],
    ["TEXT application_utilization=NaN", undefined],
    ["TEXT application_utilization=Infinity", undefined],
    ["TEXT application_utilization=1e999", undefined],
    ["TEXT application_utilization=-1", undefined],
    ["TEXT application_utilization=0x10", undefined],
    ['TEXT application_utilization="0.1"', undefined],
    ["TEXT eps=1,eps=2", undefined],
    ["JSON nonsense", undefined],
    ["JSON [1]", undefined],
    ["JSON null", undefined],
    ['JSON {"cpu_utilization":"0.3"}', undefined],
    ['JSON {"cpu_utilization":-0.3}', undefined],
    ['JSON {"cpu_utilization":1e999}', undefined],
    ['JSON {"named_metrics":{"in_flight":null}}', undefined],
    [`TEXT ${"named_metrics.a=1,".repeat(300)}eps=1`, undefined],
  ])("%s is read as %o", (text, report) => {
    expect(parseLoadReport(text)).toEqual(report);
  });

  it("is quick to see that something long is none", () => {
    const startedAt = performance.now();
    for (const text of [`TEXT ${" ".repeat(1e6)}`, `TEXT a=${"1".repeat(4_000)}`, `JSON ${"[".repeat(4_000)}`]) {
      expect(parseLoadReport(text)).toBeUndefined();
    }
    expect(performance.now() - startedAt).toBeLessThan(100);
  });

  it("comes back as it was", () => {
    const amount = fc.integer({ min: 0, max: 1e9 });
    fc.assert(
      fc.property(amount, amount, (inFlight, thousandths) => {
        const report = { inFlight, utilization: thousandths / 1_000 };
        expect(parseLoadReport(formatLoadReport(report))).toEqual(report);
      }),
    );
  });

  it("never throws, and never yields anything but finite numbers >= 0", () => {
    const hostile = fc.oneof(
      fc.string(),
      fc.string().map((text) => `TEXT ${text}`),
      fc.json().map((json) => `JSON ${json}`),
      fc
        .array(fc.tuple(fc.constantFrom("named_metrics.in_flight", "cpu_utilization", "__proto__", ""), fc.string()))
        .map((pairs) => `TEXT ${pairs.map((pair) => pair.join("=")).join(",")}`),
    );
    fc.assert(
      fc.property(hostile, (text) => {
        for (const value of Object.values(parseLoadReport(text) ?? {})) {
          expect(Number.isFinite(value) && Number(value) >= 0).toBe(true);
        }
      }),
    );
  });
});
