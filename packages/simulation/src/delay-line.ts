/**
 * Things that all take the same time: what went in first comes out first, so that neither way costs more than O(1). For
 * the network and for time-outs, of which there are thousands under way at once.
 */
export class DelayLine<T> {
  readonly delayMs: number;
  readonly #run: (item: T) => void;
  /** A ring, whose size is a power of two. */
  #items: (T | undefined)[] = Array.from({ length: 64 });
  #dueMs = new Float64Array(64);
  #orders = new Float64Array(64);
  #head = 0;
  #size = 0;

  constructor(delayMs: number, run: (item: T) => void) {
    this.delayMs = delayMs;
    this.#run = run;
  }

  /** When the next one comes out; `Infinity` when it is empty. */
  get dueMs(): number {
    return this.#size === 0 ? Infinity : (this.#dueMs[this.#head] ?? Infinity);
  }

  get order(): number {
    return this.#orders[this.#head] ?? 0;
  }

  add(item: T, nowMs: number, order: number): void {
    if (this.#size === this.#items.length) this.#grow();
    const place = (this.#head + this.#size++) & (this.#items.length - 1);
    this.#items[place] = item;
    this.#dueMs[place] = nowMs + this.delayMs;
    this.#orders[place] = order;
  }

  /** Takes the next one out and lets happen what is to happen. */
  run(): void {
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#items.length - 1);
    this.#size--;
    if (item !== undefined) this.#run(item);
  }

  #grow(): void {
    const { length } = this.#items;
    const turned = <A>(ring: ArrayLike<A>): A[] =>
      Array.from({ length }, (_, n) => ring[(this.#head + n) % length] as A);
    this.#items = [...turned(this.#items), ...Array.from<undefined>({ length })];
    const dueMs = new Float64Array(2 * length);
    dueMs.set(turned(this.#dueMs));
    this.#dueMs = dueMs;
    const orders = new Float64Array(2 * length);
    orders.set(turned(this.#orders));
    this.#orders = orders;
    this.#head = 0;
  }
}
