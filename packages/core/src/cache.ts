import { channels } from "./channels.ts";
import { type Env, resolveEnv } from "./env.ts";
import { InstanceSet } from "./instance-set.ts";
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
  const env = resolveEnv(options.env);
  const set = new InstanceSet();
  const listeners = new Set<Listener>();
  /** The same as a list, made anew only after somebody came or went. */
  let audience: readonly Listener[] | undefined;
  let snapshot: Snapshot = Object.freeze({ state: "pending", revision: 0, instances: set.instances });

  const publish = (next: Snapshot): void => {
    snapshot = Object.freeze(next);
    audience ??= Array.from(listeners);
    for (const listener of audience) {
      // One that ran before it may have caused a further change, of which everybody has heard by now.
      if (snapshot !== next) return;
      // Or it may have unsubscribed this one.
      if (listener.active) notify(listener.onChange);
    }
  };

  return {
    get snapshot() {
      return snapshot;
    },
    subscribe(onChange) {
      const listener: Listener = { onChange, active: true };
      listeners.add(listener);
      audience = undefined;
      return () => {
        listener.active = false;
        listeners.delete(listener);
        audience = undefined;
      };
    },
    update(given) {
      set.take(given);
      const { instances } = set;
      if (snapshot.state === "live" && instances === snapshot.instances) return;
      publish({ state: "live", revision: snapshot.revision + 1, instances });
    },
    fail(error) {
      const { instances, revision } = snapshot;
      if (snapshot.state === "live") {
        publish({ state: "stale", revision: revision + 1, instances, error, staleSinceMs: env.now() });
      } else if (snapshot.state === "pending" && !("error" in snapshot)) {
        publish({ state: "pending", revision: revision + 1, instances, error });
      }
    },
  };
}

interface Listener {
  readonly onChange: () => void;
  /** Until it unsubscribes. */
  active: boolean;
}

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
