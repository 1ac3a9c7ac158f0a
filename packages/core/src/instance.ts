import { InvalidOptionError } from "./errors.ts";
import { checkOptions, is, required } from "./options.ts";

/** What a registry says about one running copy of a service. Frozen, all the way down. */
export interface Instance {
  /** Unique within its service, and stable across updates: statistics and clients are kept by it. */
  readonly id: string;
  readonly service: string;
  /** A name or an IP address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** Relative share of the traffic. 0 means "drain": known, but never picked. */
  readonly weight: number;
  readonly zone?: string;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** What is needed to describe an instance; the rest has defaults. */
export interface InstanceInit {
  readonly service: string;
  readonly host: string;
  readonly port: number;
  /** Default: `${service}-${host}-${port}`, so that a restarted copy takes its own place again. */
  readonly id?: string | undefined;
  /** Default 1. */
  readonly weight?: number | undefined;
  readonly zone?: string | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

/**
 * Makes an {@link Instance}: validates, fills in the defaults, copies and freezes. The input is not changed.
 *
 * @throws InvalidOptionError (`path`, `expected`, `got`) for an empty service, host or id, a host that is no host (a
 * URL, say), a port outside 1…65535, a weight that is negative or not finite, or metadata that are not strings.
 */
export function createInstance(init: InstanceInit): Instance {
  checkOptions("", init, INSTANCE_CHECKS);
  const host = init.host.startsWith("[") ? init.host.slice(1, -1) : init.host;
  const { service, port, zone } = init;
  const id = init.id ?? `${service}-${host}-${port}`;
  const weight = init.weight ?? 1;
  const tags = Object.freeze([...(init.tags ?? [])]);
  const metadata = Object.freeze({ ...init.metadata });
  // Two literals: to spread the zone in would double the time.
  const instance: Instance = Object.freeze(
    zone === undefined
      ? { id, service, host, port, weight, tags, metadata }
      : { id, service, host, port, weight, zone, tags, metadata },
  );
  MADE.add(instance);
  return instance;
}

/** Everything that {@link createInstance} made: valid and frozen beyond doubt. */
const MADE = new WeakSet<object>();

/** Whether {@link createInstance} made it. */
export function isInstance(value: unknown): value is Instance {
  return MADE.has(value as object); // whatever is no object is not in there
}

/**
 * The instance itself if {@link createInstance} made it, otherwise a validated and frozen copy of its fields; whatever
 * else it carries is left out. For what foreign code calls an instance. Throws `InvalidOptionError` if it is none.
 */
export function asInstance(value: unknown): Instance {
  if (isInstance(value)) return value;
  is.object(value, "instance");
  const { id, service, host, port, weight, zone, tags, metadata } = value as Instance;
  return createInstance({ id, service, host, port, weight, zone, tags, metadata });
}

/** `host:port`, with IPv6 hosts in brackets, also those that have them already. */
export function address({ host, port }: { readonly host: string; readonly port: number }): string {
  return host.includes(":") && !host.startsWith("[") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether two instances say the same, field by field. */
export function sameInstance(a: Instance, b: Instance): boolean {
  return (
    a === b ||
    (a.id === b.id &&
      a.service === b.service &&
      a.host === b.host &&
      a.port === b.port &&
      a.weight === b.weight &&
      a.zone === b.zone &&
      a.tags.length === b.tags.length &&
      a.tags.every((tag, index) => tag === b.tags[index]) &&
      sameRecord(a.metadata, b.metadata))
  );
}

function sameRecord(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && a[key] === b[key]);
}

/** The facts of an instance, for whoever takes them along with options of its own. */
export const INSTANCE_CHECKS = {
  service: /* @__PURE__ */ required(is.nonEmptyString),
  host: /* @__PURE__ */ required(is.host),
  port: /* @__PURE__ */ required(is.port),
  id: is.nonEmptyString,
  weight: (value: unknown, path: string) => {
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
      throw new InvalidOptionError(path, "a finite number >= 0", value);
    }
  },
  zone: is.string,
  tags: is.strings,
  metadata: (value: unknown, path: string) => {
    is.object(value, path);
    for (const [key, entry] of Object.entries(value as object)) {
      // An own key of this name is harmless here, but not to whoever copies the record by assignment.
      if (key === "__proto__") throw new InvalidOptionError(`${path}.${key}`, "another key than __proto__", entry);
      if (typeof entry !== "string") throw new InvalidOptionError(`${path}.${key}`, "a string", entry);
    }
  },
};
