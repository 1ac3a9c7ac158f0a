import type { Env } from "./env.ts";
import type { Closable } from "./lifecycle.ts";
import { SharedWatch } from "./shared-watch.ts";
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
 * Makes an {@link Instancer} from a backend's {@link Source}, which is started, and started again, as need be: see
 * {@link Source}. Does no I/O before the first `subscribe`. The caller closes it.
 */
export function createInstancer(service: string, source: Source, options: InstancerOptions = {}): Instancer {
  return new SharedWatch(service, source, options).instancer();
}
