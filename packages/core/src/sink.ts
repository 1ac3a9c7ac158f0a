import type { Instance } from "./instance.ts";

/** The write half of a registry: what a backend implements. One call is one try; core repeats it. */
export interface Sink {
  /** For messages: `consul`. */
  readonly name: string;
  /**
   * Writes the instance. Resolves when a client would see it, rejects when it was refused or could not be written, or
   * with `signal.reason` when the signal aborts. It must be an upsert: writing again what is there is no error.
   */
  register(instance: Instance, signal: AbortSignal): Promise<Registration>;
}

/** One accepted registration. */
export interface Registration {
  /** How often `renew` should be called; above 0. */
  readonly renewEveryMs?: number;
  /**
   * Keeps the registration alive, or makes sure that it is still there. A rejection means that it may be lost: core
   * then registers anew.
   */
  renew?(signal: AbortSignal): Promise<void>;
  /** Takes the registration back. Removing one that is gone already is no error. */
  remove(signal: AbortSignal): Promise<void>;
}
