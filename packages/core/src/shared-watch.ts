import { type Listener, ServiceCache } from "./cache.ts";
import { resolveEnv } from "./env.ts";
import { ClosedError } from "./errors.ts";
import type { Instancer, InstancerOptions } from "./instancer.ts";
import { type Closable, closable } from "./lifecycle.ts";
import { checkOptions, is, required } from "./options.ts";
import type { Snapshot } from "./snapshot.ts";
import type { Source } from "./source.ts";
import { Watch } from "./watch.ts";

/**
 * One watch behind any number of instancers. It goes on while one of them has a listener, and ends for good with the last
 * of them. A process may have thousands, so there are classes here, and nothing is made before it is needed.
 */
export class SharedWatch {
  readonly service: string;
  /** Under which it is known to whoever shares it. */
  readonly key: string;
  readonly #cache: ServiceCache;
  readonly #watch: Watch;
  readonly #onUnused: ((watch: SharedWatch) => void) | undefined;
  #instancers = 0;
  #closed = false;

  /**
   * @param onUnused is called when the last instancer has been closed.
   * @throws InvalidOptionError
   */
  constructor(
    service: string,
    source: Source,
    options: InstancerOptions,
    key = "",
    onUnused?: (watch: SharedWatch) => void,
  ) {
    checkOptions("", { service, source }, { service: required(is.nonEmptyString), source: required(is.source) });
    checkOptions("", options, { env: is.env, emptyGraceMs: is.durationMs });
    const env = resolveEnv(options.env);
    const cache = new ServiceCache(env, service);
    this.service = service;
    this.key = key;
    this.#cache = cache;
    this.#watch = new Watch({ service, source, cache, env, emptyGraceMs: options.emptyGraceMs ?? 30_000 });
    this.#onUnused = onUnused;
  }

  get snapshot(): Snapshot {
    return this.#cache.snapshot;
  }

  /** Makes one more instancer of it. */
  instancer(): Instancer {
    this.#instancers++;
    return new SharedInstancer(this);
  }

  add(onChange: () => void, owner: Instancer): Listener {
    if (this.#closed) throw new ClosedError(`the instancer of service "${this.service}"`);
    const listener = this.#cache.add(onChange, owner);
    if (this.#cache.audience === 1) this.#watch.start();
    return listener;
  }

  remove(listener: Listener): void {
    if (this.#cache.remove(listener) && this.#cache.audience === 0) this.#watch.stop();
  }

  /** One instancer less, and its listeners. */
  release(instancer: Instancer): void {
    for (const listener of this.#cache.listenersOf(instancer)) this.remove(listener);
    if (--this.#instancers > 0) return;
    this.#onUnused?.(this);
    this.close();
  }

  /** From now on nobody is called any more, whoever still listens. */
  close(): void {
    this.#closed = true;
    this.#cache.silence();
    this.#watch.stop();
  }
}

class SharedInstancer implements Instancer {
  readonly #shared: SharedWatch;
  #closing: Closable | undefined;
  /** For where `this` is another: an object that inherits from an instancer, or stands before it, is one too. */
  protected readonly self = this;

  constructor(shared: SharedWatch) {
    this.#shared = shared;
  }

  get service(): string {
    return this.self.#shared.service;
  }

  get snapshot(): Snapshot {
    return this.self.#shared.snapshot;
  }

  /** No method, for some take it along without its instancer. */
  readonly subscribe = (onChange: () => void): (() => void) => {
    if (this.#closing !== undefined) throw new ClosedError(`the instancer of service "${this.service}"`);
    const listener = this.#shared.add(onChange, this);
    return () => this.#shared.remove(listener);
  };

  close(): Promise<void> {
    const { self } = this;
    self.#closing ??= closable(async () => self.#shared.release(self));
    return self.#closing.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
