import { untilAborted } from "./abort.ts";
import { RECONNECT, fullJitter } from "./backoff.ts";
import { bounded } from "./bounded.ts";
import { channels } from "./channels.ts";
import { type Env, resolveEnv } from "./env.ts";
import { ClosedError, TimeoutError } from "./errors.ts";
import type { Instance } from "./instance.ts";
import { type Abortable, type Closable, closable } from "./lifecycle.ts";
import { checkOptions, is } from "./options.ts";
import type { Registration, Sink } from "./sink.ts";

/**
 * Announces one own instance: writes it, renews it, and writes it again after the registry lost it, until it is
 * deregistered. A registration survives everything but `deregister` and `close`.
 */
export interface Registrar extends Closable {
  readonly instance: Instance;
  /** Whether the instance is in the registry, as far as is known. */
  readonly registered: boolean;
  /**
   * Resolves when the instance is in the registry; at once if it is already. Rejects with the error of the first try if
   * that fails, and goes on trying in the background all the same (jittered, at most two seconds apart), so that a
   * server may start while its registry is down: await it to know, ignore it to start anyway. An abort takes the wish
   * back: nothing is tried any more.
   */
  register(options?: Abortable): Promise<void>;
  /**
   * Takes the instance out of the registry and ends all renewals. Idempotent. Rejects if the registry could not be told
   * (it will then notice by itself, when the registration is not renewed); calling it again tries again.
   */
  deregister(options?: Abortable): Promise<void>;
  /** Deregisters, as well as the registry lets it: bounded by two seconds, and never rejects. */
  close(): Promise<void>;
}

/** One try of writing or renewing may take this long. */
const TRY_MS = 5_000;
/** How long `deregister` lets a write that is under way end by itself, so that it cannot arrive after the removal. */
const SETTLE_MS = 500;
/** Taking a registration back must not hold up a shutdown. */
const REMOVE_MS = 2_000;

/** Makes a {@link Registrar} over a backend's {@link Sink}. Writes nothing before `register()`. The caller closes it. */
export function createRegistrar(
  instance: Instance,
  sink: Sink,
  options: { readonly env?: Partial<Env> | undefined } = {},
): Registrar {
  checkOptions("", options, { env: is.env });
  return new SinkRegistrar(instance, sink, resolveEnv(options.env));
}

/**
 * All writes go one after another through `#exclusive`, and each looks again at what is wanted when its turn comes: so
 * no renewal and no repetition can overtake a removal.
 */
