import { type Instance, InvalidOptionError, type Reading, decodeRecord, parseRecord } from "@rollcall/core";
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
 * Reads what is under a key: one of core's records (see `parseRecord`), as {@link encodeInstance}, go-kit and others write
 * them. The id is the record's, or else the last part of the key. Never throws: what makes no sense is a reading too.
 */
export function decodeEntry(range: KeyRange, service: string, { key, value }: IKeyValue): Reading {
  const name = key.subarray(range.key.length).toString();
  const foreign = name === "" || name.includes("/");
  try {
    if (foreign) throw new InvalidOptionError("key", "<prefix>/<service>/<id>", key.toString());
    return { instance: decodeRecord(parseRecord(value.toString()), service, unescape(name)) };
  } catch (error) {
    return { record: { key: key.toString(), value: value.toString() }, error, foreign };
  }
}

function escape(name: string): string {
  return name.replaceAll("%", "%25").replaceAll("/", "%2F");
}

/** Only what {@link escape} writes: other programs may have their own use for a percent sign. */
function unescape(name: string): string {
  return name.includes("%") ? name.replaceAll(/%2F/gi, "/").replaceAll("%25", "%") : name;
}
