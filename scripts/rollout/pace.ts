/** How much time things get. */
export interface Pace {
  /** Undefined: the servers' default, 5 s. */
  readonly drainMs: number | undefined;
  /** How long streamed answers take. */
  readonly feedMs: number;
  /** How often all servers are restarted. */
  readonly rounds: number;
  /** How long calls stream in before anything happens, and after. */
  readonly leadMs: number;
}

export const LONG: Pace = { drainMs: undefined, feedMs: 2_000, rounds: 2, leadMs: 2_000 };
export const SHORT: Pace = { drainMs: 500, feedMs: 500, rounds: 1, leadMs: 500 };
