import { InvalidOptionError } from "./errors.ts";
import { type Instance, type InstanceInit, createInstance } from "./instance.ts";

/** What is used where a URL names no port. */
const PORTS: Readonly<Record<string, number>> = { "http:": 80, "https:": 443 };

/**
 * Reads what a registry of plain values holds for an instance: a JSON record, as `JSON.stringify(instance)` writes it; or,
 * as go-kit and others write, a plain `host:port` or an absolute URL, which becomes the metadatum `url`. Throws if it is
 * neither; what a record's members are is for {@link decodeRecord} to judge.
 */
export function parseRecord(text: string): Readonly<Record<string, unknown>> {
  const value = text.trim();
  if (value.startsWith("{")) return JSON.parse(value) as Record<string, unknown>;
  const isUrl = /^[a-z][a-z0-9+.-]*:\/\//i.test(value);
  const url = isUrl || /^[^\s/]+:\d{1,5}$/.test(value) ? URL.parse(isUrl ? value : `tcp://${value}`) : null;
  const port = url?.port || PORTS[url?.protocol ?? ""];
  if (url === null || port === undefined) {
    throw new InvalidOptionError("record", "a JSON record, host:port or a URL with a port", text);
  }
  return { host: url.hostname, port: Number(port), ...(isUrl ? { metadata: { url: value } } : {}) };
}

/**
 * Makes an instance of a record: only `host` and `port` must be there, the id is `id` unless the record has its own, and
 * what it has besides is ignored.
 *
 * @throws InvalidOptionError for a member that makes no sense, and for a record of another service.
 */
export function decodeRecord(record: Readonly<Record<string, unknown>>, service: string, id: string): Instance {
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
