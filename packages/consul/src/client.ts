import type { EventEmitter } from "node:events";
import type { Agent, IncomingHttpHeaders } from "node:http";
import type { Writable } from "node:stream";
import {
  type Instance,
  type InstanceInit,
  InvalidOptionError,
  type NormalizedQuery,
  address,
  createInstance,
} from "@rollcall/core";

/**
 * What is used of npm `consul`: the two verbs that it inherits from its HTTP layer. Its named methods are not used,
 * because they drop what they do not know (weights, namespaces, `replace-existing-checks`); neither is its `watch()`.
 */
export interface ConsulApi {
  _get(request: ConsulRequest): Promise<ConsulResponse>;
  _put(request: ConsulRequest): Promise<ConsulResponse>;
  /** The options that the client was made with; only its agent is looked at. */
  readonly _opts?: { readonly agent?: Agent | undefined } | undefined;
  /** What the client adds to each of its named methods; the verbs do not, so it is done here. */
  readonly _defaults?: { readonly token?: string | undefined; readonly dc?: string | undefined } | undefined;
}

/** One request as npm `consul` takes it. The client changes the object: it must be a fresh one each time. */
export interface ConsulRequest {
  /** Below `/v1`; names in braces are filled from `params`, encoded. */
  readonly path: string;
  readonly params: Record<string, string>;
  readonly query: Record<string, string>;
  readonly headers: Record<string, string>;
  readonly body?: unknown;
  readonly type?: "json" | undefined;
  /** Always 0, for none: time-outs come as cancellations. */
  readonly timeout: 0;
  /** `emit("cancel")` aborts the request and closes its socket. */
  readonly ctx: EventEmitter;
  /** Gets the body; the client then neither keeps nor decodes it. */
  readonly pipe: Writable;
  readonly agent?: Agent | undefined;
}

/** What is used of an answer. */
export interface ConsulResponse {
  readonly headers: IncomingHttpHeaders;
}

/** What Consul's agent is told of a service; the check is added by the sink. */
export interface ServiceRegistration {
  readonly ID: string;
  readonly Name: string;
  readonly Address: string;
  readonly Port: number;
  readonly Tags: readonly string[];
  readonly Meta: Readonly<Record<string, string>>;
  readonly Weights: { readonly Passing: number; readonly Warning: number };
}

/** The instances in an answer, and what was wrong with the rest of it. */
export interface DecodedAnswer {
  readonly instances: readonly Instance[];
  /** How many records there were, whatever their tags. */
  readonly records: number;
  /** How many of them could not be understood. */
  readonly skipped: number;
  /** The first of them, with the reason. */
  readonly errors: readonly { readonly record: unknown; readonly error: unknown }[];
}

/** Holds the weights that Consul's own field cannot: 0, and fractions. */
const WEIGHT_KEY = "rollcall-weight";
const MAX_CONSUL_WEIGHT = 65_535;
/** Enough to see what is wrong; an answer of 100,000 bad records must not cost 100,000 errors. */
const MAX_REPORTED = 10;

/**
 * Reads an answer of `/v1/health/service/…`. A record that makes no sense is left out and counted; so is a record
 * without a port, which Consul allows. Tags are compared exactly (Consul itself ignores their case).
 *
 * Consul's ids are unique per agent only: if two instances at different addresses share one, all of that id get their
 * address appended (`web@10.0.0.1:80`).
 *
 * @throws TypeError if the answer is not a list at all.
 */
export function decodeInstances(answer: unknown, query: NormalizedQuery, zoneKey: string): DecodedAnswer {
  if (!Array.isArray(answer)) throw new TypeError(`expected a list of service records, got ${typeof answer}`);
  const decoding = new Decoding(query, zoneKey);
  for (const record of answer as readonly unknown[]) decoding.add(record);
  return decoding.end();
}

/** What a good record says: an instance, or undefined for one with other tags than were asked for. */
export interface Said {
  readonly instance: Instance | undefined;
}

/** {@link decodeInstances}, record by record. */
export class Decoding {
  readonly #query: NormalizedQuery;
  readonly #zoneKey: string;
  readonly #instances: Instance[] = [];
  readonly #errors: { readonly record: unknown; readonly error: unknown }[] = [];
  #records = 0;
  #skipped = 0;

  constructor(query: NormalizedQuery, zoneKey: string) {
    this.#query = query;
    this.#zoneKey = zoneKey;
  }

