import { channels } from "./channels.ts";
import { type Env, resolveEnv } from "./env.ts";
import { InstanceSet, NO_INSTANCES } from "./instance-set.ts";
import type { Instance } from "./instance.ts";
import { checkOptions, is } from "./options.ts";
import type { Snapshot } from "./snapshot.ts";

/** Holds what is known of one service and tells who wants to know that it changed. */
export interface Cache {
  readonly snapshot: Snapshot;
  /**
   * Calls `onChange` after each change, synchronously and in the order of subscription; the listener reads `snapshot`.
   * One that throws or rejects disturbs nobody: the error goes to `channels.listenerError`. One that causes a further
   * change itself makes it known first, and nobody hears of the same revision twice. Returns the function that
   * unsubscribes.
   */
  subscribe(onChange: () => void): () => void;
  /**
   * Takes a complete set: the state is `live`. The array is not changed; duplicate ids collapse (the first wins).
   * Throws `InvalidOptionError`, and stays as it was, if one of them is no instance.
   */
  update(instances: readonly Instance[]): void;
  /** Notes that the registry cannot be read: `stale` with the last good set, or `pending` with an error. */
  fail(error: unknown): void;
}

/** Makes an empty, pending {@link Cache}. It holds no timer and need not be closed. */
export function createCache(options: { env?: Partial<Env> | undefined } = {}): Cache {
  checkOptions("", options, { env: is.env });
  const cache = new ServiceCache(resolveEnv(options.env));
  // Functions of their own, for some take them along.
  return {
    get snapshot() {
      return cache.snapshot;
    },
    subscribe: (onChange) => cache.subscribe(onChange),
    update: (instances) => cache.update(instances),
    fail: (error) => cache.fail(error),
  };
}

/** Whoever subscribed to a cache. */
export interface Listener {
  readonly onChange: () => void;
  readonly owner: object | undefined;
  /** Until it unsubscribes. */
  active: boolean;
}

const NOBODY: readonly Listener[] = [];

/** The {@link Cache}, as it is used within core. A process may have thousands: what it holds has its price. */
export class ServiceCache implements Cache {
  readonly #env: Env;
  readonly #service: string | undefined;
  readonly #set = new InstanceSet();
  /** Never changed, but replaced: whoever goes through it may be called back by who is told. */
  #listeners = NOBODY;
  #snapshot: Snapshot = NOTHING_KNOWN;

  /** @param service whose snapshots are said on `channels.snapshotChanged`, before anybody else hears of them. */
  constructor(env: Env, service?: string) {
    this.#env = env;
    this.#service = service;
  }

  get snapshot(): Snapshot {
    return this.#snapshot;
  }

  /** How many listen. */
  get audience(): number {
    return this.#listeners.length;
  }

  subscribe(onChange: () => void): () => void {
    const listener = this.add(onChange);
    return () => void this.remove(listener);
  }

  /** {@link subscribe} for who keeps the listener, and removes it. */
  add(onChange: () => void, owner?: object): Listener {
    const listener = { onChange, owner, active: true };
    this.#listeners = this.#listeners.concat(listener); // and not a spread, which leaves room for sixteen more
    return listener;
  }

  /** Returns whether it was still there. */
  remove(listener: Listener): boolean {
    if (!listener.active) return false;
    listener.active = false;
    this.#listeners = this.#listeners.filter((each) => each !== listener);
    return true;
  }

  listenersOf(owner: object): readonly Listener[] {
    return this.#listeners.filter((each) => each.owner === owner);
  }

  /** Removes everybody. */
  silence(): void {
    for (const listener of this.#listeners) listener.active = false;
    this.#listeners = NOBODY;
  }

  update(given: readonly Instance[]): void {
    this.#set.take(given);
    const { instances } = this.#set;
    if (this.#snapshot.state === "live" && instances === this.#snapshot.instances) return;
    this.#publish({ state: "live", revision: this.#snapshot.revision + 1, instances });
  }

  fail(error: unknown): void {
    const { state, instances, revision } = this.#snapshot;
    if (state === "live") {
      this.#publish({ state: "stale", revision: revision + 1, instances, error, staleSinceMs: this.#env.now() });
    } else if (state === "pending" && !("error" in this.#snapshot)) {
      this.#publish({ state: "pending", revision: revision + 1, instances, error });
    }
  }

  #publish(snapshot: Snapshot): void {
    this.#snapshot = Object.freeze(snapshot);
    const listeners = this.#listeners;
    if (this.#service !== undefined) channels.snapshotChanged.publish({ service: this.#service, snapshot });
    for (const listener of listeners) {
      // One that ran before it may have caused a further change, of which everybody has heard by now.
      if (this.#snapshot !== snapshot) return;
      // Or it may have unsubscribed this one.
      if (listener.active) notify(listener.onChange);
    }
  }
}

const NOTHING_KNOWN: Snapshot = Object.freeze({ state: "pending", revision: 0, instances: NO_INSTANCES });

/** Calls a listener; nothing it does wrong, now or later, reaches whoever caused the change. */
function notify(onChange: () => unknown): void {
  const failed = (error: unknown): void => channels.listenerError.publish({ error });
  try {
    const result = onChange();
    // An async function is a listener too, for the compiler.
    if (result instanceof Promise) result.catch(failed);
  } catch (error) {
    failed(error);
  }
}
