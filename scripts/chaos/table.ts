import { backends } from "./backends.ts";
import { type Result, rightLimitMs } from "./result.ts";
import { rows } from "./rows.ts";
import type { Rate } from "./traffic.ts";

const HEAD = [
  "What happens",
  "Registry",
  "Calls",
  "Failed",
  "View right after",
  "Requests/s per watch",
  "per registration",
  "Left",
  "",
];

/** The results as one table, in the order of the suite, for a terminal and for Markdown alike. */
export function table(results: readonly Result[]): string {
  const lines = rows.flatMap((row) =>
    backends.flatMap(({ name, title: registry }) =>
      results
        .filter((result) => result.row === row.name && result.backend === name)
        .map((result) => {
          if (result.no !== undefined) return [row.title, registry, "–", "–", "–", "–", "–", "–", `no: ${result.no}`];
          const verdict = result.breaches.length === 0 ? "ok" : "**BROKEN**";
          if (result.measures === undefined) return [row.title, registry, "–", "–", "–", "–", "–", "–", verdict];
          const { calls, failures, rightMs, perWatch, perRegistration, left } = result.measures;
          return [
            row.title,
            registry,
            calls.toLocaleString("en"),
            `${failures.length}${row.unreachable === undefined ? "" : " ²"}`,
            `${rightMs === null ? "never" : `${(rightMs / 1_000).toFixed(1)} s`}${rightLimitMs(row) > 3_000 ? " ¹" : ""}`,
            inWords(perWatch),
            inWords(perRegistration),
            String(left.length),
            verdict,
          ];
        }),
    ),
  );
  return tableOf(HEAD, lines, (column) => column >= 2 && column <= 7);
}

/** A table of Markdown that reads well in a terminal, too; columns of numbers are set to the right. */
export function tableOf(
  head: readonly string[],
  lines: readonly (readonly string[])[],
  isNumber: (column: number) => boolean,
): string {
  const all = [head, ...lines];
  const widths = head.map((_, column) => Math.max(3, ...all.map((line) => (line[column] ?? "").length)));
  const write = (line: readonly string[]): string =>
    `| ${line.map((cell, column) => (isNumber(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0))).join(" | ")} |`;
  const rule = `| ${widths.map((width, column) => (isNumber(column) ? `${"-".repeat(width - 1)}:` : "-".repeat(width))).join(" | ")} |`;
  return [write(head), rule, ...lines.map(write)].join("\n");
}

/** What the marks in the table mean. */
export function footnotes(): string {
  const reasons = (pick: "anew" | "unreachable"): string =>
    rows.flatMap((row) => (row[pick] === undefined ? [] : [`“${row.title}” (${row[pick]})`])).join("; ");
  return [
    "Requests per second: the mean over the time in which the registry was ill, and the busiest second. A watch may make 5 in any second, a registration, one try of which is several requests, 5 in the mean.",
    `¹ Up to 15 s are allowed, because something has to be made anew: ${reasons("anew")}.`,
    `² Calls may fail: ${reasons("unreachable")}.`,
  ].join("\n\n");
}

function inWords(rate: Rate | null): string {
  return rate === null ? "–" : `${rate.mean.toFixed(1)} (${rate.peak})`;
}
