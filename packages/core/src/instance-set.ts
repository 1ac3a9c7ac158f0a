import { difference } from "./difference.ts";
import { firstPlace } from "./first-place.ts";
import { type Instance, address, asInstance, sameInstance } from "./instance.ts";

/**
 * With more changes than this at once, a set is made anew, which is as fast then. So is one that has no more instances,
 * whatever changed: of it, nothing is kept but itself.
 */
const MAX_PATCHED = 128;

/** What every set has until it gets one. */
export const NO_INSTANCES: readonly Instance[] = Object.freeze([]);

/** What is kept of a large set, besides the instances in order, that it can be patched. */
interface Ledger {
  readonly byId: Map<string, Instance>;
  /** What was given last, in its order; every one of them is frozen, so those that are still there say the same. */
  given: readonly Instance[];
}

/**
 * The canonical form of a complete set of instances: each id once (the first wins), in order, frozen. It is told whole
 * sets, but what it does goes with what has changed in them: among 10,000 instances, one that is another is patched into
 * a copy of the array.
 */
export class InstanceSet {
  #instances: readonly Instance[] = NO_INSTANCES;
  #ledger: Ledger | undefined;

  /** By `address()`, then by id, by code units: the same everywhere, whatever the locale. */
  get instances(): readonly Instance[] {
    return this.#instances;
  }

  /**
   * Takes the next complete set. `instances` stays the very array of before if it says the same, and so does every
   * instance that does. Throws `InvalidOptionError`, and stays as it was, if one of the given is no instance.
   */
  take(given: readonly Instance[]): void {
    if (this.#ledger === undefined || !this.#patched(this.#ledger, given)) this.#rebuild(given.map(asInstance));
  }

  /** Returns false, and has changed nothing, if the set is better made anew. */
  #patched(ledger: Ledger, given: readonly Instance[]): boolean {
    const { gone, come } = difference(ledger.given, given);
    if (gone.length === 0 && come.length === 0) return true;
    if (gone.length + come.length > MAX_PATCHED) return false;
    // What core did not make may be changed by its owner: then identity says nothing.
    if (!come.map(asInstance).every((instance, index) => instance === come[index])) return false;
    if (!this.#patch(ledger, gone, come)) return false;
    ledger.given = [...given];
    return true;
  }

  /** Returns false, and has changed nothing, if an id is there twice: who wins then depends on the order. */
  #patch({ byId, given }: Ledger, gone: readonly Instance[], come: readonly Instance[]): boolean {
    if (given.length !== this.#instances.length) return false;
    const leaving = new Map(gone.map(({ id }) => [id, byId.get(id)]));
    const coming = new Map(come.map((instance) => [instance.id, instance]));
    if (coming.size < come.length) return false;
    for (const id of coming.keys()) if (byId.has(id) && !leaving.has(id)) return false;

    // Of a frozen array, slice() and its like copy one by one, and this does not.
    const next = [...this.#instances];
    for (const [id, old] of leaving) {
      if (old === undefined) continue;
      const other = coming.get(id);
      if (other !== undefined && sameInstance(old, other)) coming.delete(id);
      else {
        next.splice(placeOf(old, next), 1);
        byId.delete(id);
      }
    }
    for (const [id, instance] of coming) {
      next.splice(placeOf(instance, next), 0, instance);
      byId.set(id, instance);
    }
    if (coming.size > 0 || next.length < this.#instances.length) this.#instances = Object.freeze(next);
    return true;
  }

  #rebuild(given: readonly Instance[]): void {
    const before = this.#instances;
    const known = this.#ledger?.byId ?? new Map(before.map((instance) => [instance.id, instance]));
    const byId = new Map<string, Instance>();
    for (const instance of given) {
      if (byId.has(instance.id)) continue;
      const old = known.get(instance.id);
      byId.set(instance.id, old !== undefined && sameInstance(old, instance) ? old : instance);
    }
    const next = inOrder([...byId.values()]);
    const isSame = next.length === before.length && next.every((instance, index) => instance === before[index]);
    if (!isSame) this.#instances = Object.freeze(next);
    this.#ledger = given.length > MAX_PATCHED ? { byId, given } : undefined;
  }
}

/** Makes each address once, and not once per comparison. */
function inOrder(instances: readonly Instance[]): Instance[] {
  const sorted = instances.map((instance) => ({ instance, address: address(instance) }));
  sorted.sort((a, b) => byCodeUnits(a.address, b.address) || byCodeUnits(a.instance.id, b.instance.id));
  return sorted.map(({ instance }) => instance);
}

/** Where an instance is in a list in order, or would be. */
function placeOf(wanted: Instance, instances: readonly Instance[]): number {
  const at = address(wanted);
  return firstPlace(instances, (other) => (byCodeUnits(address(other), at) || byCodeUnits(other.id, wanted.id)) < 0);
}

function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
