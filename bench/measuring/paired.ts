import { median } from "./median.ts";

/** What was found out of something beside its base. */
export interface Paired {
  /** Time of a processor that one run took, on all threads. */
  readonly ourMs: number;
  readonly baseMs: number;
  readonly ratio: number;
  /** By how much the base differs from itself: 0.01 is one hundredth. */
  readonly control: number;
}

const SLICE_MS = 200;

/**
 * Times something beside its base, in turns of a fifth of a second in one process: ours, base, base; so often. The two
 * bases beside each other are the control: where they differ, the machine does something else meanwhile. All medians.
 * Whoever comes after the other runs once untimed, so that it does not pay for what the other has left to collect.
 */
export async function paired(ours: () => unknown, base: () => unknown, rounds = 16): Promise<Paired> {
  const mine: number[] = [];
  const bases: number[] = [];
  const ratios: number[] = [];
  const controls: number[] = [];
  for (let round = -2; round < rounds; round++) {
    const ourMs = await slice(ours);
    const first = await slice(base);
    const second = await slice(base);
    if (round < 0) continue; // to warm up
    mine.push(ourMs);
    bases.push(first, second);
    ratios.push(ourMs / ((first + second) / 2));
    controls.push(round % 2 === 0 ? second / first : first / second);
  }
  return {
    ourMs: median(mine),
    baseMs: median(bases),
    ratio: median(ratios),
    control: Math.abs(median(controls) - 1),
  };
}

async function slice(run: () => unknown): Promise<number> {
  await run();
  globalThis.gc?.({ type: "minor" });
  const untilMs = performance.now() + SLICE_MS;
  const before = process.cpuUsage();
  let runs = 0;
  do {
    await run();
    runs++;
  } while (performance.now() < untilMs);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000 / runs;
}
