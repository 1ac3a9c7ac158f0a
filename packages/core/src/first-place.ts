/**
 * The first place in a list at which `isBefore` does not hold: where an entry is in a list in order, or would be. Looks at
 * as many entries as the length has bits.
 */
export function firstPlace<T>(list: readonly T[], isBefore: (entry: T) => boolean): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(list[middle] as T)) low = middle + 1;
    else high = middle;
  }
  return low;
}
