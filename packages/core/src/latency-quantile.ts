/** Buckets per doubling: a bucket is 9 % wide, so an answer is right to 4 %, which no policy of waiting would notice. */
const PER_DOUBLING = 8;
/** From 2^-7 ms (8 µs), below which all is one, to 2^20 ms (a quarter of an hour), above which all is one. */
const LOWEST = -7 * PER_DOUBLING;
const BUCKETS = 27 * PER_DOUBLING;
/** How many samples may pass before the quantile is looked up again. */
const REFRESH_EVERY = 32;
/** As many have to lie above a quantile before it is believed. */
const LEAST_ABOVE = 5;
/** How many samples are remembered at most, before the older ones count half. */
const MEMORY = 1_000;
/** How long at least it takes until the older ones count half: a quiet client has to remember longer. */
const HALF_LIFE_MS = 30_000;

/**
 * One quantile of what was measured lately, in O(1) and without an allocation per sample.
 *
 * Counts by the logarithm, as DDSketch does (Masson, Rim, Lee: VLDB 2019), which bounds the relative error whatever the
 * distribution. What is old fades: all counts are halved after a thousand samples, or after 30 s if that takes longer.
 */
export class LatencyQuantile {
  readonly #share: number;
  readonly #least: number;
  readonly #memory: number;
  readonly #counts = new Float64Array(BUCKETS);
  #total = 0;
  #unseen = 0;
  #halvedAt: number | undefined;
  #ms: number | undefined;

  /** `share` is the quantile: 0.95 for the 95th percentile. */
  constructor(share: number) {
    this.#share = share;
    this.#least = LEAST_ABOVE / (1 - share);
    this.#memory = Math.max(MEMORY, 2 * this.#least);
  }

  /** In ms; `undefined` while there are too few samples: fewer than five above it, in expectation. */
  get ms(): number | undefined {
    return this.#ms;
  }

  /** Notes that something took `ms`, at `nowMs`. */
  add(ms: number, nowMs: number): void {
    const bucket = ms > 0 ? Math.floor(Math.log2(ms) * PER_DOUBLING) - LOWEST : 0;
    const at = Math.max(0, Math.min(BUCKETS - 1, bucket));
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    this.#total++;
    if (++this.#unseen < REFRESH_EVERY && this.#ms !== undefined) return;
    this.#unseen = 0;
    this.#fade(nowMs);
    if (this.#total >= this.#least) this.#ms = this.#find();
    // Not below half of what was asked for first: who was known once has been halved since.
    else if (this.#total < this.#least / 2) this.#ms = undefined;
  }

  #fade(nowMs: number): void {
    this.#halvedAt ??= nowMs;
    if (this.#total < this.#memory && nowMs - this.#halvedAt < HALF_LIFE_MS) return;
    this.#halvedAt = nowMs;
    this.#total /= 2;
    for (let at = 0; at < BUCKETS; at++) this.#counts[at] = (this.#counts[at] ?? 0) / 2;
  }

  /** Counted from above, where fewer lie. */
  #find(): number {
    let above = this.#total * (1 - this.#share);
    for (let at = BUCKETS - 1; at > 0; at--) {
      const here = this.#counts[at] ?? 0;
      if (here > 0 && above <= here) return 2 ** ((at + 1 - above / here + LOWEST) / PER_DOUBLING);
      above -= here;
    }
    return 2 ** (LOWEST / PER_DOUBLING);
  }
}
