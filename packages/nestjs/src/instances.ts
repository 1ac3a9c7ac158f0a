import { type Closable, type Instance, type Instancer, type Snapshot, closable } from "@rollcall/core";

/**
 * The instances of a service as they are known now: a live view that is always up to date, and never waits. It shares
 * the watch of the service's client, and begins one of its own only when it is first looked at and there is none.
 */
export interface Instances extends Iterable<Instance> {
  readonly service: string;
  /** Their state as well: `pending`, `live` or `stale`. */
  readonly snapshot: Snapshot;
  /** Those of `snapshot`. A new array exactly when they have changed. */
  readonly instances: readonly Instance[];
  /** Calls `onChange` after each change of `snapshot`. Returns the function that unsubscribes. Throws `ClosedError`. */
  subscribe(onChange: () => void): () => void;
}

/** Makes the view of an instancer, which closes with it. */
export function createInstances(instancer: Instancer): Instances & Closable {
  let watched = false;
  let closed = false;
  const snapshot = (): Snapshot => {
    // An instancer watches as long as somebody listens; whoever looks here wants to see what is, not what was.
    if (!watched && !closed) {
      watched = true;
      instancer.subscribe(() => undefined);
    }
    return instancer.snapshot;
  };
  return {
    service: instancer.service,
    get snapshot() {
      return snapshot();
    },
    get instances() {
      return snapshot().instances;
    },
    subscribe: (onChange) => instancer.subscribe(onChange),
    [Symbol.iterator]: () => snapshot().instances[Symbol.iterator](),
    ...closable(async () => {
      closed = true;
      await instancer.close();
    }),
  };
}
