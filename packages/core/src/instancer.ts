import { RECONNECT, fullJitter } from "./backoff.ts";
import { type Cache, createCache } from "./cache.ts";
import { channels } from "./channels.ts";
import { type Env, resolveEnv, sleep } from "./env.ts";
import { ClosedError } from "./errors.ts";
import type { Instance } from "./instance.ts";
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
  checkOptions("", { service }, { service: required(is.nonEmptyString) });
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
      const unsubscribe = cache.subscribe(() => {
        if (!closed) onChange();
      });
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

/** Watches until the signal aborts; never rejects. */
function watchLoop(
  service: string,
  source: Source,
  cache: Cache,
  env: Env,
  emptyGraceMs: number,
): (signal: AbortSignal) => Promise<void> {
  const backoff = fullJitter(env, RECONNECT);

  return async (signal) => {
    let attempt = 0;
    /** The last thing heard was no answer: what comes next may be a registry that lost its data. */
    let interrupted = cache.snapshot.state === "stale";
    let cancelGrace: (() => void) | undefined;

    const accept = (instances: readonly Instance[]): void => {
      attempt = 0;
      if (instances.length === 0 && interrupted && cache.snapshot.instances.length > 0 && emptyGraceMs > 0) {
        if (cancelGrace !== undefined) return;
        channels.emptyHeld.publish({ service, graceMs: emptyGraceMs });
        cancelGrace = env.after(emptyGraceMs, () => {
          cancelGrace = undefined;
          interrupted = false;
          cache.update([]);
        });
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
    signal.addEventListener("abort", endGrace);

    while (!signal.aborted) {
      const lost = await drain(source, signal, accept);
      if (signal.aborted) return;
      // Nothing is known any more about a held answer; the next one starts its own grace period.
      endGrace();
      interrupted = true;
      if ("error" in lost) cache.fail(lost.error);
      const retryInMs = backoff(++attempt);
      channels.sourceFailed.publish({ source: source.name, service, retryInMs, ...lost });
      await sleep(env, retryInMs, signal);
    }
  };
}

/**
 * Hands every set of one watch to `accept`; resolves when the watch ended, with the error if it threw. When the signal
 * aborts it resolves at once, even if the source does not react; whatever the source still says is ignored.
 */
async function drain(
  source: Source,
  signal: AbortSignal,
  accept: (instances: readonly Instance[]) => void,
): Promise<{ readonly error?: unknown }> {
  const aborted = Promise.withResolvers<void>();
  const onAbort = (): void => aborted.resolve();
  signal.addEventListener("abort", onAbort);
  const pump = async (): Promise<void> => {
    for await (const instances of source.watch(signal)) {
      if (signal.aborted) return;
      accept(instances);
    }
  };
  try {
    await Promise.race([pump(), aborted.promise]);
    return {};
  } catch (error) {
    return { error };
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
