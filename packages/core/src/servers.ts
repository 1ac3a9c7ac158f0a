import { type Env, resolveEnv } from "./env.ts";
import { InvalidOptionError } from "./errors.ts";
import { type Check, checkPair, is, listOf } from "./options.ts";

/** Where the servers of a registry are, and how to treat them. Everything has a default, which is the backend's. */
export interface ServerOptions {
  /** One server. */
  readonly url?: string | URL | undefined;
  /** Several servers that are one registry, instead of `url`. */
  readonly hosts?: readonly (string | URL)[] | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** How long the registry may take for an answer. */
  readonly timeoutMs?: number | undefined;
  /** How often a service is read anew although nothing has changed, give or take a quarter. */
  readonly relistMs?: number | undefined;
  readonly env?: Partial<Env> | undefined;
}

/** What a backend says of its servers. */
export interface ServerDefaults {
  /** The protocols that it speaks, as in `URL.protocol`, with the port of each. */
  readonly protocols: Readonly<Record<string, number>>;
  readonly url: string;
  readonly relistMs: number;
}

/** One server. */
export interface Host {
  /** `http:`, say. */
  readonly protocol: string;
  /** A name or an address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

/** {@link ServerOptions} with their defaults. */
export interface Servers {
  /** At least one. */
  readonly hosts: readonly Host[];
  readonly user: { readonly name: string; readonly password: string } | undefined;
  readonly timeoutMs: number;
  readonly relistMs: number;
  readonly env: Env;
}

/**
 * Checks for {@link ServerOptions}. A server is a URL of one of the protocols, or `name:port`, as connection strings have
 * it, which is of the first of them. If there is only one protocol, a mere name does, too. More than host and port is
 * refused: it would be ignored, and somebody would wonder.
 */
export function serverChecks({ protocols }: ServerDefaults): Readonly<Record<keyof ServerOptions, Check>> {
  const url: Check = (value, path) => void hostOf(value, path, protocols);
  return {
    url,
    hosts: listOf("host", url),
    username: is.nonEmptyString,
    password: is.nonEmptyString,
    timeoutMs: is.number(1, 600_000),
    relistMs: is.number(1_000, 24 * 3_600_000),
    env: is.env,
  };
}

/**
 * Fills in the defaults of options that have passed {@link serverChecks}.
 *
 * @throws InvalidOptionError for a `url` beside `hosts`, and for half of a user.
 */
export function serversOf(options: ServerOptions, defaults: ServerDefaults): Servers {
  const { url, hosts, username, password } = options;
  if (url !== undefined && hosts !== undefined) {
    throw new InvalidOptionError("hosts", "nothing, because url is given", hosts);
  }
  checkPair("", options, "username", "password");
  return {
    hosts: (hosts ?? [url ?? defaults.url]).map((host) => hostOf(host, "hosts", defaults.protocols)),
    user: username === undefined || password === undefined ? undefined : { name: username, password },
    timeoutMs: options.timeoutMs ?? 5_000,
    relistMs: options.relistMs ?? defaults.relistMs,
    env: resolveEnv(options.env),
  };
}

function hostOf(value: unknown, path: string, protocols: ServerDefaults["protocols"]): Host {
  const text = typeof value === "string" || value instanceof URL ? String(value) : "";
  const [usual, ...others] = Object.keys(protocols);
  const isUrl = /^\w+:\/\//.test(text);
  const isVague = !isUrl && others.length > 0 && !/:\d+$/.test(text);
  const url = isVague ? null : URL.parse(isUrl ? text : `${usual}//${text}`);
  const port = Number(url?.port || protocols[url?.protocol ?? ""]);
  const isMore = url === null || ![`${url.protocol}//${url.host}`, `${url.protocol}//${url.host}/`].includes(url.href);
  if (isMore || url.hostname === "" || !Object.hasOwn(protocols, url.protocol) || port === 0) {
    const expected = Object.keys(protocols).map((protocol) => `${protocol}//host:port`);
    throw new InvalidOptionError(path, `host:port or ${expected.join(" or ")}, without user, path, ? and #`, value);
  }
  return { protocol: url.protocol, host: url.hostname.replace(/^\[(.*)\]$/, "$1"), port };
}
