/** For drawing an index in proportion to weights in O(1), see {@link aliasTable}. */
export interface AliasTable {
  /** The share of each slot, of 2³¹, that is its own index's. */
  readonly threshold: Float64Array;
  /** Whose the rest of the slot is. */
  readonly alias: Uint32Array;
}

const WHOLE = 2 ** 31;

/**
 * Builds the table in O(n), by Vose's method: every index gets a slot of the same size, and what a heavy one has too much
 * fills up the slots of the light ones. The weights are finite and positive; at least one.
 */
export function aliasTable(weights: readonly number[]): AliasTable {
  const size = weights.length;
  // Scaled first: the sum of very large weights must not become infinite.
  const most = weights.reduce((max, weight) => Math.max(max, weight), 0);
  const sum = weights.reduce((total, weight) => total + weight / most, 0);
  const scaled = weights.map((weight) => ((weight / most) * size) / sum);
  const light: number[] = [];
  const heavy: number[] = [];
  for (let index = 0; index < size; index++) ((scaled[index] ?? 0) < 1 ? light : heavy).push(index);
  const threshold = new Float64Array(size).fill(WHOLE);
  const alias = Uint32Array.from(weights, (_, index) => index);
  while (light.length > 0 && heavy.length > 0) {
    const [small, large] = [light.pop() ?? 0, heavy.pop() ?? 0];
    const own = scaled[small] ?? 1;
    threshold[small] = own * WHOLE;
    alias[small] = large;
    const rest = (scaled[large] ?? 1) - (1 - own);
    scaled[large] = rest;
    (rest < 1 ? light : heavy).push(large);
  }
  // What is left over is 1 but for rounding.
  return { threshold, alias };
}

/** Draws an index. `draw(bound)` is a uniform integer in [0, bound). */
export function pickAlias(table: AliasTable, draw: (bound: number) => number): number {
  const slot = draw(table.alias.length);
  return draw(WHOLE) < (table.threshold[slot] ?? WHOLE) ? slot : (table.alias[slot] ?? slot);
}
