import { type Instance, type Reading, firstPlace, noneUsable } from "@rollcall/core";
import { EtcdError } from "./etcd-error.ts";

/**
 * The records of one service, by key, and the instances among them that have all of the tags. A change of one among
 * 10,000 costs that one, and copies of arrays. There may be thousands of such sets, mostly of a few records each: arrays
 * of just their length are the least that can hold these, so they are copied to grow.
 */
export class EntrySet {
  readonly #service: string;
  readonly #tags: readonly string[];
  /** In order, by code units. */
  #keys: string[] = [];
  /** What is under each of them. */
  #entries: Reading[] = [];

  constructor(service: string, tags: readonly string[]) {
    this.#service = service;
    this.#tags = tags;
  }

  /** Forgets everything else. */
  replace(entries: readonly (readonly [key: string, entry: Reading])[]): void {
    const sorted = entries.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)); // as etcd lists them: no work
    this.#keys = sorted.map(([key]) => key);
    this.#entries = sorted.map(([, entry]) => entry);
  }

  set(key: string, entry: Reading): void {
    const at = this.#placeOf(key);
    if (this.#keys[at] === key) this.#entries[at] = entry;
    else {
      this.#keys = this.#keys.toSpliced(at, 0, key);
      this.#entries = this.#entries.toSpliced(at, 0, entry);
    }
  }

  delete(key: string): void {
    const at = this.#placeOf(key);
    if (this.#keys[at] !== key) return;
    this.#keys.splice(at, 1);
    this.#entries.splice(at, 1);
  }

  /**
   * A list of its own, by key.
   *
   * @throws EtcdError if there are records, but no instance: nothing but junk must not pass for nothing. Keys of other
   * programs do not count, or the last instance could never leave.
   */
  instances(): readonly Instance[] {
    const instances = this.#entries.flatMap(({ instance }) => instance ?? []);
    if (instances.length === 0) {
      const bad = this.#entries.filter(({ foreign }) => foreign !== true);
      if (bad.length > 0) throw noneUsable(EtcdError, this.#service, bad.length, bad[0]?.error);
    }
    if (this.#tags.length === 0) return instances;
    return instances.filter((instance) => this.#tags.every((tag) => instance.tags.includes(tag)));
  }

  /** Where the key is, or would be. */
  #placeOf(key: string): number {
    return firstPlace(this.#keys, (other) => other < key);
  }
}
