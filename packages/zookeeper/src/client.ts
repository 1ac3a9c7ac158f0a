import { type Instance, decodeRecord, parseRecord } from "@rollcall/core";

/** What ZooKeeper does not take in a name, or gives a meaning to; what lies beyond the BMP is two surrogates to it. */
// oxlint-disable-next-line no-control-regex -- they are what must not get there
const UNFIT = /[%/\u0000-\u001f\u007f-\u009f\ud800-\uf8ff\ufff0-\uffff\u{10000}-\u{10ffff}]|^\.{1,2}$/gu;

/** A name as a part of a path: what ZooKeeper refuses is written as in a URL, so that two names never share one. */
export function nodeName(name: string): string {
  return name.replaceAll(UNFIT, (text) =>
    [...Buffer.from(text)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}

/** Where the instances of a service are: each child of this node is one. */
export function folderOf(root: string, service: string): string {
  return `${root}/${nodeName(service)}`;
}

/** One JSON record, with the members of {@link Instance}; {@link decodeNode} gives back exactly what was encoded. */
export function encodeInstance(instance: Instance): Buffer {
  return Buffer.from(JSON.stringify(instance));
}

/**
 * Reads what a child holds: one of core's records (see `parseRecord`), as {@link encodeInstance} and go-kit write them, or
 * one of Curator's service discovery. The id is the record's, or else the name of the node. Undefined if it says by itself
 * that it is none: one without any data, or one that Curator has disabled. Throws if it makes no sense.
 */
export function decodeNode(service: string, name: string, data: Buffer | undefined): Instance | undefined {
  const text = data?.toString().trim() ?? "";
  const record = text === "" ? { enabled: false } : translate(parseRecord(text));
  return record["enabled"] === false ? undefined : decodeRecord(record, service, name);
}

/** Curator's words in ours; what Spring Cloud adds, its payload's `metadata`, is the record's. */
function translate(record: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { name, address, port, sslPort, payload } = record;
  if (address === undefined) return record;
  const { metadata } = Object(payload) as { readonly metadata?: unknown };
  return {
    metadata,
    host: address,
    ...(name === undefined ? {} : { service: name }),
    ...record,
    port: port ?? sslPort,
  };
}
