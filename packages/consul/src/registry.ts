import * as http from "node:http";
import * as https from "node:https";
import {
  Agenda,
  type Check,
  type Env,
  InvalidOptionError,
  type Registry,
  Turns,
  bounded,
  checkOptions,
  checkThat,
  createRegistry,
  is,
  resolveEnv,
} from "@rollcall/core";
import Consul from "consul";
import { backgroundAgent } from "./background-agent.ts";
import type { ConsulAccess } from "./call.ts";
import { type ConsulCheck, MAX_MS, checkConsulCheck } from "./check.ts";
import { type ConsulApi, META_KEY, checkName, encodeInstance, isMetaKey } from "./client.ts";
import { plainGet } from "./plain-get.ts";
import { Polls } from "./polls.ts";
import { type Background, consulSink } from "./sink.ts";
import { type ConsulSourceOptions, consulSource } from "./source.ts";

/** How an `https://` URL is connected to; each means what it means in `node:tls`: contents, not names of files. */
export interface ConsulTlsOptions {
  readonly ca?: string | Buffer | readonly (string | Buffer)[] | undefined;
  readonly cert?: string | Buffer | undefined;
  readonly key?: string | Buffer | undefined;
  readonly passphrase?: string | undefined;
  readonly servername?: string | undefined;
  /** Default true. */
  readonly rejectUnauthorized?: boolean | undefined;
}

/** Where Consul is, and how to use it. Everything has a default. */
export interface ConsulRegistryOptions {
  /** The agent's address. Default `http://127.0.0.1:8500`. `/v1` is added. */
  readonly url?: string | URL | undefined;
  /** An ACL token, sent with every request. */
  readonly token?: string | undefined;
  /** Which datacenter is read. Default: the agent's own. Instances are always registered with the agent itself. */
  readonly datacenter?: string | undefined;
  /** Consul Enterprise only. */
  readonly namespace?: string | undefined;
  /** Only for `https://`. */
  readonly tls?: ConsulTlsOptions | undefined;
  /** Lets any server answer, not only the leader: cheaper, works without a leader, may be a little behind. Default false. */
  readonly stale?: boolean | undefined;
  /** How long Consul holds back its answer while nothing changes; 1 s to 10 min, default 30 s. A hung agent is noticed after that. */
  readonly waitMs?: number | undefined;
  /** How long any request may take that Consul answers at once. Default 5 s. */
  readonly timeoutMs?: number | undefined;
  /**
   * How many connections all watches share; those of a registry that announces come on top, at most ten. With more watches
   * than that, each asks in turn, at least every three seconds. Default 100: half of what Consul allows to all processes
   * of a host together.
   */
  readonly maxConnections?: number | undefined;
  /** How Consul finds out that a registered instance is dead. Default: a TTL of 30 s. */
  readonly check?: ConsulCheck | undefined;
  /** When Consul forgets an instance whose check keeps failing. Default 1 min, which is also the least. */
  readonly deregisterCriticalAfterMs?: number | undefined;
  /** The key of the metadata that holds the zone. Default `zone`. */
  readonly zoneKey?: string | undefined;
  /** A longer answer is refused. Default 16 MiB. */
  readonly maxAnswerBytes?: number | undefined;
  /** A client of npm `consul` to use instead of one made from `url` and `tls`. It is not closed with the registry. */
  readonly client?: Consul | ConsulApi | undefined;
  readonly env?: Partial<Env> | undefined;
}

const CHECKS: Readonly<Record<keyof ConsulRegistryOptions, Check>> = {
  url: checkUrl,
  token: is.nonEmptyString,
  datacenter: is.nonEmptyString,
  namespace: is.nonEmptyString,
  tls: is.shape({
    ca: (value, path) => (Array.isArray(value) ? value : [value]).forEach((each) => is.pem(each, path)),
    cert: is.pem,
    key: is.pem,
    passphrase: is.string,
    servername: is.string,
    rejectUnauthorized: is.boolean,
  }),
  stale: is.boolean,
  waitMs: is.number(1_000, 600_000),
  timeoutMs: is.number(1, MAX_MS),
  maxConnections: checkThat("an integer >= 1", (value) => Number.isInteger(value) && (value as number) > 0),
  check: checkConsulCheck,
  deregisterCriticalAfterMs: is.number(60_000, MAX_MS),
  zoneKey: checkThat(META_KEY, (value) => typeof value === "string" && isMetaKey(value)),
  maxAnswerBytes: is.number(1),
  client: checkThat("a client of npm consul", (value) => {
    const verbs = Object(value) as Partial<ConsulApi>;
    return typeof verbs._get === "function" && typeof verbs._put === "function";
  }),
  env: is.env,
};

/** How many requests of announcing run at a time. They are short; a server with hundreds of instances must not flood. */
const MAX_WRITES = 10;

/** How long closing waits for what is still to be taken back. */
const CLOSE_MS = 2_000;

/**
 * Makes a {@link Registry} over a Consul agent. Connects only when something is watched or registered. The caller
 * closes it, which deregisters what it registered and leaves no socket behind.
 *
 * The halves have their own sockets, so that no number of watches keeps a heartbeat waiting.
 *
 * @throws InvalidOptionError for an option that cannot work, or that there is none of.
 */
