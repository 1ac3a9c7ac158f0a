import { type Played, geometricMean } from "./played.ts";

/** All scenarios by all policies, as the document has it: p99 / p99.9 in ms, and the failures, if there are any. */
export function tableOf(rounds: readonly (readonly Played[])[]): string {
  const [first = []] = rounds;
  const names = first.map(({ subject }) => (/[(,]/.test(subject.name) ? subject.name : `\`${subject.name}\``));
  const rows = rounds.map((round) => [round[0]?.scenario.name ?? "", ...round.map(cell)]);
  const ratios = first.map((_, column) => {
    const its = rounds.map((round) => (round[column]?.p99 ?? 0) / (round.at(-1)?.p99 ?? 1));
    return geometricMean(its).toFixed(2);
  });
  const lines = [
    ["p99 / p99.9 in ms, failures", ...names],
    ["---", ...names.map(() => "--:")],
    ...rows,
    ["**p99 ÷ the oracle's, geometric mean**", ...ratios.map((ratio) => `**${ratio}**`)],
  ];
  return lines.map((line) => `| ${line.join(" | ")} |`).join("\n");
}

function cell({ p99, p999, failures }: Played): string {
  return `${ms(p99)} / ${ms(p999)}${failures === 0 ? "" : `, ${percent(failures)}`}`;
}

/** One scenario, for a terminal: a line per policy. */
export function linesOf(round: readonly Played[]): string {
  const oracle = round.at(-1);
  const head = ["", "p50", "p99", "p99.9", "÷ oracle", "failures", "in target", "attempts"];
  const rows = round.map((played) => [
    played.subject.name,
    ms(played.p50),
    ms(played.p99),
    ms(played.p999),
    (played.p99 / (oracle?.p99 ?? 1)).toFixed(2),
    percent(played.failures),
    percent(played.inTarget),
    played.amplification.toFixed(3),
  ]);
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((text, column) => (column === 0 ? text.padEnd(widths[0] ?? 0) : text.padStart(widths[column] ?? 0)))
      .join("  ");
  return [round[0]?.scenario.name ?? "", line(head), ...rows.map(line), ""].join("\n");
}

function ms(value: number): string {
  return value < 99.5 ? value.toPrecision(2) : Math.round(value).toLocaleString("en");
}

function percent(share: number): string {
  const value = 100 * share;
  if (value === 0 || value === 100) return `${value} %`;
  return `${value < 1 || value > 99 ? value.toFixed(3) : value.toFixed(1)} %`;
}
