import { type Instance, type InstanceInit, InvalidOptionError, createInstance } from "@rollcall/core";
import type { AuthClient, IKeyValue, KVClient, LeaseClient, MaintenanceClient, WatchClient } from "etcd3";

/** What is used of a client of npm `etcd3`. */
export interface EtcdApi {
  readonly kv: Pick<KVClient, "range" | "put">;
  readonly leaseClient: Pick<LeaseClient, "leaseGrant" | "leaseRevoke" | "leaseKeepAlive">;
  readonly watchClient: Pick<WatchClient, "watch">;
  readonly auth: Pick<AuthClient, "authenticate">;
  readonly maintenance: Pick<MaintenanceClient, "status">;
}

/** All keys that begin with the same bytes, as etcd wants them. */
export interface KeyRange {
  readonly key: Buffer;
  readonly range_end: Buffer;
}

/** A key and what is known by it: an instance, or why it is none. */
export type Entry = { readonly instance: Instance } | BadEntry;

export interface BadEntry {
  readonly record: unknown;
  readonly error: unknown;
  /** The key cannot be an instance's, whatever is there: another program's, which says nothing of the service. */
  readonly foreign: boolean;
}

/**
 * Where the instances of a service are: `<prefix>/<service>/<id>`. The slash at the end keeps `web` apart from `web2`;
 * a slash within a name, or a `%`, is written as in a URL.
 */
export function rangeOf(prefix: string, service: string): KeyRange {
  const key = Buffer.from(`${prefix}/${escape(service)}/`);
  const end = Buffer.from(key);
  end[end.length - 1] = "/".charCodeAt(0) + 1; // the next byte: nothing lies between
  return { key, range_end: end };
}

export function keyOf(prefix: string, { service, id }: Pick<Instance, "service" | "id">): Buffer {
  return Buffer.from(`${prefix}/${escape(service)}/${escape(id)}`);
}

/** One JSON record, with the members of {@link Instance}; {@link decodeEntry} gives back exactly what was encoded. */
export function encodeInstance(instance: Instance): Buffer {
  return Buffer.from(JSON.stringify(instance));
}

/**
 * Reads what is under a key: a JSON record as {@link encodeInstance} writes it, in which only `host` and `port` must be
 * there (what it has besides is ignored), or, as go-kit and others write, a plain `host:port` or an absolute URL, which
 * becomes the metadatum `url`. Never throws: what makes no sense is an entry too, with the reason.
 */
export function decodeEntry(range: KeyRange, service: string, { key, value }: IKeyValue): Entry {
  const name = key.subarray(range.key.length).toString();
  const foreign = name === "" || name.includes("/");
  try {
    if (foreign) throw new InvalidOptionError("key", "<prefix>/<service>/<id>", key.toString());
    return { instance: decodeInstance(unescape(name), service, value.toString()) };
  } catch (error) {
    return { record: { key: key.toString(), value: value.toString() }, error, foreign };
  }
}

function decodeInstance(id: string, service: string, value: string): Instance {
  const text = value.trim();
  if (!text.startsWith("{")) return createInstance({ service, id, ...decodeAddress(text) });
  const record = JSON.parse(text) as Record<string, unknown>;
  if (record["service"] !== undefined && record["service"] !== service) {
    throw new InvalidOptionError("service", JSON.stringify(service), record["service"]);
  }
  const init: Record<keyof InstanceInit, unknown> = {
    service,
    id: record["id"] ?? id,
    host: record["host"],
    port: record["port"],
    weight: record["weight"] ?? undefined,
    zone: record["zone"] ?? undefined,
    tags: record["tags"] ?? undefined,
    metadata: record["metadata"] ?? undefined,
  };
  // Nothing is known of the types yet: createInstance checks every field, and throws.
  return createInstance(init as InstanceInit);
}

function decodeAddress(text: string): Pick<InstanceInit, "host" | "port" | "metadata"> {
  const isUrl = /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
  if (!/^[^\s/]+:\d{1,5}$/.test(text) && !isUrl) {
    throw new InvalidOptionError("value", "a JSON record, host:port or a URL", text);
  }
  const url = new URL(isUrl ? text : `tcp://${text}`);
  const port = url.port === "" ? DEFAULT_PORTS.get(url.protocol) : Number(url.port);
  if (port === undefined) throw new InvalidOptionError("value", "an address with a port", text);
  return { host: url.hostname, port, ...(isUrl ? { metadata: { url: text } } : {}) };
}

const DEFAULT_PORTS: ReadonlyMap<string, number> = new Map([
  ["http:", 80],
  ["https:", 443],
]);

function escape(name: string): string {
  return name.replaceAll("%", "%25").replaceAll("/", "%2F");
}

/** Only what {@link escape} writes: other programs may have their own use for a percent sign. */
function unescape(name: string): string {
  return name.includes("%") ? name.replaceAll(/%2F/gi, "/").replaceAll("%25", "%") : name;
}
