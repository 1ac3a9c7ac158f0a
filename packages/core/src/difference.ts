/** How far from where it is expected an item is looked for. */
const REACH = 8;

/** What is in one list and not in the other. */
export interface Difference<T> {
  readonly gone: readonly T[];
  readonly come: readonly T[];
}

/**
 * Compares two lists of objects by identity, in one pass that hardly looks at what has kept its place. An item that has
 * moved, or that is far from where its neighbours would have it, may be named in both parts; nothing that differs is
 * ever left out.
 */
export function difference<T>(before: readonly T[], after: readonly T[]): Difference<T> {
  const gone: T[] = [];
  const come: T[] = [];
  /** Everything before this has been found, or is gone. */
  let done = 0;
  /** Where the next item is expected. */
  let expected = 0;
  for (const item of after) {
    const isThere = expected < before.length && before[expected] === item;
    const at = isThere ? expected : near(before, item, done, expected);
    // If it is new it stands for another one, most likely: then the next one is where it was.
    expected = (at ?? expected) + 1;
    if (at === undefined) come.push(item);
    else {
      while (done < at) gone.push(before[done++] as T);
      done++;
    }
  }
  while (done < before.length) gone.push(before[done++] as T);
  return { gone, come };
}

function near<T>(before: readonly T[], item: T, first: number, expected: number): number | undefined {
  const end = Math.min(before.length, expected + REACH);
  for (let at = Math.max(first, expected - REACH); at < end; at++) if (before[at] === item) return at;
  return undefined;
}
