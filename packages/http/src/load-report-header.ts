import type { LoadReport } from "@rollcall/core";

/** Where answers carry what the instance says of its load. The name and the form are those of ORCA (gRPC, Envoy). */
export const LOAD_REPORT_HEADER = "endpoint-load-metrics";

/** ORCA has no field for calls in flight, but room for metrics with names of one's own. */
const IN_FLIGHT = "named_metrics.in_flight";
const UTILIZATION = "application_utilization";
/** Taken if the former is missing, as gRPC does (proposal A51). */
const CPU = "cpu_utilization";

/** What is longer is not looked at. */
const MAX_LENGTH = 4_096;
const NUMBER = /^\d{1,20}(?:\.\d{1,20})?(?:e[+-]?\d{1,3})?$/i;

/** Writes a report as ORCA's text form: `TEXT application_utilization=0.42,named_metrics.in_flight=7`. */
export function formatLoadReport({ inFlight, utilization }: LoadReport): string {
  const metrics: string[] = [];
  if (utilization !== undefined) metrics.push(`${UTILIZATION}=${Math.round(utilization * 1_000) / 1_000}`);
  if (inFlight !== undefined) metrics.push(`${IN_FLIGHT}=${inFlight}`);
  return `TEXT ${metrics.join(",")}`;
}

/**
 * Reads ORCA's text form (with `=` or `:`) or its JSON form. Metrics that mean nothing here are skipped, so a report may be
 * empty. Undefined for what is neither: too long, twice the same, no numbers, infinite or negative ones. Never throws.
 */
export function parseLoadReport(text: string): LoadReport | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  const metrics = /^TEXT +/i.test(text)
    ? readText(text.slice(5))
    : /^JSON +/i.test(text)
      ? readJson(text.slice(5))
      : undefined;
  if (metrics === undefined) return undefined;
  const utilization = metrics.get(UTILIZATION) ?? metrics.get(CPU);
  const inFlight = metrics.get(IN_FLIGHT);
  return { ...(inFlight === undefined ? {} : { inFlight }), ...(utilization === undefined ? {} : { utilization }) };
}

/** Those that are known here. */
const KNOWN: ReadonlySet<string> = new Set([IN_FLIGHT, UTILIZATION, CPU]);

function readText(list: string): ReadonlyMap<string, number> | undefined {
  const metrics = new Map<string, number>();
  for (const metric of list.split(",")) {
    const at = metric.search(/[=:]/);
    const name = metric.slice(0, at).trim();
    const value = metric.slice(at + 1).trim();
    if (at < 1 || metrics.has(name) || !NUMBER.test(value) || !Number.isFinite(Number(value))) return undefined;
    metrics.set(name, Number(value));
  }
  return metrics;
}

function readJson(json: string): ReadonlyMap<string, number> | undefined {
  let report: unknown;
  try {
    report = JSON.parse(json);
  } catch {
    return undefined;
  }
  if (typeof report !== "object" || report === null || Array.isArray(report)) return undefined;
  const named: unknown = Object.hasOwn(report, "named_metrics") ? Reflect.get(report, "named_metrics") : {};
  const metrics = new Map<string, number>();
  for (const name of KNOWN) {
    const [holder, key] = name === IN_FLIGHT ? [Object(named) as object, "in_flight"] : [report, name];
    if (!Object.hasOwn(holder, key)) continue;
    const value: unknown = Reflect.get(holder, key);
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0) return undefined;
    metrics.set(name, value);
  }
  return metrics;
}
