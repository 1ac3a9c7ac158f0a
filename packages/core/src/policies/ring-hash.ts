import type { Endpoint } from "../endpoint.ts";
import { hash, rehash } from "../hash.ts";
import { HASH_CHECKS, type HashField, type HashOptions, hashKeyOf, hashPolicy } from "../hash-field.ts";
import { checkOptions, is } from "../options.ts";
import type { NonEmpty, Policy } from "../policy.ts";

/** What {@link ringHash} can be told. */
export interface RingHashOptions extends HashOptions {
  /**
   * How many points the lightest endpoint has; more of them, better balance. Default 160, the number of ketama; halved as
   * often as the ring would have more than 262144 points in all.
   */
  readonly points?: number | undefined;
  /** Instead of `points`: at least so many points in all, as in gRPC. Keys move whenever the size of the set changes. */
  readonly minRingSize?: number | undefined;
  /** With `minRingSize`: at most so many points in all. Default 4096, as in gRPC. */
  readonly maxRingSize?: number | undefined;
}

/**
 * The same key to the same endpoint, as long as it is there: endpoints own the arcs of a ring up to their points. If one
 * leaves, its keys alone move, to the next on the ring, which is also where a retry goes. Without a key: by chance.
 * O(log points) per pick. {@link maglev} is evener with many endpoints.
 *
 * Sources: D. Karger et al., "Consistent hashing and random trees", STOC 1997; weights as in gRPC proposal A42 and Envoy's ring
 * hash, but with a size of the ring that follows the set, so that the points of those who stay do not change.
 *
 * @throws InvalidOptionError
 */
export function ringHash(options: RingHashOptions = {}): Policy {
  const size = is.number(1, 2 ** 23);
  checkOptions("", options, { ...HASH_CHECKS, points: is.number(1, 10_000), minRingSize: size, maxRingSize: size });
  const { points = 160, minRingSize, maxRingSize = Math.max(4_096, minRingSize ?? 0) } = options;
  const isBounded = options.boundedLoad !== undefined;
  const sizeOf =
    minRingSize === undefined
      ? (least: number): number => points * 2 ** Math.min(0, Math.floor(Math.log2((LARGEST * least) / points)))
      : (least: number): number => Math.min(Math.ceil(least * minRingSize), maxRingSize * least);
  return hashPolicy("ring-hash", (endpoints) => new Ring(endpoints, sizeOf, isBounded), options);
}

/** A ring of the default kind has no more points than this. */
const LARGEST = 2 ** 18;
/** An owner takes 20 bits beside the 32 of its point. */
const OWNERS = 2 ** 20;

class Ring implements HashField {
  /** Sorted; each is a point and its owner in one number. */
  readonly #points: Float64Array;
  readonly #jumps: boolean;
  readonly #owners: number;

  /** `sizeOf`: how many points the lightest endpoint has, by its share of the weight. */
  constructor(endpoints: NonEmpty<Endpoint>, sizeOf: (least: number) => number, jumps: boolean) {
    this.#jumps = jumps;
    this.#owners = endpoints.length;
    const weights = endpoints.map(({ instance }) => instance.weight);
    const sum = weights.reduce((total, weight) => total + weight, 0);
    const least = weights.reduce((min, weight) => Math.min(min, weight), Infinity) / sum;
    const scale = sizeOf(least) / least;
    const points: number[] = [];
    let target = 0;
    for (const [owner, endpoint] of endpoints.entries()) {
      const key = hashKeyOf(endpoint);
      target += (scale * endpoint.instance.weight) / sum;
      for (let replica = 0; points.length < target - 1e-6; replica++) {
        points.push(hash(`${key}_${replica}`) * OWNERS + owner);
      }
    }
    this.#points = Float64Array.from(points).toSorted();
  }

  owner(hashed: number, refusals: number): number {
    if (refusals === 0) return this.#ownerAt(this.#indexOf(hashed));
    // Under a bound the neighbour would get all that its neighbour refuses, and refuse in turn: jump.
    if (this.#jumps) return this.#ownerAt(this.#indexOf(rehash(hashed, refusals)));
    return this.#walk(this.#indexOf(hashed), refusals);
  }

  /** The owner of the first point at or after the hash. */
  #indexOf(hashed: number): number {
    const points = this.#points;
    let low = 0;
    let high = points.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((points[middle] ?? 0) < hashed * OWNERS) low = middle + 1;
      else high = middle;
    }
    return low === points.length ? 0 : low;
  }

  #ownerAt(index: number): number {
    return (this.#points[index] ?? 0) % OWNERS;
  }

  /** The so-many-th other owner, clockwise. */
  #walk(from: number, others: number): number {
    // All have been asked: do not go round to find nobody.
    if (others >= this.#owners) return this.#ownerAt(from);
    const met = new Set([this.#ownerAt(from)]);
    for (let step = 1; step < this.#points.length; step++) {
      const owner = this.#ownerAt((from + step) % this.#points.length);
      if (met.has(owner)) continue;
      met.add(owner);
      if (met.size > others) return owner;
    }
    return this.#ownerAt(from);
  }
}
