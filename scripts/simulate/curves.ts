import type { Played } from "./played.ts";

const WIDTH = 760;
const HEIGHT = 400;
const PLOT = { left: 56, right: WIDTH - 210, top: 40, bottom: HEIGHT - 44 };
const SHARES = [0, 0.5, 0.9, 0.99, 0.999, 0.9999];
/** Told apart by most eyes, on white and on black (after Okabe and Ito, 2008). */
const COLOURS = ["#999999", "#56b4e9", "#0098d8", "#cc79a7", "#e69f00", "#009e73", "#d55e00", "#b0a000"];

/**
 * Draws how long calls of one scenario take: the latency below which each share of them stays, both axes by logarithm, a
 * line per policy, as SVG. The ground is transparent: all colours can be read on white and on black, as the reader's scheme
 * says nothing of the page that a picture stands on.
 */
export function curvesOf(round: readonly Played[]): string {
  const title = round[0]?.scenario.name ?? "";
  const all = round.flatMap(({ curve }) => curve.map(([, latency]) => latency)).filter((latency) => latency > 0);
  const least = Math.min(...round.map(({ p50 }) => p50)) / 2;
  const most = Math.max(...all) * 1.1;
  const x = (share: number): number =>
    PLOT.left + ((PLOT.right - PLOT.left) * -Math.log10(Math.max(1 - share, 1e-4))) / 4;
  const y = (latency: number): number => {
    const up = Math.log(Math.max(latency, least) / least) / Math.log(most / least);
    return PLOT.bottom - (PLOT.bottom - PLOT.top) * up;
  };
  const lines = round.map(({ curve, subject }, place) => {
    const shown = curve.filter(([share]) => share <= 0.9999);
    const points = shown.map(([share, latency]) => `${x(share).toFixed(1)},${y(latency).toFixed(1)}`).join(" ");
    const [share = 0, latency = 0] = shown.at(-1) ?? [];
    const isOracle = place === round.length - 1;
    return {
      name: subject.name,
      points,
      isOracle,
      endX: x(share),
      endY: y(latency),
      colour: COLOURS[place] ?? "#888888",
    };
  });
  const labels = apart(lines.map(({ endY }) => endY));
  const drawn = lines.map(({ name, points, isOracle, colour, endX, endY }, place) => {
    const style = isOracle ? 'class="oracle"' : `stroke="${colour}"`;
    const fill = isOracle ? 'class="text"' : `fill="${colour}"`;
    const labelY = labels[place] ?? endY;
    return [
      `<polyline points="${points}" ${style}/>`,
      `<path d="M${(endX + 2).toFixed(1)} ${endY.toFixed(1)}L${PLOT.right + 14} ${labelY.toFixed(1)}" ${style} stroke-width="0.6"/>`,
      `<text x="${PLOT.right + 18}" y="${(labelY + 4).toFixed(1)}" ${fill}>${escaped(name)}</text>`,
    ].join("\n");
  });
  const ticksX = SHARES.map((share) => {
    const at = x(share).toFixed(1);
    const label = share === 0 ? "0" : `${Number((100 * share).toFixed(2))} %`;
    return `<path d="M${at} ${PLOT.top}V${PLOT.bottom}" class="grid"/><text x="${at}" y="${PLOT.bottom + 18}" class="text" text-anchor="middle">${label}</text>`;
  });
  const ticksY = ticks(least, most).map((latency) => {
    const at = y(latency).toFixed(1);
    const label = latency >= 1_000 ? `${latency / 1_000} s` : `${latency} ms`;
    return `<path d="M${PLOT.left} ${at}H${PLOT.right}" class="grid"/><text x="${PLOT.left - 6}" y="${(Number(at) + 4).toFixed(1)}" class="text" text-anchor="end">${label}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="Latency curves: ${escaped(title)}">
<style>
text { font: 12px system-ui, sans-serif; }
polyline, path { fill: none; stroke-width: 2; stroke-linejoin: round; }
path { stroke-width: 0.8; }
.text { fill: #6e7781; }
.grid { stroke: #6e7781; stroke-opacity: 0.3; }
.oracle { stroke: #6e7781; stroke-dasharray: 5 3; }
</style>
<text x="${PLOT.left}" y="22" class="text" style="font-weight:600">${escaped(title)}: this share of the calls is answered within …</text>
${[...ticksX, ...ticksY, ...drawn].join("\n")}
</svg>
`;
}

/** 1, 2, 5 and their tenfolds in the range. */
function ticks(least: number, most: number): number[] {
  const found: number[] = [];
  for (let power = 0.1; power <= 1e6; power *= 10) {
    for (const step of [1, 2, 5]) {
      const value = Number((step * power).toPrecision(1));
      if (value >= least && value <= most) found.push(value);
    }
  }
  return found;
}

/** Where labels may stand that would like to stand there: one line from each other at least. */
function apart(wanted: readonly number[]): number[] {
  const order = wanted.map((at, place) => ({ at, place })).toSorted((a, b) => a.at - b.at);
  const room = 15;
  let last = PLOT.top - room;
  for (const label of order) {
    label.at = Math.max(label.at, last + room);
    last = label.at;
  }
  last = PLOT.bottom + room;
  for (const label of order.toReversed()) {
    label.at = Math.min(label.at, last - room);
    last = label.at;
  }
  const found: number[] = [];
  for (const { at, place } of order) found[place] = at;
  return found;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
