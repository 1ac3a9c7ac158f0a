import type { Stage } from "./stage.ts";

/** One thing that goes wrong, while calls stream in. */
export interface Row {
  /** For `--only`. */
  readonly name: string;
  /** What happens, for the table. */
  readonly title: string;
  /** Whether it is in the short form, too. */
  readonly short?: true;
  /** Why a lease, a session or a record has to be made anew, which may take longer. */
  readonly anew?: string;
  /** Why there is a time in which no healthy instance can be reached, so that calls may fail. */
  readonly unreachable?: string;
  /** The lease of registrations. Default: the backend's own. */
  readonly ttlMs?: number;
  /** With access control. */
  readonly guarded?: true;
  /** Whether to wait until a registration would be gone that only seems to be there (not in the short form). */
  readonly outlast?: true;
  /** Makes it happen. What it throws breaks the row. */
  run(stage: Stage): Promise<void>;
}
