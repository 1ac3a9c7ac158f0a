import { createSecureContext } from "node:tls";
import {
  type Check,
  type Env,
  InvalidOptionError,
  type Registry,
  checkOptions,
  createRegistry,
  is,
  messageOf,
  resolveEnv,
} from "@rollcall/core";
import { Client, Metadata, credentials } from "@grpc/grpc-js";
import { noop } from "cockatiel";
import { Etcd3 } from "etcd3";
import { type EtcdTlsOptions, openChannel } from "./channel.ts";
import type { EtcdApi } from "./client.ts";
import { EtcdConnection } from "./connection.ts";
import type { Dialled } from "./session.ts";
import { etcdSink } from "./sink.ts";
import { etcdSource } from "./source.ts";
import { decodeWatchResponse, encodeWatchRequest } from "./watch-codec.ts";

/** Where etcd is, and how to use it. Everything has a default. */
export interface EtcdRegistryOptions {
  /** One host. Default `http://127.0.0.1:2379`. */
  readonly url?: string | URL | undefined;
  /** Several hosts of one cluster, instead of `url`; the first that answers is used. */
  readonly hosts?: readonly (string | URL)[] | undefined;
  /** The records are `<prefix>/<service>/<id>`. Default `/services`. */
  readonly prefix?: string | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Only for `https://`. */
  readonly tls?: EtcdTlsOptions | undefined;
  /** How long a record outlives its last renewal; renewed three times as often, and every 5 s at least. Default 30 s. */
  readonly ttlMs?: number | undefined;
  /** How long etcd may take for an answer. Default 5 s. */
  readonly timeoutMs?: number | undefined;
  /** How often a service is read anew although nothing has changed. Default 45 s, give or take a quarter. */
  readonly relistMs?: number | undefined;
  /**
   * A client of npm `etcd3` to use instead of one made from these options. It is not closed with the registry. Its hosts,
   * its time-outs and its repetitions are its own; what the registry does about a silent host, it cannot do for it.
   */
  readonly client?: Etcd3 | EtcdApi | undefined;
  readonly env?: Partial<Env> | undefined;
}

const CHECKS: Readonly<Record<keyof EtcdRegistryOptions, Check>> = {
  url: checkHost,
  hosts: (value, path) => {
    is.array(value, path);
    const hosts = value as readonly unknown[];
    if (hosts.length === 0) throw new InvalidOptionError(path, "at least one host", value);
    for (const [index, host] of hosts.entries()) checkHost(host, `${path}.${index}`);
  },
  prefix: (value, path) => {
    is.nonEmptyString(value, path);
    if (!/[^/]/.test(value as string)) throw new InvalidOptionError(path, "a prefix that is more than slashes", value);
  },
  username: is.nonEmptyString,
  password: is.nonEmptyString,
  tls: is.shape({
    ca: is.pem,
    cert: is.pem,
    key: is.pem,
    servername: is.nonEmptyString,
    rejectUnauthorized: is.boolean,
  }),
  ttlMs: is.number(1_000, 24 * 3_600_000),
  timeoutMs: is.number(1, 600_000),
  relistMs: is.number(1_000, 24 * 3_600_000),
  client: (value, path) => {
    for (const part of ["kv", "leaseClient", "watchClient", "auth", "maintenance"]) {
      if (typeof value !== "object" || value === null || typeof Reflect.get(value, part) !== "object") {
        throw new InvalidOptionError(path, "a client of npm etcd3", value);
      }
    }
  },
  env: is.env,
};

/** Beyond what closing takes. */
const CLOSE_MS = 10_000;

/**
 * Makes a {@link Registry} over etcd 3.4 or newer. Connects only when something is watched or registered. The caller
 * closes it, which deregisters what it registered and leaves no socket behind.
 *
 * The halves have one connection each, whatever the number of services: all watches share one stream.
 *
 * @throws InvalidOptionError for an option that cannot work, or that there is none of.
 */
export function etcdRegistry(options: EtcdRegistryOptions = {}): Registry {
  checkOptions("", options, CHECKS);
  const hosts = checkConnection(options);
  const { username: name, password } = options;
  const env = resolveEnv(options.env);
  const connect = (): EtcdConnection =>
    new EtcdConnection({
      ...dialling(options, hosts),
      timeoutMs: options.timeoutMs ?? 5_000,
      user: name === undefined || password === undefined ? undefined : { name, password },
      env,
    });
  const [reader, writer] = [connect(), connect()];
  const prefix = (options.prefix ?? "/services").replace(/\/+$/, "");
  const background = new Set<Promise<void>>();

  return createRegistry({
    name: "etcd",
    env: options.env,
    source: (query) => etcdSource(reader, query, { prefix, relistMs: options.relistMs ?? 45_000, env }),
    sink: () => etcdSink(writer, { prefix, ttlMs: options.ttlMs ?? 30_000, background, env }),
    async close() {
      const letGo = env.after(CLOSE_MS, () => undefined, { keepAlive: true });
      await Promise.all(background);
      await Promise.all([reader.close(), writer.close()]);
      letGo();
    },
  });
}

