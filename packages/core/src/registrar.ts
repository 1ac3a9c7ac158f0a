import { untilAborted } from "./abort.ts";
import { RECONNECT, fullJitter } from "./backoff.ts";
import { bounded } from "./bounded.ts";
import { channels } from "./channels.ts";
import { type Env, resolveEnv, stayAlive } from "./env.ts";
import { ClosedError, TimeoutError } from "./errors.ts";
import { type Instance, asInstance } from "./instance.ts";
import { type Abortable, type Closable, closable } from "./lifecycle.ts";
import { checkOptions, is, required } from "./options.ts";
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
   * server may start while its registry is down: await it to know, ignore it to start anyway (a rejection that nobody
   * looks at does no harm). An abort takes the wish of this call back; when there is no other, nothing is tried any
   * more, and what was or still gets accepted is removed.
   */
  register(options?: Abortable): Promise<void>;
  /**
   * Takes the instance out of the registry and ends all renewals. Idempotent. Rejects, after two seconds at the latest,
   * if the registry could not be told (it will then notice by itself, when the registration is not renewed); calling it
   * again tries again. Whatever the registry still accepts afterwards is removed as soon as it is known.
   */
  deregister(options?: Abortable): Promise<void>;
  /** Deregisters, as well as the registry lets it: bounded by two seconds, and never rejects. */
  close(): Promise<void>;
}

/** One try of writing or renewing may take this long. */
const TRY_MS = 5_000;
/** How long `deregister` lets a write that is under way end by itself, so that it cannot arrive after the removal. */
const SETTLE_MS = 500;
/** Taking a registration back, with all it waits for, must not hold up a shutdown. */
const REMOVE_MS = 2_000;

/** Makes a {@link Registrar} over a backend's {@link Sink}. Writes nothing before `register()`. The caller closes it. */
export function createRegistrar(
  instance: Instance,
  sink: Sink,
  options: { readonly env?: Partial<Env> | undefined } = {},
): Registrar {
  checkOptions("", { sink }, { sink: required(is.sink) });
  checkOptions("", options, { env: is.env });
  return new SinkRegistrar(asInstance(instance), sink, resolveEnv(options.env));
}

/** That the instance shall be registered. It ends with `deregister`, or when everybody who made it gave up. */
interface Wish {
  /** Calls of `register` that wait for an answer. */
  waiting: number;
  /** One of them got its answer, good or bad: only `deregister` takes that back. */
  kept: boolean;
}

/**
 * All calls of the sink go one after another through `#exclusive`, and each looks again at what is wanted when its turn
 * comes: so no renewal and no repetition can overtake a removal. A call that does not end in its time is given up; if
 * it takes effect after all, `#settleLate` puts right whatever it did.
 */
