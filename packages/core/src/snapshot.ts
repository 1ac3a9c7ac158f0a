import type { Instance } from "./instance.ts";

/**
 * What is known now about one service. Immutable; a newer one has a higher `revision`.
 *
 * - `pending`: there was no answer yet (`error`: why not, if that is known). `instances` is empty.
 * - `live`: `instances` is what the registry last said. It may be empty: then there are none.
 * - `stale`: the registry cannot be read; `instances` is the last good set, `error` what went wrong first, and
 *   `staleSinceMs` when, by the clock of {@link Env}.
 */
export type Snapshot = { readonly revision: number; readonly instances: readonly Instance[] } & (
  | { readonly state: "pending"; readonly error?: unknown }
  | { readonly state: "live" }
  | { readonly state: "stale"; readonly error: unknown; readonly staleSinceMs: number }
);
