import type { Instance } from "./instance.ts";

/**
 * The read half of a registry for one query: what a backend implements.
 *
 * `watch` yields *complete* sets, first the present one and then one after each change. Throwing means "the registry
 * failed", returning means "this watch was lost, what was said still holds"; after both, core watches anew. So a source
 * has no back-off, no de-duplication and no state of its own. When the signal aborts it must let go of its sockets and
 * timers at once; what it throws or yields after that is ignored.
 */
export interface Source {
  /** For messages: `consul`. */
  readonly name: string;
  watch(signal: AbortSignal): AsyncIterable<readonly Instance[]>;
}