class SinkRegistrar implements Registrar {
  readonly instance: Instance;
  readonly #closing = closable(async () => {
    this.#closed = true;
    await this.deregister().catch(() => undefined); // reported where it failed
  });
  readonly #sink: Sink;
  readonly #env: Env;
  readonly #backoff: (attempt: number) => number;
  #wanted = false;
  #registered = false;
  /** What the sink accepted and has not taken back; the registry may have lost it meanwhile. */
  #registration: Registration | undefined;
  /** Calls of `register` that wait for an answer. */
  #waiting = 0;
  #failures = 0;
  #closed = false;
  #tail: Promise<unknown> = Promise.resolve();
  /** Cuts short the call of the sink that is under way. */
  #current: AbortController | undefined;
  #cancelTimer: (() => void) | undefined;

  constructor(instance: Instance, sink: Sink, env: Env) {
    this.instance = instance;
    this.#sink = sink;
    this.#env = env;
    this.#backoff = fullJitter(env, RECONNECT);
  }

  get registered(): boolean {
    return this.#registered;
  }

  async register({ signal }: Abortable = {}): Promise<void> {
    if (this.#closed) throw new ClosedError(`the registrar of ${this.instance.id}`);
    signal?.throwIfAborted();
    if (this.#registered) return;
    this.#wanted = true;
    this.#waiting++;
    const turn = this.#exclusive(async () => {
      signal?.throwIfAborted();
      if (this.#registered) return;
      if (!this.#wanted) throw new ClosedError(`the registration of ${this.instance.id}`);
      this.#stopTimer();
      await this.#write(true, signal);
    });
    try {
      await untilAborted(turn, signal);
    } finally {
      this.#waiting--;
      if (signal?.aborted === true && !this.#registered && this.#waiting === 0) {
        this.#wanted = false;
        this.#stopTimer();
      }
    }
  }

  async deregister({ signal }: Abortable = {}): Promise<void> {
    signal?.throwIfAborted();
    this.#wanted = false;
    this.#registered = false;
    this.#stopTimer();
    const current = this.#current;
    const cancel = this.#env.after(
      current === undefined ? 0 : SETTLE_MS,
      () => current?.abort(new ClosedError(`the registration of ${this.instance.id}`)),
      { keepAlive: true },
    );
    const turn = this.#exclusive(async () => {
      cancel();
      signal?.throwIfAborted();
      // The last wish counts: it may be wanted again by now.
      if (!this.#wanted) await this.#remove(signal);
    });
    await untilAborted(turn, signal);
  }

  close(): Promise<void> {
    return this.#closing.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** One try of writing. If it fails, the next one is due when this rejects. */
  async #write(awaited: boolean, signal?: AbortSignal): Promise<void> {
    try {
      this.#registration = await this.#bounded("registering", TRY_MS, awaited, signal, async (inner) => {
        const made = await this.#sink.register(this.instance, inner);
        if (inner.aborted) this.#adoptLate(made);
        return made;
      });
    } catch (error) {
      if (signal?.aborted !== true) this.#failed("register", error);
      throw error;
    }
    if (!this.#wanted) return; // a deregistration waits for its turn, and removes what was made
    this.#failures = 0;
    this.#registered = true;
    channels.registered.publish({ sink: this.#sink.name, instance: this.instance });
    this.#renewLater(this.#registration);
  }

  /** The sink accepted after its time was over. Nobody waits for it, but nobody may forget it either. */
  #adoptLate(registration: Registration): void {
    this.#registration ??= registration;
    if (!this.#wanted) void this.#exclusive(() => this.#remove()).catch(() => undefined); // reported where it failed
  }

  async #renew(registration: Registration): Promise<void> {
    const limitMs = Math.min(registration.renewEveryMs ?? TRY_MS, TRY_MS);
    try {
      await this.#bounded("renewing", limitMs, false, undefined, async (inner) => registration.renew?.(inner));
    } catch (error) {
      this.#registered = false;
      this.#failed("renew", error);
      return;
    }
    this.#renewLater(registration);
  }

  async #remove(signal?: AbortSignal): Promise<void> {
    const registration = this.#registration;
    if (registration === undefined) return;
    try {
      await this.#bounded("deregistering", REMOVE_MS, true, signal, (inner) => registration.remove(inner));
    } catch (error) {
      this.#report("deregister", error);
      throw error;
    }
    this.#registration = undefined;
    channels.deregistered.publish({ sink: this.#sink.name, instance: this.instance });
  }

  /** Reports, and writes again later if it is still wanted. */
  #failed(operation: "register" | "renew", error: unknown): void {
    if (!this.#wanted) return;
    this.#report(operation, error);
    this.#later(this.#backoff(++this.#failures), () => this.#write(false));
  }

  #renewLater(registration: Registration): void {
    if (!this.#wanted || registration.renew === undefined || registration.renewEveryMs === undefined) return;
    this.#later(registration.renewEveryMs, () => this.#renew(registration));
  }

  #later(delayMs: number, write: () => Promise<void>): void {
    this.#stopTimer();
    this.#cancelTimer = this.#env.after(delayMs, () => {
      this.#cancelTimer = undefined;
      const turn = this.#exclusive(async () => {
        if (this.#wanted) await write();
      });
      turn.catch(() => undefined); // reported where it failed
    });
  }

  #stopTimer(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  /** Runs `write` when all earlier ones have ended, however they did. */
  #exclusive(write: () => Promise<void>): Promise<void> {
    const turn = this.#tail.then(write);
    this.#tail = turn.catch(() => undefined);
    return turn;
  }

  /** One call of the sink: ends, whether the sink reacts or not, when its time is over or somebody cuts it short. */
  async #bounded<T>(
    what: string,
    timeoutMs: number,
    keepAlive: boolean,
    signal: AbortSignal | undefined,
    call: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const current = new AbortController();
    this.#current = current;
    try {
      return await bounded(
        this.#env,
        {
          timeoutMs,
          onTimeout: () => new TimeoutError(`${what} ${this.instance.id} in ${this.#sink.name}`, timeoutMs),
          signal: signal === undefined ? current.signal : AbortSignal.any([signal, current.signal]),
          keepAlive,
        },
        (scope) => call(scope.signal),
      );
    } finally {
      this.#current = undefined;
    }
  }

  #report(operation: "register" | "renew" | "deregister", error: unknown): void {
    channels.registrarFailed.publish({ sink: this.#sink.name, instance: this.instance, operation, error });
  }
}
