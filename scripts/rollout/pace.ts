/** How much time things get, and how many there are. */
export interface Pace {
  readonly callsPerSecond: number;
  /** Undefined: the servers' default, 5 s. */
  readonly drainMs: number | undefined;
  /** How long streamed answers take. */
  readonly feedMs: number;
  /** How many servers there are, where a play says nothing else. */
  readonly servers: number;
  /** How often all of them are restarted. */
  readonly rounds: number;
  /** How long calls stream in before anything happens, and after. */
  readonly leadMs: number;
}

export const LONG: Pace = {
  callsPerSecond: 500,
  drainMs: undefined,
  feedMs: 2_000,
  servers: 5,
  rounds: 2,
  leadMs: 2_000,
};
/**
 * On a busy machine, a client may hear a second late that a server goes: the drain cannot be much shorter than this; and a
 * small one that runs all these processes has to keep up with the calls.
 */
export const SHORT: Pace = { callsPerSecond: 300, drainMs: 1_500, feedMs: 1_000, servers: 3, rounds: 1, leadMs: 500 };
