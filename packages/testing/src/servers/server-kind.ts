/** Where a server of this kind shall listen, and where it may write. */
export interface ServerPlan {
  /** The binary that will be started; undefined inside a container. */
  readonly binary: string | undefined;
  /** The address for clients, and the one for its peers. */
  readonly clientHost: string;
  readonly peerHost: string;
  /** One port for each name in `ServerKind.ports`. */
  readonly ports: Readonly<Record<string, number>>;
  readonly dataDir: string;
  /** False: it may keep everything in memory, if that is faster. */
  readonly keepData: boolean;
}

/**
 * All that the finder has to know about one kind of server. Everything else (looking for it, starting, killing,
 * freezing, wiping) is the same for all kinds.
 */
export interface ServerKind {
  /** As in `SKIP_SERVERS`: `consul`. */
  readonly name: string;
  /** As people write it: `Consul`. */
  readonly title: string;
  readonly address: {
    /** The environment variable that names a running server. */
    readonly variable: string;
    /** Its value as a URL without a trailing slash. Throws an error that says what is wrong with it. */
    parse(value: string, env: NodeJS.ProcessEnv): string;
  };
  readonly binary: { readonly variable: string; readonly name: string };
  /** The image, and the ports it listens on inside its container, by name. */
  readonly image: {
    readonly variable: string;
    readonly fallback: string;
    readonly ports: Readonly<Record<string, number>>;
  };
  readonly debian: { readonly suite: string; readonly packages: readonly string[]; readonly binary: string };
  /** Names of the TCP ports it needs; the first one is the one for clients. */
  readonly ports: readonly [string, ...string[]];
  /** The arguments of the command line, without the binary. */
  command(plan: ServerPlan): Promise<readonly string[]>;
  /** One look whether the server does its work for real. Rejects with what is missing. */
  probe(url: string, signal: AbortSignal): Promise<void>;
}
