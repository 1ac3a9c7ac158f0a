/**
 * Who leads, among racers that move along straight lines: racer `r` is at `at(r, time)`, gaining `speed[r]` per unit of
 * time, and whole steps of time pass. The leader is known at once; time costs only where one overtakes another, and
 * moving a racer by hand costs O(log n). In between ties, `before(a, b)` says who of two leads.
 *
 * Source: J. Basch, L. Guibas, J. Hershberger, "Data structures for mobile data", SODA 1997 (kinetic tournaments).
 */
export class KineticTournament {
  readonly #speed: ArrayLike<number>;
  readonly #at: (racer: number, time: number) => number;
  readonly #before: (a: number, b: number) => boolean;
  /** The number of leaves: a power of two. The root is 1, the children of `n` are `2n` and `2n + 1`. */
  readonly #leaves: number;
  /** Who leads below each node; -1 for nobody. */
  readonly #leader: Int32Array;
  /** Until when that is certain. */
  readonly #until: Float64Array;
  #time = 0;

  constructor(
    speed: ArrayLike<number>,
    at: (racer: number, time: number) => number,
    before: (a: number, b: number) => boolean,
  ) {
    this.#speed = speed;
    this.#at = at;
    this.#before = before;
    this.#leaves = 2 ** Math.ceil(Math.log2(Math.max(1, speed.length)));
    this.#leader = new Int32Array(2 * this.#leaves).fill(-1);
    this.#until = new Float64Array(2 * this.#leaves).fill(Infinity);
    for (let racer = 0; racer < speed.length; racer++) this.#leader[this.#leaves + racer] = racer;
    for (let node = this.#leaves - 1; node >= 1; node--) this.#decide(node);
  }

  /** Who leads at `time`, which never goes back. */
  leader(time: number): number {
    this.#time = time;
    this.#refresh(1);
    return this.#leader[1] ?? -1;
  }

  /** The racer was moved, or what `before` says of it has changed. */
  moved(racer: number): void {
    for (let node = (this.#leaves + racer) >> 1; node >= 1; node >>= 1) this.#decide(node);
  }

  #refresh(node: number): void {
    if (node >= this.#leaves || (this.#until[node] ?? Infinity) > this.#time) return;
    this.#refresh(2 * node);
    this.#refresh(2 * node + 1);
    this.#decide(node);
  }

  #decide(node: number): void {
    const one = this.#leader[2 * node] ?? -1;
    const other = this.#leader[2 * node + 1] ?? -1;
    const certain = Math.min(this.#until[2 * node] ?? Infinity, this.#until[2 * node + 1] ?? Infinity);
    if (other < 0) {
      this.#leader[node] = one;
      this.#until[node] = certain;
      return;
    }
    const ahead = this.#at(one, this.#time) - this.#at(other, this.#time);
    const oneLeads = ahead > 0 || (ahead === 0 && this.#before(one, other));
    const gain = ((this.#speed[other] ?? 0) - (this.#speed[one] ?? 0)) * (oneLeads ? 1 : -1);
    this.#leader[node] = oneLeads ? one : other;
    // Rounded down: to look once too often costs little, to look too late would be wrong.
    this.#until[node] = gain > 0 ? Math.min(certain, this.#time + Math.floor(Math.abs(ahead) / gain)) : certain;
  }
}
