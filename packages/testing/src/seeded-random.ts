import { InvalidOptionError } from "@rollcall/core";

/**
 * A repeatable stand-in for `Math.random`: the same seed gives the same sequence, on every machine. Each call returns
 * the next number in [0, 1), a multiple of 2⁻³². Different seeds may be as close as 1 and 2.
 *
 * The algorithm is Mulberry32 by Tommy Ettinger (2017, public domain,
 * https://gist.github.com/tommyettinger/46a874533244883189143505d203312c): 32 bits of state, one addition and two
 * multiplications. It passes gjrand, which is plenty for tests, and is not for secrets.
 *
 * @throws InvalidOptionError for a seed that is no integer; only its lower 32 bits count.
 *
 * ```ts
 * import { manualClock, seededRandom } from "@rollcall/testing";
 * const clock = manualClock({ random: seededRandom(42) });
 * clock.env.random(); // 0.6011037519201636, every time
 * ```
 */
export function seededRandom(seed: number): () => number {
  if (!Number.isSafeInteger(seed)) throw new InvalidOptionError("seed", "an integer", seed);
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}
