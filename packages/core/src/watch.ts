import { RECONNECT, fullJitter } from "./backoff.ts";
import type { Cache } from "./cache.ts";
import { channels } from "./channels.ts";
import type { Env } from "./env.ts";
import { ClosedError } from "./errors.ts";
import { type Instance, asInstance, isInstance } from "./instance.ts";
import type { Source } from "./source.ts";

/** What a {@link Watch} is of, and where it goes. */
export interface WatchParts {
  readonly service: string;
  readonly source: Source;
  readonly cache: Cache;
  readonly env: Env;
  readonly emptyGraceMs: number;
}

/**
 * Keeps a cache up to date from a backend's {@link Source}. This is the one watch loop of Rollcall: it starts the watch,
 * starts it again with a jittered back-off when it fails or is lost, and keeps the last good set meanwhile.
 */
export class Watch {
  readonly #parts: WatchParts;
  /**
   * The last thing heard was no answer, or one that was not believed: what comes next may be a registry that lost its
   * data. This outlives the single run, for all listeners may leave and come back meanwhile.
   */
  #interrupted = false;
  /** How often in a row it was lost. */
  #losses = 0;
  /** Of the present run of the source, or the last, until it is watched anew; none while it is stopped. */
  #run: AbortController | undefined;
  #cancelRetry: (() => void) | undefined;
  #cancelGrace: (() => void) | undefined;

  constructor(parts: WatchParts) {
    this.#parts = parts;
  }

  /** Must be stopped before it is started again. */
  start(): void {
    this.#losses = 0;
    this.#begin();
  }

  /** Ends at once, even if the source does not react; whatever it still says is ignored. */
  stop(): void {
    const run = this.#run;
    this.#run = undefined;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    this.#endGrace();
    run?.abort(new ClosedError(`the watch of service "${this.#parts.service}"`));
  }

  #begin(): void {
    this.#cancelRetry = undefined;
    this.#run = new AbortController();
    this.#follow(this.#run);
  }

  /**
   * Takes every set of one run of the source. A loop that awaits them would be shorter, and while it waits hold twice as
   * much, in each of thousands of watches.
   */
  #follow(run: AbortController): void {
    try {
      const sets = this.#parts.source.watch(run.signal)[Symbol.asyncIterator]();
      const fail = (error: unknown): void => this.#lose(run, { error });
      const take = (step: IteratorResult<readonly unknown[], unknown>): void => {
        try {
          if (step.done === true) this.#lose(run, {});
          else if (this.#take(run, step.value)) sets.next().then(take, fail);
          else void sets.return?.().then(undefined, () => undefined);
        } catch (error) {
          fail(error);
        }
      };
      sets.next().then(take, fail);
    } catch (error) {
      this.#lose(run, { error });
    }
  }

  /** Returns whether the run goes on. */
  #take(run: AbortController, given: readonly unknown[]): boolean {
    if (run !== this.#run) return false;
    try {
      this.#accept(sound(given, this.#parts));
    } catch (error) {
      this.#lose(run, { error });
    }
    return run === this.#run && !run.signal.aborted;
  }

  #accept(instances: readonly Instance[]): void {
    const { service, cache, env, emptyGraceMs } = this.#parts;
    this.#losses = 0;
    if (instances.length === 0 && this.#interrupted && cache.snapshot.instances.length > 0 && emptyGraceMs > 0) {
      if (this.#cancelGrace !== undefined) return;
      this.#cancelGrace = env.after(emptyGraceMs, () => {
        this.#cancelGrace = undefined;
        this.#interrupted = false;
        cache.update([]);
      });
      channels.emptyHeld.publish({ service, graceMs: emptyGraceMs });
      return;
    }
    this.#endGrace();
    this.#interrupted = false;
    cache.update(instances);
  }

  /** The run is over, with the error if it, or taking what it said, threw. Its signal aborts, so that it lets go in any case. */
  #lose(run: AbortController, lost: { readonly error?: unknown }): void {
    if (run !== this.#run || run.signal.aborted) return;
    const { service, source, cache, env } = this.#parts;
    run.abort();
    this.#interrupted = true;
    const retryInMs = fullJitter(env, RECONNECT)(++this.#losses);
    if ("error" in lost) {
      // Only an outage begins the grace period anew; what a lost watch said last still holds.
      this.#endGrace();
      cache.fail(lost.error);
    }
    channels.sourceFailed.publish({ source: source.name, service, retryInMs, ...lost });
    // Whoever heard of it may have stopped it.
    if (run === this.#run) this.#cancelRetry = env.after(retryInMs, () => this.#begin());
  }

  #endGrace(): void {
    this.#cancelGrace?.();
    this.#cancelGrace = undefined;
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
function sound(given: readonly unknown[], { source, service }: WatchParts): readonly Instance[] {
  const registry = source.name;
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
