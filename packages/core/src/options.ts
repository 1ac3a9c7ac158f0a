import { InvalidOptionError } from "./errors.ts";

/** Throws {@link InvalidOptionError} if `value`, found at `path`, is not what it should be. */
export type Check = (value: unknown, path: string) => void;

function check(expected: string, test: (value: unknown) => boolean): Check {
  return (value, path) => {
    if (!test(value)) throw new InvalidOptionError(path, expected, value);
  };
}

const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** No scheme, path, user or white space; brackets only around a whole address. */
const HOST = /^(?:[^\s/\\@?#[\]]+|\[[0-9a-fA-F:.%\w]+\])$/;

/** The vocabulary of {@link checkOptions}. Every option may also be `undefined`; wrap in `required` what may not. */
export const is = {
  string: check("a string", (value) => typeof value === "string"),
  nonEmptyString: check("a non-empty string", (value) => typeof value === "string" && value.trim() !== ""),
  boolean: check("true or false", (value) => typeof value === "boolean"),
  function: check("a function", (value) => typeof value === "function"),
  object: check("an object", isObject),
  array: check("an array", Array.isArray),
  strings: check(
    "an array of strings",
    // Array.from: `every` alone skips the holes of a sparse array.
    (value) => Array.isArray(value) && Array.from(value).every((entry) => typeof entry === "string"),
  ),
  /** Milliseconds: finite or `Infinity`, never negative. */
  durationMs: check("a number of milliseconds >= 0", (value) => typeof value === "number" && value >= 0),
  port: check("an integer from 1 to 65535", (value) => Number.isInteger(value) && between(value, 1, 65_535)),
  url: check("an absolute http:// or https:// URL", isHttpUrl),
  /** A certificate or a key by its contents, as `node:tls` takes it: a name of a file would fail only when connecting. */
  pem: check(
    "a PEM text or a Buffer, not the name of a file",
    (value) => value instanceof Uint8Array || (typeof value === "string" && value.includes("-----BEGIN ")),
  ),
  /** A host name or an IP address as it stands in an authority: without scheme, port, path and user. */
  host: (value: unknown, path: string): void => {
    if (typeof value !== "string" || !HOST.test(value)) {
      throw new InvalidOptionError(path, "a host name or an IP address", value);
    }
    // "name:80" is a host with its port; only IPv6 addresses have colons, and they have at least two.
    if (!value.startsWith("[") && value.split(":").length === 2) {
      throw new InvalidOptionError(path, "a host without a port", value);
    }
  },
  number: (min: number, max = Infinity): Check =>
    check(max === Infinity ? `a number >= ${min}` : `a number from ${min} to ${max}`, (value) =>
      between(value, min, max),
    ),
  oneOf: (...values: readonly unknown[]): Check =>
    check(values.map(String).join(" | "), (value) => values.includes(value)),
  /** The read half of a registry, as in {@link Source}. */
  source: check("a source, with a watch method", (value) => hasMethods(value, ["watch"])),
  /** The write half of a registry, as in {@link Sink}. */
  sink: check("a sink, with a register method", (value) => hasMethods(value, ["register"])),
  /** A registry as in {@link Registry}; the path names the method that is missing. */
  registry: (value: unknown, path: string): void => {
    if (!isObject(value)) throw new InvalidOptionError(path, "a registry, such as memoryRegistry()", value);
    for (const method of ["instancer", "registrar", "close"]) {
      is.function(Reflect.get(value, method), `${path}.${method}`);
    }
  },
  /** Who finds a service, as in {@link Instancer}. */
  instancer: check('an instancer, such as registry.instancer("lorem")', (value) => hasMethods(value, ["subscribe"])),
  /** Who keeps the clients, as in {@link Endpointer}. */
  endpointer: check(
    "an endpointer, with a list of endpoints",
    (value) => isObject(value) && Array.isArray(Reflect.get(value, "endpoints")),
  ),
  /** Who chooses endpoints, as in {@link Balancer}. */
  balancer: check("a balancer, with a pick method", (value) => hasMethods(value, ["pick"])),
  /** A policy as in {@link Policy}. */
  policy: check("a policy, such as roundRobin()", (value) => hasMethods(value, ["create"])),
  /** A retry budget as in {@link RetryBudget}, or none. */
  budget: check("a retry budget or false", (value) => value === false || hasMethods(value, ["deposit", "withdraw"])),
  /** An environment as in {@link Env}, whole or in part. */
  env: check(
    "an object with now, random and after functions",
    (value) =>
      isObject(value) &&
      ["now", "random", "after"].every((name) => {
        const member: unknown = Reflect.get(value, name);
        return member === undefined || typeof member === "function";
      }),
  ),
  shape:
    (checks: Readonly<Record<string, Check>>): Check =>
    (value, path) =>
      checkOptions(path, value, checks),
} as const;

/** Checks made by `required`, which `undefined` must not pass. */
const REQUIRED = new WeakSet<Check>();

/** Makes a check that also refuses `undefined`. */
export function required(inner: Check): Check {
  const wrapped: Check = (value, path) => inner(value, path);
  REQUIRED.add(wrapped);
  return wrapped;
}

/**
 * Checks an options object as a user gave it: it must be an object, have no key that is not in `checks`, and pass each
 * check (an option that is `undefined` counts as left out). `path` names the object in messages: `retry`, or `""`.
 * Throws {@link InvalidOptionError} for the first thing that is wrong; never changes the object.
 */
export function checkOptions(path: string, value: unknown, checks: Readonly<Record<string, Check>>): void {
  if (!isObject(value)) throw new InvalidOptionError(path === "" ? "options" : path, "an object", value);
  const at = (key: string): string => (path === "" ? key : `${path}.${key}`);
  for (const key of Object.keys(value)) {
    if (!Object.hasOwn(checks, key)) {
      throw new InvalidOptionError(
        at(key),
        `one of the known options (${Object.keys(checks).join(", ")})`,
        Reflect.get(value, key),
      );
    }
  }
  for (const [key, test] of Object.entries(checks)) {
    const option: unknown = Reflect.get(value, key);
    if (option !== undefined || REQUIRED.has(test)) test(option, at(key));
  }
}

function hasMethods(value: unknown, names: readonly string[]): boolean {
  return isObject(value) && names.every((name) => typeof Reflect.get(value, name) === "function");
}

function between(value: unknown, min: number, max: number): boolean {
  return typeof value === "number" && value >= min && value <= max;
}

function isHttpUrl(value: unknown): boolean {
  if (value instanceof URL) return value.protocol === "http:" || value.protocol === "https:";
  return typeof value === "string" && /^https?:\/\//i.test(value) && URL.canParse(value);
}