  /** Returns what the record says, or undefined if that makes no sense. */
  add(record: unknown): Said | undefined {
    try {
      const instance = decodeInstance(record, this.#query.service, this.#zoneKey);
      const isWanted = this.#query.tags.every((tag) => instance.tags.includes(tag));
      const said = { instance: isWanted ? instance : undefined };
      this.repeat(said);
      return said;
    } catch (error) {
      this.#records++;
      this.#skipped++;
      if (this.#errors.length < MAX_REPORTED) this.#errors.push({ record, error });
      return undefined;
    }
  }

  /** Adds a record of which it is known what it says. */
  repeat({ instance }: Said): void {
    this.#records++;
    if (instance !== undefined) this.#instances.push(instance);
  }

  end(): DecodedAnswer {
    const instances = distinguish(this.#instances.slice()); // of just its length, for it may be kept
    return { instances, records: this.#records, skipped: this.#skipped, errors: this.#errors };
  }
}

function decodeInstance(record: unknown, service: string, zoneKey: string): Instance {
  const entry = fields(record, "record");
  const node = entry["Node"] == null ? {} : fields(entry["Node"], "Node");
  const known = fields(entry["Service"], "Service");
  const meta = known["Meta"] == null ? {} : fields(known["Meta"], "Meta");
  const init: Record<keyof InstanceInit, unknown> = {
    service,
    id: known["ID"],
    host: known["Address"] || node["Address"],
    port: known["Port"],
    weight: decodeWeight(known["Weights"], own(meta, WEIGHT_KEY)),
    zone: own(meta, zoneKey),
    tags: known["Tags"] ?? [],
    metadata: Object.fromEntries(Object.entries(meta).filter(([key]) => key !== zoneKey && key !== WEIGHT_KEY)),
  };
  // Nothing is known of the types yet: createInstance checks every field, and throws.
  return createInstance(init as InstanceInit);
}

function decodeWeight(weights: unknown, exact: unknown): unknown {
  if (typeof exact === "string") return exact.trim() === "" ? NaN : Number(exact);
  if (weights == null) return 1;
  return own(fields(weights, "Weights"), "Passing");
}

function distinguish(instances: readonly Instance[]): readonly Instance[] {
  const ids = new Set<string>();
  for (const { id } of instances) ids.add(id);
  if (ids.size === instances.length) return instances; // the usual case, and less work
  const first = new Map<string, Instance>();
  const ambiguous = new Set<string>();
  for (const instance of instances) {
    const other = first.get(instance.id);
    if (other === undefined) first.set(instance.id, instance);
    else if (address(other) !== address(instance)) ambiguous.add(instance.id);
  }
  if (ambiguous.size === 0) return instances;
  return instances.map((instance) =>
    ambiguous.has(instance.id) ? createInstance({ ...instance, id: `${instance.id}@${address(instance)}` }) : instance,
  );
}

/**
 * Writes an instance as Consul's agent wants it. `decodeInstances` gives back exactly what was encoded.
 *
 * @throws InvalidOptionError for what Consul cannot hold, and for metadata under a key that is used otherwise: Consul
 * takes at most 64 pairs, keys of up to 128 letters, digits, `-` and `_` that do not start with `consul-`, and values
 * of up to 512 bytes; and it cannot be asked for names with empty, `.` or `..` segments, which its web server rewrites.
 */
export function encodeInstance(instance: Instance, zoneKey: string): ServiceRegistration {
  checkName("service", instance.service);
  checkName("id", instance.id);
  for (const key of [zoneKey, WEIGHT_KEY]) {
    if (Object.hasOwn(instance.metadata, key)) {
      throw new InvalidOptionError(
        `metadata.${key}`,
        `another key (this one holds the ${key === zoneKey ? "zone" : "weight"})`,
        instance.metadata[key],
      );
    }
  }
  const passing = Math.min(Math.max(Math.round(instance.weight), 1), MAX_CONSUL_WEIGHT);
  const meta: Record<string, string> = {
    ...instance.metadata,
    ...(instance.zone === undefined ? {} : { [zoneKey]: instance.zone }),
    ...(passing === instance.weight ? {} : { [WEIGHT_KEY]: String(instance.weight) }),
  };
  checkMeta(meta);
  return {
    ID: instance.id,
    Name: instance.service,
    Address: instance.host,
    Port: instance.port,
    Tags: instance.tags,
    Meta: meta,
    Weights: { Passing: passing, Warning: passing },
  };
}

function checkMeta(meta: Readonly<Record<string, string>>): void {
  const entries = Object.entries(meta);
  if (entries.length > 64) throw new InvalidOptionError("metadata", "at most 64 pairs", entries.length);
  for (const [key, value] of entries) {
    const path = `metadata.${key}`;
    if (!isMetaKey(key)) throw new InvalidOptionError(path, META_KEY, key);
    if (Buffer.byteLength(value) > 512) throw new InvalidOptionError(path, "at most 512 bytes", value);
  }
}

/** What {@link isMetaKey} asks for, in words. */
export const META_KEY = "a key of up to 128 letters, digits, - and _ that does not start with consul-";

/** Whether Consul takes it as a key of metadata. */
export function isMetaKey(key: string): boolean {
  return /^[A-Za-z0-9_-]{1,128}$/.test(key) && !key.startsWith("consul-");
}

/** Refuses a name that Consul would take, but not find again: it stands in the path of a URL, which Consul cleans. */
export function checkName(path: string, name: string): void {
  const segments = name.split("/");
  if (segments.some((segment, index) => /^\.{1,2}$/.test(segment) || (segment === "" && index < segments.length - 1))) {
    throw new InvalidOptionError(path, "a name without empty, . or .. segments", name);
  }
}

function fields(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError(`${what} is not an object`);
  }
  return value as Record<string, unknown>;
}

/** A member that is really there, not one of `Object.prototype`. */
function own(record: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}
