import { RECONNECT, fullJitter } from "./backoff.ts";
import { type Cache, createCache } from "./cache.ts";
import { channels } from "./channels.ts";
import { type Env, resolveEnv, sleep } from "./env.ts";
import { ClosedError } from "./errors.ts";
import { type Instance, asInstance, isInstance } from "./instance.ts";
import { type Closable, closable } from "./lifecycle.ts";
import { checkOptions, is, required } from "./options.ts";
import type { Snapshot } from "./snapshot.ts";
import type { Source } from "./source.ts";

/**
 * Discovers one service: a {@link Snapshot} that keeps itself up to date while somebody listens.
 *
 * The watch starts with the first `subscribe`, is shared by all listeners and stops when the last one leaves. After
 * `close()` nobody is called any more and `subscribe` throws `ClosedError`.
 */
export interface Instancer extends Closable {
  readonly service: string;
  readonly snapshot: Snapshot;
  /** Calls `onChange` after each change of `snapshot`. Returns the function that unsubscribes. */
  subscribe(onChange: () => void): () => void;
}

/** What {@link createInstancer} can be told. */
export interface InstancerOptions {
  readonly env?: Partial<Env> | undefined;
  /**
   * How long an empty answer is not believed when it follows an outage or a lost watch and there were instances before:
   * a registry that lost its data says "none" until its servers have registered again. Default 30 s, 0 for not at all.
   */
  readonly emptyGraceMs?: number | undefined;
}

/**
 * Makes an {@link Instancer} from a backend's {@link Source}. This is the one watch loop of Rollcall: it starts the
 * watch, starts it again with a jittered back-off when it fails or is lost, and keeps the last good set meanwhile.
 * Does no I/O before the first `subscribe`. The caller closes it.
 */
export function createInstancer(service: string, source: Source, options: InstancerOptions = {}): Instancer {
  checkOptions("", { service, source }, { service: required(is.nonEmptyString), source: required(is.source) });
  checkOptions("", options, { env: is.env, emptyGraceMs: is.durationMs });
  const env = resolveEnv(options.env);
  const cache = createCache({ env });
  cache.subscribe(() => channels.snapshotChanged.publish({ service, snapshot: cache.snapshot }));
  const watch = watchLoop(service, source, cache, env, options.emptyGraceMs ?? 30_000);
  let listeners = 0;
  let watching: AbortController | undefined;
  let closed = false;

  const stop = (): void => {
    watching?.abort(new ClosedError(`the watch of service "${service}"`));
    watching = undefined;
  };

  return {
    service,
    get snapshot() {
      return cache.snapshot;
    },
    subscribe(onChange) {
      if (closed) throw new ClosedError(`the instancer of service "${service}"`);
      let active = true;
      const unsubscribe = cache.subscribe(() => (closed ? undefined : onChange()));
      listeners++;
      if (watching === undefined) {
        watching = new AbortController();
        void watch(watching.signal);
      }
      return () => {
        if (!active) return;
        active = false;
        unsubscribe();
        if (--listeners === 0) stop();
      };
    },
    ...closable(async () => {
      closed = true;
      stop();
    }),
  };
}

/** Watches until the signal aborts; never rejects. One call at a time, whose signals are all its own. */
function watchLoop(
  service: string,
  source: Source,
  cache: Cache,
  env: Env,
  emptyGraceMs: number,
): (signal: AbortSignal) => Promise<void> {
  const backoff = fullJitter(env, RECONNECT);
  /**
   * The last thing heard was no answer, or one that was not believed: what comes next may be a registry that lost its
   * data. This outlives the single watch, for all listeners may leave and come back meanwhile.
   */
  let interrupted = false;

  return async (signal) => {
    let attempt = 0;
    let cancelGrace: (() => void) | undefined;

    const accept = (instances: readonly Instance[]): void => {
      attempt = 0;
      if (instances.length === 0 && interrupted && cache.snapshot.instances.length > 0 && emptyGraceMs > 0) {
        if (cancelGrace !== undefined) return;
        cancelGrace = env.after(emptyGraceMs, () => {
          cancelGrace = undefined;
          interrupted = false;
          cache.update([]);
        });
        channels.emptyHeld.publish({ service, graceMs: emptyGraceMs });
        return;
      }
      endGrace();
      interrupted = false;
      cache.update(instances);
    };
    const endGrace = (): void => {
      cancelGrace?.();
      cancelGrace = undefined;
    };
    signal.addEventListener("abort", endGrace, { once: true });

    while (!signal.aborted) {
      const lost = await drain(source, signal, (given) => accept(sound(given, source.name, service)));
      if (signal.aborted) return;
      interrupted = true;
      if ("error" in lost) {
        // Only an outage begins the grace period anew; what a lost watch said last still holds.
        endGrace();
        cache.fail(lost.error);
      }
      const retryInMs = backoff(++attempt);
      channels.sourceFailed.publish({ source: source.name, service, retryInMs, ...lost });
      await sleep(env, retryInMs, signal);
    }
  };
}

/**
 * Hands every set of one watch to `accept`; resolves when the watch ended, with the error if it (or `accept`) threw.
 * When the signal aborts it resolves at once, even if the source does not react; whatever the source still says is
 * ignored. The source's own signal is aborted whenever its watch is over, so that it lets go in any case.
 */
async function drain(
  source: Source,
  signal: AbortSignal,
  accept: (instances: readonly Instance[]) => void,
): Promise<{ readonly error?: unknown }> {
  const watch = new AbortController();
  const ended = Promise.withResolvers<void>();
  const onAbort = (): void => {
    watch.abort(signal.reason);
    ended.resolve();
  };
  signal.addEventListener("abort", onAbort);
  const pump = async (): Promise<void> => {
    for await (const instances of source.watch(watch.signal)) {
      if (signal.aborted) return;
      try {
        accept(instances);
      } catch (error) {
        // Leaving the loop waits for the source's clean-up, which may hang; nobody else shall.
        ended.reject(error);
        return;
      }
    }
  };
  try {
    await Promise.race([pump(), ended.promise]);
    return {};
  } catch (error) {
    return { error };
  } finally {
    signal.removeEventListener("abort", onAbort);
    watch.abort();
  }
}

/** The usual case, at hardly any price. Not `every`, which skips holes. */
function areInstances(given: readonly unknown[]): given is readonly Instance[] {
  for (const record of given) if (!isInstance(record)) return false;
  return true;
}

/**
 * What is an instance among what a source said is one; the rest is reported. Throws if there is none left: an answer
 * of nothing but junk must not pass for an empty one.
 */
function sound(given: readonly unknown[], registry: string, service: string): readonly Instance[] {
  if (!Array.isArray(given)) throw new TypeError(`${registry}'s answer is no array of instances`);
  if (areInstances(given)) return given;
  const instances: Instance[] = [];
  const errors: { readonly record: unknown; readonly error: unknown }[] = [];
  for (const record of given as readonly unknown[]) {
    try {
      instances.push(asInstance(record));
    } catch (error) {
      errors.push({ record, error });
    }
  }
  const [first] = errors;
  if (first === undefined) return instances;
  channels.badRecord.publish({ registry, service, skipped: errors.length, errors });
  if (instances.length === 0) throw first.error;
  return instances;
}
