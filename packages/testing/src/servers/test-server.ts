import type { Closable } from "@rollcall/core";

/** How a server was found: see `startConsul`. */
export type Way = "environment" | "binary" | "docker" | "debian";

/**
 * What can be done to a server: `kill` is everything that ends and starts it, `freeze` is freezing and thawing, `wipe` is
 * everything that changes its data behind its back.
 */
export type Fault = "kill" | "freeze" | "wipe";

/** What every kind of server takes. */
export interface TestServerOptions {
  /**
   * The faults that the test needs. A way that cannot offer them is passed over: nobody can kill a server of which only
   * the address is known. Default: none.
   */
  readonly faults?: readonly Fault[] | undefined;
  /** More arguments for its command line, after ours. An address from the environment is passed over then. */
  readonly args?: readonly string[] | undefined;
  /** The port for clients. Default: a free one. An address from the environment is passed over then. */
  readonly port?: number | undefined;
  /** False: the data need not survive a restart, which lets some servers start faster. Default true. */
  readonly keepData?: boolean | undefined;
  /** How long one start may take until the server does its work. Default 30 s. */
  readonly startTimeoutMs?: number | undefined;
}

/**
 * A running server, and what a test may do to it. All methods resolve when the thing has happened: the process has gone,
 * or the server does its work again. Those that `faults` does not list reject. `close()` ends it and deletes its data;
 * a server from the environment is left alone.
 */
export interface TestServer extends Closable {
  /** `consul`. */
  readonly name: string;
  /** `http://127.0.0.1:21500` (`zookeeper://…` for that), without a trailing slash. It stays the same over restarts. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly via: Way;
  readonly faults: readonly Fault[];
  /** The process id while it runs as a process of this machine. */
  readonly pid: number | undefined;
  readonly running: boolean;
  /** Ends it with this signal (default `SIGKILL`) and waits until it is gone. Nothing happens if it does not run. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Ends it politely: `SIGTERM`, then `SIGKILL` after 3 s. */
  stop(): Promise<void>;
  /** Stops it in the middle of whatever it does (`SIGSTOP`): connections stay open, nobody answers. */
  freeze(): Promise<void>;
  /** Lets it go on (`SIGCONT`). */
  thaw(): Promise<void>;
  /** Starts it again on the same port, with what is left of its data. Nothing happens if it runs. */
  start(): Promise<void>;
  /** Kills it (`SIGKILL`), deletes its data if `wipe` is set, and starts it again. */
  restart(options: { readonly wipe: boolean }): Promise<void>;
  /** Deletes its data. Rejects while it runs. */
  wipe(): Promise<void>;
  /** Keeps a copy of its data, in the place of an earlier one. Rejects while it runs. */
  save(): Promise<void>;
  /** Puts the copy in the place of its data, as from a backup. Rejects while it runs, and if nothing was saved. */
  restore(): Promise<void>;
  /** The last 20 kB that it printed, over all its lives. */
  log(): string;
}