export function consulRegistry(options: ConsulRegistryOptions = {}): Registry {
  checkOptions("", options, CHECKS);
  checkConnection(options);
  const env = resolveEnv(options.env);
  const [reader, writer] = options.client === undefined ? [connect(options), connect(options)] : share(options.client);
  const common: Omit<ConsulAccess, "api"> = {
    env,
    agenda: new Agenda(env),
    token: options.token,
    namespace: options.namespace,
    maxAnswerBytes: options.maxAnswerBytes ?? 16 * 1024 * 1024,
  };
  const timeoutMs = options.timeoutMs ?? 5_000;
  const zoneKey = options.zoneKey ?? "zone";
  const reading: ConsulAccess = { ...common, ...reader };
  const polling: ConsulSourceOptions = {
    waitMs: Math.round(options.waitMs ?? 30_000),
    timeoutMs,
    datacenter: options.datacenter,
    stale: options.stale ?? false,
    zoneKey,
    polls: new Polls(options.maxConnections ?? 100),
    env,
  };
  const turns = new Turns(MAX_WRITES);
  const background = new Set<Background>();

  return createRegistry({
    name: "consul",
    env: options.env,
    source(query) {
      checkName("service", query.service);
      return consulSource(reading, query, polling);
    },
    sink(instance) {
      encodeInstance(instance, zoneKey); // what Consul cannot hold is refused now, not when it is registered
      return consulSink(
        { ...common, ...writer, turns },
        {
          check: options.check ?? {},
          deregisterCriticalAfterMs: options.deregisterCriticalAfterMs ?? 60_000,
          timeoutMs,
          zoneKey,
          background,
        },
      );
    },
    async close() {
      const bounds = { timeoutMs: CLOSE_MS, onTimeout: () => undefined };
      const done = Promise.all([...background].map((each) => each.done));
      await bounded(env, bounds, () => done).catch(() => undefined);
      for (const each of background) each.cut();
      await done;
      await Promise.all([reader, writer].map((half) => destroy(half.agent)));
    },
  });
}

function checkUrl(value: unknown, path: string): void {
  is.url(value, path);
  const { search, hash } = new URL(String(value));
  if (search !== "" || hash !== "") throw new InvalidOptionError(path, "a URL without ? and #", value);
}

function checkConnection({ url, tls, client }: ConsulRegistryOptions): void {
  if (client !== undefined) {
    for (const [path, value] of Object.entries({ url, tls })) {
      if (value !== undefined) throw new InvalidOptionError(path, "none beside client, which has its own", value);
    }
  } else if (tls !== undefined && !/^https:/i.test(String(url))) {
    throw new InvalidOptionError("tls", "an https:// url to go with it", tls);
  }
}

/** A client, and the sockets that are ours to close. */
type Half = Pick<ConsulAccess, "api" | "get" | "agent">;

function connect(options: ConsulRegistryOptions): Half {
  const url = new URL(options.url ?? "http://127.0.0.1:8500");
  const path = url.pathname.replace(/\/+$/, "");
  url.pathname = path.endsWith("/v1") ? path : `${path}/v1`;
  const agent = backgroundAgent({
    secure: url.protocol === "https:",
    keepAlive: true,
    ...(options.tls as https.AgentOptions | undefined),
    // The client asks for the host as the URL writes it, and nothing resolves "[::1]"; an agent's own host is used first.
    ...(url.hostname.startsWith("[") ? { host: url.hostname.slice(1, -1) } : {}),
  });
  // Its types know neither baseUrl nor the verbs.
  const made = new Consul({ baseUrl: url.href, agent } as ConstructorParameters<typeof Consul>[0]);
  return { api: made as unknown as ConsulApi, get: plainGet(url, agent), agent };
}

/** Both halves over a given client; writing gets sockets of its own if the client's agent is a plain one. */
function share(client: Consul | ConsulApi): readonly [Half, Half] {
  const api = client as unknown as ConsulApi;
  return [{ api }, { api, agent: siblingOf(api._opts?.agent) }];
}

/** An agent with the same options, but its own and unlimited sockets; none if it is not one of Node's own. */
function siblingOf(agent: (http.Agent & { readonly options?: http.AgentOptions }) | undefined): http.Agent | undefined {
  const kind: unknown = agent?.constructor;
  if (agent === undefined || (kind !== http.Agent && kind !== https.Agent)) return undefined;
  const secure = kind === https.Agent;
  return backgroundAgent({ ...agent.options, secure, maxSockets: Infinity, maxTotalSockets: Infinity });
}

/** Resolves when the sockets are really gone. */
async function destroy(agent: http.Agent | undefined): Promise<void> {
  const sockets = [agent?.sockets, agent?.freeSockets].flatMap((byName) => Object.values(byName ?? {})).flat();
  const closed = sockets.map((socket) => new Promise<void>((resolve) => socket?.once("close", () => resolve())));
  agent?.destroy();
  await Promise.all(closed);
}
