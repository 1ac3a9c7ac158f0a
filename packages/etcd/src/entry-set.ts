import { type Instance, type Reading, noneUsable } from "@rollcall/core";
import { EtcdError } from "./etcd-error.ts";

/**
 * The records of one service, by key, and the instances among them that have all of the tags. A change of one among
 * 10,000 costs that one, and a copy of an array.
 */
export class EntrySet {
  readonly #service: string;
  readonly #tags: readonly string[];
  readonly #records = new Map<string, Kept>();
  /** Those that were asked for, in no order. */
  readonly #wanted: Wanted[] = [];
  /** How many instances there are, whatever their tags. */
  #good = 0;
  /** How many records there are that should be instances. Keys of other programs do not count. */
  #bad = 0;

  constructor(service: string, tags: readonly string[]) {
    this.#service = service;
    this.#tags = tags;
  }

  set(key: string, entry: Reading): void {
    this.#forget(key);
    let wanted: Wanted | undefined;
    const { instance } = entry;
    if (instance !== undefined) {
      this.#good++;
      if (this.#tags.every((tag) => instance.tags.includes(tag))) wanted = { instance, place: this.#wanted.length };
    } else if (entry.foreign !== true) this.#bad++;
    if (wanted !== undefined) this.#wanted.push(wanted);
    this.#records.set(key, { entry, wanted });
  }

  delete(key: string): void {
    this.#forget(key);
    this.#records.delete(key);
  }

  clear(): void {
    this.#records.clear();
    this.#wanted.length = 0;
    this.#good = this.#bad = 0;
  }

  /**
   * A list of its own, in no order.
   *
   * @throws EtcdError if there are records, but no instance: nothing but junk must not pass for nothing. Keys of other
   * programs do not count, or the last instance could never leave.
   */
  instances(): readonly Instance[] {
    if (this.#good === 0 && this.#bad > 0) {
      const first = [...this.#records.values()].find(({ entry }) => entry.foreign !== true);
      throw noneUsable(EtcdError, this.#service, this.#bad, first?.entry.error);
    }
    return this.#wanted.map(({ instance }) => instance);
  }

  #forget(key: string): void {
    const record = this.#records.get(key);
    if (record === undefined) return;
    const { entry, wanted } = record;
    if (entry.instance !== undefined) this.#good--;
    else if (entry.foreign !== true) this.#bad--;
    if (wanted === undefined) return;
    // The last one takes its place, so that no other has to move.
    const last = this.#wanted.pop();
    if (last === undefined || last === wanted) return;
    last.place = wanted.place;
    this.#wanted[last.place] = last;
  }
}

interface Kept {
  readonly entry: Reading;
  /** If it was asked for. */
  readonly wanted: Wanted | undefined;
}

interface Wanted {
  readonly instance: Instance;
  place: number;
}
