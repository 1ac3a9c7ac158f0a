import { hash } from "@rollcall/core";

/**
 * A repeatable source of chance: uniform in [0, 1), the same for the same seed and name on every machine. Streams of
 * different names are independent, so that one part of a simulation may draw more or less without changing what another
 * part draws: that is what makes runs of two policies comparable, call by call.
 *
 * Source: sfc32 of Chris Doty-Humphrey (PractRand, public domain): 128 bits of state, passes BigCrush. Not for secrets.
 */
export function randomStream(seed: number, name: string): () => number {
  let a = hash(name, seed) | 0;
  let b = hash(name, seed + 0x9e3779b9) | 0;
  let c = hash(`${seed}/${name}`) | 0;
  let counter = 1;
  const next = (): number => {
    const bits = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + bits) | 0;
    return (bits >>> 0) / 2 ** 32;
  };
  // As its author says: neighbouring seeds have parted after so many rounds.
  for (let round = 0; round < 12; round++) next();
  return next;
}
