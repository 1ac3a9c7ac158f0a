import type { Memory } from "../chaos/memory.ts";

/** What all processes held at one moment, by their names. */
export interface Sample {
  /** Since the beginning. */
  readonly atMs: number;
  readonly held: Readonly<Record<string, Memory>>;
}

/** What is compared: a single sample may have caught a moment that says nothing. */
const TOGETHER = 3;
const MOST_GROWTH = 1.1;
/**
 * Connections come and go with the load, but what leaks stays: the least of the last third and of the first are compared.
 * The least of some tens of samples is itself a matter of chance; a leak in every five hundredth change is more in 20 minutes.
 */
const MORE_HANDLES = 3;
const MOST_MORE_HANDLES = 1.25;

/** Compares the end with the beginning. Says in words what has grown beyond its limit, or nothing. */
export function growth(samples: readonly Sample[]): readonly string[] {
  if (samples.length < 2 * TOGETHER) return [`only ${samples.length} samples: too short to tell`];
  const [first, last] = [samples.slice(0, TOGETHER), samples.slice(-TOGETHER)];
  const found: string[] = [];
  for (const name of Object.keys(first[0]?.held ?? {})) {
    const of = (some: readonly Sample[], key: keyof Memory): number =>
      median(some.map(({ held }) => held[name]?.[key] ?? 0));
    for (const key of ["rss", "heap"] as const) {
      const [before, after] = [of(first, key), of(last, key)];
      if (after > before * MOST_GROWTH)
        found.push(`${name}: ${key} grew from ${megabytes(before)} to ${megabytes(after)}`);
    }
    const third = Math.ceil(samples.length / 3);
    const before = least(samples.slice(0, third), name);
    const after = least(samples.slice(-third), name);
    if (after > Math.max(before + MORE_HANDLES, before * MOST_MORE_HANDLES))
      found.push(`${name}: ${before} open handles at least became ${after}`);
  }
  return found;
}

/** A sample as one line. */
export function inWords({ atMs, held }: Sample): string {
  const parts = Object.entries(held).map(
    ([name, { rss, heap, handles }]) => `${name} ${megabytes(rss)} (heap ${megabytes(heap)}, ${handles} handles)`,
  );
  return `${(atMs / 1_000).toFixed(0).padStart(5)} s  ${parts.join("  ")}`;
}

function least(samples: readonly Sample[], name: string): number {
  return Math.min(...samples.map(({ held }) => held[name]?.handles ?? 0));
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
