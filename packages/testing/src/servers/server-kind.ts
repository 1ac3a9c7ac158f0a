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
  /** Of the URLs that its clients take. Default `http`. */
  readonly scheme?: string | undefined;
  /** How somebody names a server that runs already; undefined if tests can do nothing with such a one. */
  readonly address?: {
    /** The environment variable that names a running server. */
    readonly variable: string;
    /** Its value as a URL without a trailing slash. Throws an error that says what is wrong with it. */
    parse(value: string, env: NodeJS.ProcessEnv): string;
  };
  readonly binary: { readonly variable: string; readonly name: string };
  /** The image, and the ports it listens on inside its container, by name. Undefined: there is no way by Docker. */
  readonly image?:
    | {
        readonly variable: string;
        readonly fallback: string;
        /** What runs the command in it. Default: the binary's name. */
        readonly entrypoint?: string | undefined;
        readonly ports: Readonly<Record<string, number>>;
      }
    | undefined;
  readonly debian: {
    readonly suite: string;
    readonly packages: readonly string[];
    readonly binary: string;
    /** A shell script to be the binary, if the packages have none that runs where they are unpacked. */
    readonly launcher?: string | undefined;
  };
  /** Names of the TCP ports it needs; the first one is the one for clients. */
  readonly ports: readonly [string, ...string[]];
  /** The arguments of the command line, without the binary. */
  command(plan: ServerPlan): Promise<readonly string[]>;
  /** One look whether the server does its work for real. Rejects with what is missing. */
  probe(url: string, signal: AbortSignal): Promise<void>;
}
