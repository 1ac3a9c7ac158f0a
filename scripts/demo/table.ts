import { styleText } from "node:util";
import type { Line } from "./line.ts";

const HEAD = ["what happened", "calls", "failed", "", "seen"];

/** The lines as a table for a terminal, in colour where there is any. */
export function table(lines: readonly Line[]): string {
  const rows = lines.map(({ title, tally, seen, ok }) => [
    title,
    tally === undefined ? "–" : String(tally.calls),
    tally === undefined ? "–" : String(tally.failures.length),
    ok ? "ok" : "NOT OK",
    seen,
  ]);
  const widths = HEAD.map((head, column) => Math.max(...[HEAD, ...rows].map((row) => (row[column] ?? head).length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return column === 1 || column === 2 ? cell.padStart(width) : cell.padEnd(width);
      })
      .join("  ")
      .trimEnd();
  const colour = (text: string, ok: boolean): string => (ok ? text : styleText("red", text));
  return [
    styleText("bold", line(HEAD)),
    ...rows.map((row, place) => colour(line(row), lines[place]?.ok === true)),
  ].join("\n");
}
