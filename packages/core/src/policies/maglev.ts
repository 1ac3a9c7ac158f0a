import type { Endpoint } from "../endpoint.ts";
import { InvalidOptionError } from "../errors.ts";
import { hash, rehash } from "../hash.ts";
import { HASH_CHECKS, type HashField, type HashOptions, hashKeyOf, hashPolicy } from "../hash-field.ts";
import { checkOptions } from "../options.ts";
import type { NonEmpty, Policy } from "../policy.ts";

/** What {@link maglev} can be told. */
export interface MaglevOptions extends HashOptions {
  /** Slots of the table: a prime up to 5000011, best a hundred times the endpoints. Default 65537. */
  readonly tableSize?: number | undefined;
}

/**
 * The same key to the same endpoint, and the same number of keys to each, by weight: endpoints take turns in filling a
 * table. If one leaves, its keys move, and a few others. One look at a table per pick; a new table for each change of the
 * set takes some milliseconds. Without a key: by chance.
 *
 * Source: D. Eisenbud et al., "Maglev: a fast and reliable software network load balancer", NSDI 2016; weights and the next
 * choice of a retry as in Envoy.
 *
 * @throws InvalidOptionError
 */
export function maglev(options: MaglevOptions = {}): Policy {
  checkOptions("", options, { ...HASH_CHECKS, tableSize: checkPrime });
  const { tableSize = 65_537 } = options;
  return hashPolicy("maglev", (endpoints) => new MaglevTable(endpoints, tableSize), options);
}

class MaglevTable implements HashField {
  readonly #owners: Int32Array;

  constructor(endpoints: NonEmpty<Endpoint>, size: number) {
    // In the order of their names: clients that heard of them in another order must agree on the table.
    const order = endpoints.map((endpoint, owner) => ({
      key: hashKeyOf(endpoint),
      owner,
      weight: endpoint.instance.weight,
    }));
    order.sort(byKey);
    const count = order.length;
    const most = order.reduce((max, { weight }) => Math.max(max, weight), 0);
    const place = Int32Array.from(order, ({ key }) => hash(key, 0) % size);
    const skip = Int32Array.from(order, ({ key }) => (hash(key, 1) % (size - 1)) + 1);
    const target = new Float64Array(count);
    const owners = new Int32Array(size).fill(-1);
    let filled = 0;
    for (let round = 1; filled < size; round++) {
      for (let turn = 0; turn < count && filled < size; turn++) {
        const { weight, owner } = order[turn] ?? NOBODY;
        // The light ones sit out: one of half the weight takes every other turn.
        if (round * weight < (target[turn] ?? 0)) continue;
        target[turn] = (target[turn] ?? 0) + most;
        let slot = place[turn] ?? 0;
        const step = skip[turn] ?? 1;
        while ((owners[slot] ?? 0) >= 0) slot = slot + step < size ? slot + step : slot + step - size;
        owners[slot] = owner;
        place[turn] = slot + step < size ? slot + step : slot + step - size;
        filled++;
      }
    }
    this.#owners = owners;
  }

  owner(hashed: number, refusals: number): number {
    return this.#owners[(refusals === 0 ? hashed : rehash(hashed, refusals)) % this.#owners.length] ?? 0;
  }
}

function byKey(a: { readonly key: string }, b: { readonly key: string }): number {
  if (a.key === b.key) return 0;
  return a.key < b.key ? -1 : 1;
}

const NOBODY = { weight: 0, owner: 0 };

function checkPrime(value: unknown, path: string): void {
  if (!isPrime(value) || value > 5_000_011) throw new InvalidOptionError(path, "a prime from 3 to 5000011", value);
}

function isPrime(value: unknown): value is number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 3) return false;
  for (let divisor = 2; divisor * divisor <= value; divisor++) if (value % divisor === 0) return false;
  return true;
}
