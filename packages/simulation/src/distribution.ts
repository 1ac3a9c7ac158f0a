import { InvalidOptionError, checkOptions, is, required } from "@rollcall/core";
import { normalDensity, normalQuantile, normalShare } from "./normal.ts";
import { MOST, POSITIVE } from "./range.ts";

/** How much work a call is: a distribution of milliseconds at speed 1. A number is a constant. */
export type Distribution =
  | number
  | { readonly kind: "exponential"; readonly meanMs: number }
  /** `sigma`: the deviation of the logarithm. The tail grows with it; 1 is that of many web services. */
  | { readonly kind: "lognormal"; readonly meanMs: number; readonly sigma: number }
  /** Normal, without what lies below 0. Mean and deviation are those before that is left out. */
  | { readonly kind: "normal"; readonly meanMs: number; readonly deviationMs: number };

const SHAPES = {
  exponential: { meanMs: required(POSITIVE) },
  lognormal: { meanMs: required(POSITIVE), sigma: required(is.number(0, 10)) },
  normal: { meanMs: required(is.number(0, MOST)), deviationMs: required(POSITIVE) },
};

/** Throws `InvalidOptionError` unless `value` is a {@link Distribution}. */
export function checkDistribution(value: unknown, path: string): void {
  if (typeof value === "number") {
    POSITIVE(value, path);
    return;
  }
  is.object(value, path);
  const kind: unknown = Reflect.get(Object(value), "kind");
  if (typeof kind !== "string" || !Object.hasOwn(SHAPES, kind)) {
    throw new InvalidOptionError(`${path}.kind`, Object.keys(SHAPES).join(" | "), kind);
  }
  checkOptions(path, value, { kind: is.string, ...SHAPES[kind as keyof typeof SHAPES] });
}

/**
 * The value below which this share of the distribution lies, as a function of the share in [0, 1). Drawing is to ask it
 * with a uniform number: then one number decides all there is to decide about a call, and a heavy call is a heavy call for
 * every policy and on every server.
 */
export function quantileOf(distribution: Distribution): (share: number) => number {
  if (typeof distribution === "number") return () => distribution;
  const { meanMs } = distribution;
  if (distribution.kind === "exponential") return (share) => -meanMs * Math.log(1 - share);
  if (distribution.kind === "lognormal") {
    const { sigma } = distribution;
    const location = Math.log(meanMs) - (sigma * sigma) / 2;
    return (share) => Math.exp(location + sigma * normalQuantile(inside(share)));
  }
  const { deviationMs } = distribution;
  const below = normalShare(-meanMs / deviationMs);
  return (share) => Math.max(0, meanMs + deviationMs * normalQuantile(inside(below + share * (1 - below))));
}

/** The mean in milliseconds. */
export function meanOf(distribution: Distribution): number {
  if (typeof distribution === "number") return distribution;
  if (distribution.kind !== "normal") return distribution.meanMs;
  const { meanMs, deviationMs } = distribution;
  const cut = -meanMs / deviationMs;
  return meanMs + (deviationMs * normalDensity(cut)) / (1 - normalShare(cut));
}

/** A normal quantile of 0 or 1 would be infinite. */
function inside(share: number): number {
  return Math.min(1 - 2 ** -33, Math.max(2 ** -33, share));
}