class SinkRegistrar implements Registrar {
  readonly instance: Instance;
  readonly #closing = closable(async () => {
    this.#closed = true;
    await this.deregister().catch(() => undefined); // reported where it failed
  });
  readonly close = this.#closing.close;
  readonly [Symbol.asyncDispose] = this.#closing[Symbol.asyncDispose];
  readonly #sink: Sink;
  readonly #env: Env;
  readonly #backoff: (attempt: number) => number;
  #wish: Wish | undefined;
  #registered = false;
  /** What the sink accepted and has not taken back; more than one only if answers came late. */
  readonly #registrations = new Set<Registration>();
  /** Calls that took effect after they had been given up. */
  #lateEffects = 0;
  #failures = 0;
  #closed = false;
  #tail: Promise<unknown> = Promise.resolve();
  /** Cuts short the write that is under way. */
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

  register(options: Abortable = {}): Promise<void> {
    const done = this.#register(options);
    done.catch(() => undefined); // reported where it failed, and tried again
    return done;
  }

  async #register({ signal }: Abortable): Promise<void> {
    if (this.#closed) throw new ClosedError(`the registrar of ${this.instance.id}`);
    signal?.throwIfAborted();
    const wish = (this.#wish ??= { waiting: 0, kept: false });
    wish.kept ||= this.#registered;
    if (this.#registered) return;
    wish.waiting++;
    const letGo = stayAlive(this.#env);
    const turn = this.#exclusive(async () => {
      signal?.throwIfAborted();
      if (this.#registered) return;
      if (this.#wish === undefined) throw new ClosedError(`the registration of ${this.instance.id}`);
      this.#stopTimer();
      await this.#write();
    });
    try {
      await untilAborted(turn, signal);
      wish.kept = true;
    } catch (error) {
      wish.kept ||= !gaveUp(error, signal);
      throw error;
    } finally {
      letGo();
      wish.waiting--;
      if (!wish.kept && wish.waiting === 0 && this.#wish === wish) {
        this.#unwish();
        // Not before: as long as anybody wants it, nobody who gives up may cut it short.
        this.#current?.abort(signal?.reason);
        this.#takeBack();
      }
    }
  }

  async deregister({ signal }: Abortable = {}): Promise<void> {
    signal?.throwIfAborted();
    const deadlineMs = this.#env.now() + REMOVE_MS;
    this.#unwish();
    const current = this.#current;
    const cut = (): void => current?.abort(new ClosedError(`the registration of ${this.instance.id}`));
    const cancel = current === undefined ? undefined : this.#env.after(SETTLE_MS, cut, { keepAlive: true });
    const turn = this.#exclusive(async () => {
      cancel?.();
      signal?.throwIfAborted();
      // The last wish counts: it may be wanted again by now.
      if (this.#wish === undefined) await this.#remove(deadlineMs, signal);
    });
    await untilAborted(turn, signal);
  }

  #unwish(): void {
    this.#wish = undefined;
    this.#registered = false;
    this.#stopTimer();
  }

  /** One try of writing. If it fails and is still wanted, the next one is due when this rejects. */
  async #write(): Promise<void> {
    const [wish, replaced, lateEffects] = [this.#wish, [...this.#registrations], this.#lateEffects];
    let made: Registration;
    try {
      made = await this.#try("registering", TRY_MS, async (inner) => {
        const accepted = await this.#sink.register(this.instance, inner);
        if (typeof accepted?.remove !== "function") throw new TypeError(`${this.#sink.name} gave no registration`);
        const { renewEveryMs = Infinity } = accepted;
        // It would be renewed without a pause.
        if (!(renewEveryMs > 0)) throw new TypeError(`${this.#sink.name} wants to be renewed every ${renewEveryMs} ms`);
        // At once: if the call is given up in this very moment, its answer gets no further than here.
        this.#registrations.add(accepted);
        if (inner.aborted) this.#settleLate();
        return accepted;
      });
    } catch (error) {
      // What nobody wants any more was cut short: no failure.
      if (this.#wish === wish) this.#failed("register", error);
      throw error;
    }
    for (const registration of replaced) this.#registrations.delete(registration);
    if (this.#wish === undefined) return; // a removal waits for its turn
    this.#failures = 0;
    this.#registered = true;
    if (this.#lateEffects === lateEffects) this.#renewLater(made);
    else this.#writeLater(0);
    channels.registered.publish({ sink: this.#sink.name, instance: this.instance });
  }

  async #renew(registration: Registration): Promise<void> {
    const limitMs = Math.min(registration.renewEveryMs ?? TRY_MS, TRY_MS);
    try {
      await this.#try("renewing", limitMs, async (inner) => {
        await registration.renew?.(inner);
        if (!inner.aborted) return;
        this.#registrations.add(registration);
        this.#settleLate();
      });
    } catch (error) {
      this.#failed("renew", error);
      return;
    }
    this.#renewLater(registration);
  }

  async #remove(deadlineMs: number, signal?: AbortSignal): Promise<void> {
    if (this.#registrations.size === 0) return;
    for (const registration of this.#registrations) {
      const timeoutMs = Math.max(0, deadlineMs - this.#env.now());
      try {
        await this.#bounded("deregistering", timeoutMs, true, signal, async (inner) => {
          await registration.remove(inner);
          this.#registrations.delete(registration);
          if (inner.aborted) this.#settleLate();
        });
      } catch (error) {
        this.#report("deregister", error);
        throw error;
      }
    }
    channels.deregistered.publish({ sink: this.#sink.name, instance: this.instance });
  }

  /** Removes in the background what nobody wants any more. */
  #takeBack(): void {
    const turn = this.#exclusive(async () => {
      if (this.#wish === undefined) await this.#remove(this.#env.now() + REMOVE_MS);
    });
    turn.catch(() => undefined); // reported where it failed
  }

  /** A call that was given up took effect after all: what the registry holds now may be its doing. */
  #settleLate(): void {
    this.#lateEffects++;
    if (this.#wish === undefined) this.#takeBack();
    else if (this.#registered) this.#writeLater(0);
  }

  #failed(operation: "register" | "renew", error: unknown): void {
    this.#registered = false;
    if (this.#wish === undefined) return;
    this.#failures++;
    this.#writeLater();
    // Last: whoever hears of it may deregister.
    this.#report(operation, error);
  }

  #writeLater(delayMs = this.#backoff(Math.max(this.#failures, 1))): void {
    this.#later(delayMs, () => this.#write());
  }

  #renewLater(registration: Registration): void {
    if (registration.renew === undefined || registration.renewEveryMs === undefined) return;
    this.#later(registration.renewEveryMs, () => this.#renew(registration));
  }

  /** Calls the sink again after a while, if that is still wanted. There is one such plan at a time. */
  #later(delayMs: number, call: () => Promise<void>): void {
    if (this.#wish === undefined) return;
    this.#stopTimer();
    this.#cancelTimer = this.#env.after(delayMs, () => {
      this.#cancelTimer = undefined;
      const turn = this.#exclusive(async () => {
        if (this.#wish !== undefined) await call();
      });
      turn.catch(() => undefined); // reported where it failed
    });
  }

  #stopTimer(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  /** Runs `call` when all earlier ones have ended, however they did. */
  #exclusive(call: () => Promise<void>): Promise<void> {
    const turn = this.#tail.then(call);
    this.#tail = turn.catch(() => undefined);
    return turn;
  }

  /** A write, which is cut short when nobody wants it any more. */
  async #try<T>(what: string, timeoutMs: number, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const current = new AbortController();
    this.#current = current;
    try {
      return await this.#bounded(what, timeoutMs, false, current.signal, call);
    } finally {
      this.#current = undefined;
    }
  }

  /** One call of the sink: ends, whether the sink reacts or not, when its time is over or the signal aborts. */
  #bounded<T>(
    what: string,
    timeoutMs: number,
    keepAlive: boolean,
    signal: AbortSignal | undefined,
    call: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const onTimeout = (): TimeoutError =>
      new TimeoutError(`${what} ${this.instance.id} in ${this.#sink.name}`, timeoutMs);
    return bounded(this.#env, { timeoutMs, onTimeout, signal, keepAlive }, (scope) => call(scope.signal));
  }

  #report(operation: "register" | "renew" | "deregister", error: unknown): void {
    channels.registrarFailed.publish({ sink: this.#sink.name, instance: this.instance, operation, error });
  }
}

/** Whether this is the caller's abort, and not a failure that came in the same moment. */
function gaveUp(error: unknown, signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true && error === signal.reason;
}
