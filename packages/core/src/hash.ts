/**
 * A 32-bit hash of a text: the same on every machine and in every release, so that all clients of a fleet agree on where
 * a key belongs. Different seeds give independent hashes. Not for secrets.
 *
 * Source: MurmurHash3 x86_32 of Austin Appleby (public domain), over the text's UTF-16 code units instead of bytes.
 */
export function hash(text: string, seed = 0): number {
  let h = seed | 0;
  const { length } = text;
  let index = 0;
  for (; index + 1 < length; index += 2) {
    h ^= scramble(text.charCodeAt(index) | (text.charCodeAt(index + 1) << 16));
    h = Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64;
  }
  if (index < length) h ^= scramble(text.charCodeAt(index));
  return mix(h ^ (length * 2));
}

/** Makes an independent hash of a hash: for the next place to look, or the next replica. */
export function rehash(value: number, seed: number): number {
  return mix(value ^ Math.imul(seed + 1, 0x9e3779b9));
}

function scramble(bits: number): number {
  const k = Math.imul(bits, 0xcc9e2d51);
  return Math.imul((k << 15) | (k >>> 17), 0x1b873593);
}

/** The finalizer: every bit of the input may change every bit of the output. */
function mix(value: number): number {
  let h = value;
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  h ^= h >>> 16;
  return h >>> 0;
}
