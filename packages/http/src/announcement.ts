import { type Env, type Instance, type Registrar, ClosedError, channels, sleep, untilAborted } from "@rollcall/core";

/** How one instance is announced and taken back. */
export interface AnnouncementOptions {
  /** How long to go on serving after the deregistration. */
  readonly drainMs: number;
  readonly env: Env;
}

/**
 * One instance's way into the registry and out of it again, without the server that it stands for: what
 * {@link announce} and framework adapters share.
 */
export interface Announcement {
  readonly registrar: Registrar;
  readonly instance: Instance;
  /**
   * Registers. Rejects with the error of the first try; the registrar goes on trying all the same, until
   * {@link Announcement.withdraw}. Rejects with `ClosedError` if that came first.
   */
  register(): Promise<void>;
  /**
   * Deregisters, then waits `drainMs` so that clients can notice. Never rejects: a registry that cannot be told
   * forgets the instance when it is not renewed, and holds up the shutdown by no more than core's two seconds. An
   * instance that never was in the registry is not waited for. Idempotent.
   */
  withdraw(): Promise<void>;
  /** Ends the wait of {@link Announcement.withdraw}, now or when it will come. */
  hurry(): void;
}

/** Makes an {@link Announcement}; it closes the registrar when it is withdrawn. */
export function createAnnouncement(registrar: Registrar, options: AnnouncementOptions): Announcement {
  const { drainMs, env } = options;
  const withdrawn = new AbortController();
  const hurried = new AbortController();
  let everRegistered = false;
  let withdrawing: Promise<void> | undefined;
  const forget = channels.registered.subscribe(({ instance }) => {
    if (instance === registrar.instance) everRegistered = true;
  });

  /** Failures are reported on core's channel. */
  const unlessHurried = (work: Promise<void>): Promise<void> =>
    untilAborted(work, hurried.signal).catch(() => undefined);

  const withdraw = async (): Promise<void> => {
    // A first try that is still under way would be waited for, and might take longer than the whole shutdown may.
    withdrawn.abort(new ClosedError(`the announcement of ${registrar.instance.id}`));
    everRegistered ||= registrar.registered;
    forget();
    await unlessHurried(registrar.deregister());
    if (everRegistered && drainMs > 0) await sleep(env, drainMs, hurried.signal, { keepAlive: true });
    // Once more for a registry that was away a moment ago; ends the registrar either way.
    await unlessHurried(registrar.close());
  };

  return {
    registrar,
    instance: registrar.instance,
    register: () => registrar.register({ signal: withdrawn.signal }),
    withdraw: () => (withdrawing ??= withdraw()),
    hurry: () => hurried.abort(),
  };
}
