import {
  type Check,
  type Registry,
  type ServerDefaults,
  type ServerOptions,
  checkOptions,
  checkThat,
  createRegistry,
  is,
  listOf,
  required,
  serverChecks,
  serversOf,
} from "@rollcall/core";
import { ACL, Id } from "node-zookeeper-client";
import { nodeName } from "./client.ts";
import { ZooKeeperConnection } from "./connection.ts";
import { zookeeperSink } from "./sink.ts";
import { zookeeperSource } from "./source.ts";

/** One entry of a node's access control list, in ZooKeeper's own terms. */
export interface ZooKeeperAcl {
  /** `world`, `auth`, `digest`, `ip`, … */
  readonly scheme: string;
  /** `anyone` for `world`, nothing for `auth`, `user:hash` for `digest`. */
  readonly id: string;
  /** Letters, as for ZooKeeper's own tools: `c`reate, `d`elete (children), `r`ead, `w`rite, `a`dminister this list. */
  readonly permissions: string;
}

/** Where ZooKeeper is, and how to use it. Everything has a default. */
export interface ZooKeeperRegistryOptions extends ServerOptions {
  /** The records are `<root>/<service>/<child>`. Default `/services`. */
  readonly root?: string | undefined;
  /** The rights of the nodes that are made. Default: everybody may read, and who made it may do everything; or, without `username`, everybody. */
  readonly acl?: readonly ZooKeeperAcl[] | undefined;
  /** How long a record outlives the last sign of life of its owner; the server may set bounds. Default 30 s. */
  readonly sessionTimeoutMs?: number | undefined;
}

/** A server is `zookeeper://host:port`, `host:port` or `host`. */
const SERVERS: ServerDefaults = { protocols: { "zookeeper:": 2181 }, url: "127.0.0.1", relistMs: 30_000 };

/** Each is the bit of its place. */
const PERMISSIONS = "rwcda";

const CHECKS: Readonly<Record<keyof ZooKeeperRegistryOptions, Check>> = {
  ...serverChecks(SERVERS),
  root: checkThat("a path of ZooKeeper, such as /services", isRoot),
  // They are put together with a colon.
  username: checkThat("a name without a colon", (value) => typeof value === "string" && /^[^:]+$/.test(value)),
  acl: listOf(
    "entry",
    is.shape({
      scheme: required(is.nonEmptyString),
      id: required(is.string),
      permissions: required(checkThat("some of the letters cdrwa", (value) => /^[rwcda]+$/.test(String(value)))),
    }),
  ),
  sessionTimeoutMs: is.number(1_000, 24 * 3_600_000),
};

/**
 * Makes a {@link Registry} over ZooKeeper 3.4 or newer. Connects only when something is watched or registered. The
 * caller closes it, which deregisters what it registered and leaves no socket behind.
 *
 * The halves have one session each, whatever the number of services.
 *
 * @throws InvalidOptionError for an option that cannot work, or that there is none of.
 */
export function zookeeperRegistry(options: ZooKeeperRegistryOptions = {}): Registry {
  checkOptions("", options, CHECKS);
  const { root = "/services", sessionTimeoutMs = 30_000 } = options;
  const { hosts, user, timeoutMs, relistMs, env } = serversOf(options, SERVERS);
  const digest = user === undefined ? undefined : `${user.name}:${user.password}`;
  const session = { sessionTimeoutMs, timeoutMs, digest, env };
  const [reader, writer] = [new ZooKeeperConnection(hosts, session), new ZooKeeperConnection(hosts, session)];
  const acl = aclOf(options);

  return createRegistry({
    name: "zookeeper",
    env: options.env,
    source: (query) => zookeeperSource(reader, query, root, relistMs),
    sink: () => zookeeperSink(writer, root, acl),
    close: async () => void (await Promise.all([reader.close(), writer.close()])),
  });
}

/** What is under `/zookeeper` is its own. */
function isRoot(value: unknown): boolean {
  const [first, ...parts] = typeof value === "string" ? value.split("/") : [];
  const isFit = parts.length > 0 && parts.every((part) => part !== "" && nodeName(part) === part);
  return first === "" && isFit && parts[0] !== "zookeeper";
}

function aclOf({ acl, username }: ZooKeeperRegistryOptions): ACL[] {
  const everybody = { scheme: "world", id: "anyone", permissions: username === undefined ? "cdrwa" : "r" };
  const owner = username === undefined ? [] : [{ scheme: "auth", id: "", permissions: "cdrwa" }];
  return (acl ?? [...owner, everybody]).map(({ scheme, id, permissions }) => {
    const bits = permissions.split("").reduce((all, letter) => all | (1 << PERMISSIONS.indexOf(letter)), 0);
    return new ACL(bits, new Id(scheme, id));
  });
}
