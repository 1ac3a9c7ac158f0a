import { messageOf } from "@rollcall/core";
import { checkRule, type RuleResult } from "./check-rule.ts";
import type { Harness } from "./harness.ts";
import { rules } from "./rules.ts";

/** Runs all rules, one after another, without a test runner. */
export async function checkBackend(harness: Harness): Promise<readonly RuleResult[]> {
  const results: RuleResult[] = [];
  for (const rule of rules) results.push(await checkRule(rule, harness));
  return results;
}

/** The results as a Markdown table: for the page of a backend, or for people. */
export function conformanceReport(results: readonly RuleResult[]): string {
  const rows = results.map(({ number, title, verdict, error, declared, tookMs }) => {
    const notes = declared.map(({ part, reason }) => (part === undefined ? reason : `${part}: ${reason}`));
    if (verdict === "broken") notes.unshift(messageOf(error));
    const cells = [number, title, verdict, `${(tookMs / 1000).toFixed(1)} s`, notes.join("; ")];
    return `| ${cells.map((cell) => String(cell).replaceAll(/\s+/g, " ").replaceAll("|", "\\|")).join(" | ")} |`;
  });
  return ["| # | rule | verdict | took | notes |", "| --- | --- | --- | --- | --- |", ...rows].join("\n");
}
