import { createSecureContext } from "node:tls";
import {
  type Check,
  type Host,
  InvalidOptionError,
  type Registry,
  type ServerDefaults,
  type ServerOptions,
  address,
  checkOptions,
  checkPair,
  checkThat,
  createRegistry,
  is,
  messageOf,
  serverChecks,
  serversOf,
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
export interface EtcdRegistryOptions extends ServerOptions {
  /** The records are `<prefix>/<service>/<id>`. Default `/services`. */
  readonly prefix?: string | undefined;
  /** Only for `https://`. */
  readonly tls?: EtcdTlsOptions | undefined;
  /** How long a record outlives its last renewal; renewed three times as often, and every 5 s at least. Default 30 s. */
  readonly ttlMs?: number | undefined;
  /**
   * A client of npm `etcd3` to use instead of one made from these options. It is not closed with the registry. Its hosts,
   * its time-outs and its repetitions are its own; what the registry does about a silent host, it cannot do for it.
   */
  readonly client?: Etcd3 | EtcdApi | undefined;
}

const SERVERS: ServerDefaults = {
  protocols: { "http:": 80, "https:": 443 },
  url: "http://127.0.0.1:2379",
  relistMs: 45_000,
};

const CHECKS: Readonly<Record<keyof EtcdRegistryOptions, Check>> = {
  ...serverChecks(SERVERS),
  prefix: checkThat("a prefix that is more than slashes", (value) => typeof value === "string" && /[^/]/.test(value)),
  tls: is.shape({
    ca: is.pem,
    cert: is.pem,
    key: is.pem,
    servername: is.nonEmptyString,
    rejectUnauthorized: is.boolean,
  }),
  ttlMs: is.number(1_000, 24 * 3_600_000),
  client: checkThat("a client of npm etcd3", (value) =>
    ["kv", "leaseClient", "watchClient", "auth", "maintenance"].every(
      (part) => typeof Reflect.get(Object(value) as object, part) === "object",
    ),
  ),
};

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
  const { hosts, user, timeoutMs, relistMs, env } = serversOf(options, SERVERS);
  checkConnection(options, hosts);
  const connect = (): EtcdConnection => new EtcdConnection({ ...dialling(options, hosts), timeoutMs, user, env });
  const [reader, writer] = [connect(), connect()];
  const prefix = (options.prefix ?? "/services").replace(/\/+$/, "");
  const background = new Set<Promise<void>>();

  return createRegistry({
    name: "etcd",
    env: options.env,
    source: (query) => etcdSource(reader, query, prefix, relistMs),
    sink: () => etcdSink(writer, { prefix, ttlMs: options.ttlMs ?? 30_000, background, env }),
    async close() {
      await Promise.all(background);
      await Promise.all([reader.close(), writer.close()]);
    },
  });
}

/** Either new clients of the hosts, or the given one, as if it were the only host. */
function dialling(options: EtcdRegistryOptions, hosts: readonly Host[]) {
  const { client } = options;
  if (client !== undefined) {
    const host = "the given client";
    return { hosts: [host], dial: (): Dialled => ({ host, api: client, close: async () => undefined }) };
  }
  const tls = hosts[0]?.protocol === "https:" ? (options.tls ?? {}) : undefined;
  return { hosts: hosts.map(address), dial: (host: string) => dial(host, tls) };
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

/** What only makes sense together, or not together. */
function checkConnection(options: EtcdRegistryOptions, hosts: readonly Host[]): void {
  const { url, hosts: several, tls, username, password, client } = options;
  if (client !== undefined) {
    for (const [path, value] of Object.entries({ url, hosts: several, tls, username, password })) {
      if (value !== undefined) throw new InvalidOptionError(path, "nothing, because client is given", value);
    }
  }
  const [first] = hosts;
  if (hosts.some(({ protocol }) => protocol !== first?.protocol)) {
    throw new InvalidOptionError("hosts", "hosts that are all http:// or all https://", several);
  }
  if (first?.protocol === "https:") checkTls(tls);
  else if (tls !== undefined) throw new InvalidOptionError("tls", "nothing, unless the hosts are https://", tls);
}

function checkTls(tls: EtcdTlsOptions = {}): void {
  checkPair("tls", tls, "cert", "key");
  const { ca, cert, key } = tls;
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
