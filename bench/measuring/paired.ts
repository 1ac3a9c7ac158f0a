import { median } from "./median.ts";

/** What was found out of something beside its base. */
export interface Paired {
  readonly ourMs: number;
  readonly baseMs: number;
  readonly ratio: number;
  /** By how much the base differs from itself: 0.01 is one hundredth. */
  readonly control: number;
}

/**
 * Times something beside its base: base, ours, base; so often. Both bases count, and beside each other they are the
 * control: where they differ, the machine does something else meanwhile. All medians, of time of a processor, on all
 * threads. What the one leaves
 * behind in the young generation is collected (with `--expose-gc`) before the other begins, and is not timed.
 */
export async function paired(
  ours: () => unknown,
  base: () => unknown,
  { rounds = 40, warmUp = 8 }: { readonly rounds?: number; readonly warmUp?: number } = {},
): Promise<Paired> {
  const mine: number[] = [];
  const bases: number[] = [];
  const ratios: number[] = [];
  const controls: number[] = [];
  for (let round = -warmUp; round < rounds; round++) {
    const before = await timed(base);
    const ourMs = await timed(ours);
    const after = await timed(base);
    if (round < 0) continue;
    mine.push(ourMs);
    bases.push(before, after);
    ratios.push(ourMs / ((before + after) / 2));
    // Turn and turn about, that it does not matter which comes after ours.
    controls.push(round % 2 === 0 ? after / before : before / after);
  }
  return {
    ourMs: median(mine),
    baseMs: median(bases),
    ratio: median(ratios),
    control: Math.abs(median(controls) - 1),
  };
}

async function timed(run: () => unknown): Promise<number> {
  globalThis.gc?.({ type: "minor" });
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}
