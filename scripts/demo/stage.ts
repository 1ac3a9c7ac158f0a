import type { Framework } from "@rollcall/lorem-server";

/** A server that is announced. */
export interface StageServer {
  readonly framework: Framework;
  readonly instanceId: string;
  readonly url: string;
}

/** Where the demo plays: one client, servers that come and go, a registry that can be lost. All over real HTTP. */
export interface Stage {
  /** In words, for the first line. */
  readonly description: string;
  readonly clientUrl: string;
  /** After which time a killed server leaves the registry by itself. */
  readonly ttlMs: number;
  /** Starts a server; resolves when it says that it is registered. A `port` is for one that comes back. */
  startServer(framework: Framework, port?: number): Promise<StageServer>;
  /** Ends a server in good order: deregister, drain, finish, close. Resolves when it has ended. */
  stopServer(server: StageServer): Promise<void>;
  /** Ends a server as a crash does: its connections break at once, and it deregisters nothing. */
  killServer(server: StageServer): Promise<void>;
  /** Makes the registry unreachable. */
  loseRegistry(): Promise<void>;
  /** Makes it reachable again. */
  returnRegistry(): Promise<void>;
  /** The ids that the registry lists: a look of our own, past client and servers. Rejects if it does not answer. */
  registered(): Promise<readonly string[]>;
  /** Ends everything that was started. */
  close(): Promise<void>;
}