/** Either new clients of the hosts, or the given one, as if it were the only host. */
function dialling(options: EtcdRegistryOptions, hosts: readonly URL[]) {
  const { client } = options;
  if (client !== undefined) {
    const host = "the given client";
    return { hosts: [host], dial: (): Dialled => ({ host, api: client, close: async () => undefined }) };
  }
  const tls = hosts[0]?.protocol === "https:" ? (options.tls ?? {}) : undefined;
  return { hosts: hosts.map((url) => authority(url)), dial: (host: string) => dial(host, tls) };
}

/**
 * A client of one host without any of its own fault handling: repeating, waiting and giving up are done here and in core,
 * where they can be bounded, and what only this library does (see docs/adr) is not used at all.
 */
function dial(host: string, tls: EtcdTlsOptions | undefined): Dialled {
  const { channel, lost, destroy } = openChannel(host, tls);
  const etcd = new Etcd3({
    hosts: host,
    grpcOptions: { channelOverride: channel },
    faultHandling: { host: () => noop, global: noop },
  });
  const { kv, leaseClient, auth, maintenance } = etcd;
  const streams = new Client(host, credentials.createInsecure(), { channelOverride: channel });
  const watchClient: EtcdApi["watchClient"] = {
    // The channel's own credentials count.
    watch: async (options) =>
      streams.makeBidiStreamRequest(
        "/etcdserverpb.Watch/Watch",
        encodeWatchRequest,
        decodeWatchResponse,
        new Metadata(),
        options ?? {},
      ),
  };
  return {
    host,
    api: { kv, leaseClient, auth, maintenance, watchClient },
    lost,
    async close() {
      const gone = destroy();
      etcd.close();
      await gone;
    },
  };
}

/** What only makes sense together, or not together. @returns the hosts. */
function checkConnection({ url, hosts, tls, username, password, client }: EtcdRegistryOptions): readonly URL[] {
  if (client !== undefined) {
    for (const [path, value] of Object.entries({ url, hosts, tls, username, password })) {
      if (value !== undefined) throw new InvalidOptionError(path, "nothing, because client is given", value);
    }
  }
  if (url !== undefined && hosts !== undefined)
    throw new InvalidOptionError("hosts", "nothing, because url is given", hosts);
  const urls = (hosts ?? [url ?? "http://127.0.0.1:2379"]).map((host) => hostUrl(host));
  const [first] = urls;
  if (urls.some(({ protocol }) => protocol !== first?.protocol)) {
    throw new InvalidOptionError("hosts", "hosts that are all http:// or all https://", hosts);
  }
  if (tls !== undefined && first?.protocol !== "https:") {
    throw new InvalidOptionError("tls", "nothing, unless the hosts are https://", tls);
  }
  if (first?.protocol === "https:") checkTls(tls);
  if ((username === undefined) !== (password === undefined)) {
    const path = username === undefined ? "username" : "password";
    throw new InvalidOptionError(path, "both or none of username and password", undefined);
  }
  return urls;
}

function checkTls({ ca, cert, key }: EtcdTlsOptions = {}): void {
  if ((cert === undefined) !== (key === undefined)) {
    throw new InvalidOptionError(
      cert === undefined ? "tls.cert" : "tls.key",
      "both or none of cert and key",
      undefined,
    );
  }
  try {
    createSecureContext({ ca, cert, key });
  } catch (cause) {
    throw new InvalidOptionError(
      "tls",
      `certificates and a key that fit together (${messageOf(cause)})`,
      undefined,
      cause,
    );
  }
}

function checkHost(value: unknown, path: string): void {
  is.url(withScheme(value), path);
  const url = hostUrl(value);
  if (url.pathname !== "/" || url.search !== "" || url.hash !== "" || url.username !== "" || url.password !== "") {
    throw new InvalidOptionError(path, "a host and a port, without user, path, ? and #", value);
  }
}

function hostUrl(value: unknown): URL {
  return new URL(String(withScheme(value)));
}

/** A host is a URL, or `name:port`, as it often stands in `ETCD_ENDPOINTS`. */
function withScheme(value: unknown): unknown {
  return typeof value === "string" && /^[^\s/]+:\d+$/.test(value) ? `http://${value}` : value;
}

/** gRPC wants a port. */
function authority({ host, port, protocol }: URL): string {
  if (port !== "") return host;
  return `${host}:${protocol === "https:" ? 443 : 80}`;
}
