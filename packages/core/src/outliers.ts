import { InvalidOptionError } from "./errors.ts";
import { type Check, checkOptions, is } from "./options.ts";

/** Who is compared: only with enough calls, and only among enough endpoints. */
interface Volume {
  /** Calls that an endpoint must have had in the interval to be judged. */
  readonly minCalls?: number | undefined;
  /** Endpoints with so many calls that there must be. */
  readonly minEndpoints?: number | undefined;
}

/** How outliers are found. Each detector may be `false`. */
export interface Detectors {
  /** So many failures in a row eject at once. Default 5. */
  readonly failures?: number | false | undefined;
  /** Ejects whose success rate is more than `stdevFactor` standard deviations below the mean. Default 1.9, 100 calls, 5. */
  readonly successRate?: (Volume & { readonly stdevFactor?: number | undefined }) | false | undefined;
  /** Ejects who fails in at least `threshold` of its calls. Default 0.85, 50 calls, 5 endpoints. */
  readonly failureShare?: (Volume & { readonly threshold?: number | undefined }) | false | undefined;
  /** Ejects whose mean latency is more than `factor` times the median of all. Default off; 5, 20 calls, 3 endpoints. */
  readonly latency?: (Volume & { readonly factor?: number | undefined }) | false | undefined;
  /** How often the last three compare. Default 10 s. */
  readonly intervalMs?: number | undefined;
}

const VOLUME_CHECKS = { minCalls: is.number(1), minEndpoints: is.number(1) };

function orFalse(inner: Check): Check {
  return (value, path) => {
    if (value === true) throw new InvalidOptionError(path, "its settings, or false", value);
    if (value !== false) inner(value, path);
  };
}

export const DETECTOR_CHECKS = {
  failures: orFalse(is.number(1)),
  successRate: orFalse((value, path) => checkOptions(path, value, { ...VOLUME_CHECKS, stdevFactor: is.number(0) })),
  failureShare: orFalse((value, path) => checkOptions(path, value, { ...VOLUME_CHECKS, threshold: is.number(0, 1) })),
  latency: orFalse((value, path) => checkOptions(path, value, { ...VOLUME_CHECKS, factor: is.number(1) })),
  intervalMs: is.number(1),
};

/** The detectors with their defaults; one that is off asks for more endpoints than there are. */
export function detectorsOf({
  failures = 5,
  successRate = {},
  failureShare = {},
  latency = false,
  intervalMs,
}: Detectors) {
  const off = { minCalls: 1, minEndpoints: Infinity };
  return {
    failures: failures === false ? Infinity : failures,
    successRate: {
      stdevFactor: 1.9,
      minCalls: 100,
      minEndpoints: 5,
      ...given(successRate === false ? off : successRate),
    },
    failureShare: {
      threshold: 0.85,
      minCalls: 50,
      minEndpoints: 5,
      ...given(failureShare === false ? off : failureShare),
    },
    latency: { factor: 5, minCalls: 20, minEndpoints: 3, ...given(latency === false ? off : latency) },
    intervalMs: intervalMs ?? 10_000,
  };
}

/** Without what is undefined, so that defaults show through. */
function given<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;
}

/** The calls of one endpoint in one interval. */
export class Tally {
  calls = 0;
  failures = 0;
  #latencyMs = 0;

  add(isGood: boolean, latencyMs: number): void {
    this.calls++;
    if (!isGood) this.failures++;
    this.#latencyMs += latencyMs;
  }

  get successRate(): number {
    return 1 - this.failures / this.calls;
  }

  get meanMs(): number {
    return this.#latencyMs / this.calls;
  }

  clear(): void {
    this.calls = 0;
    this.failures = 0;
    this.#latencyMs = 0;
  }
}

/** The places of those that stand out, each once. */
export function outliers(tallies: readonly Tally[], detectors: ReturnType<typeof detectorsOf>): ReadonlySet<number> {
  const found = new Set<number>();
  const judge = (
    { minCalls, minEndpoints }: { readonly minCalls: number; readonly minEndpoints: number },
    makeTest: (enough: readonly Tally[]) => (tally: Tally) => boolean,
  ): void => {
    const enough = tallies.filter(({ calls }) => calls >= minCalls);
    if (enough.length < minEndpoints || enough.length === 0) return;
    const isOutlier = makeTest(enough);
    for (const [place, tally] of tallies.entries()) {
      if (tally.calls >= minCalls && isOutlier(tally)) found.add(place);
    }
  };
  judge(detectors.failureShare, () => (tally) => 1 - tally.successRate >= detectors.failureShare.threshold);
  judge(detectors.successRate, (enough) => {
    const rates = enough.map(({ successRate }) => successRate);
    const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
    const variance = rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0) / rates.length;
    const least = mean - detectors.successRate.stdevFactor * Math.sqrt(variance);
    return ({ successRate }) => successRate < least;
  });
  judge(detectors.latency, (enough) => {
    const means = enough.map(({ meanMs }) => meanMs).toSorted((a, b) => a - b);
    const median = means[Math.floor((means.length - 1) / 2)] ?? 0;
    return ({ meanMs }) => meanMs > detectors.latency.factor * median;
  });
  return found;
}
