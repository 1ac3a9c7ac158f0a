import { type Attempt, channels } from "@rollcall/core";
import type { Answer } from "./exchange.ts";
import { LOAD_REPORT_HEADER, parseLoadReport } from "./load-report-header.ts";

/** So much of what is no report is shown. */
const SHOWN = 256;

/**
 * Passes on what an answer says of its instance's load. Where the policy does not want to know, the header is not even
 * looked for. What cannot be read goes to the channel `rollcall:bad-report`.
 */
export function hearReport({ report, endpoint }: Attempt, answer: Answer): void {
  if (report === undefined) return;
  const header = answer.headers[LOAD_REPORT_HEADER];
  const text = typeof header === "string" ? header : header?.[0];
  if (text === undefined) return;
  const load = parseLoadReport(text);
  if (load === undefined) {
    const { instance } = endpoint;
    channels.badReport.publish({ service: instance.service, instance, report: text.slice(0, SHOWN) });
  } else if (load.inFlight !== undefined || load.utilization !== undefined) {
    report(load);
  }
}
