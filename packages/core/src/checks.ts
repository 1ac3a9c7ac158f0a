// The vocabulary of `checkOptions`, as the members of `is`: a module, and not an object, so that a bundle takes only those
// that it needs.
import { type Check, checkOptions, checkThat, isRecord } from "./check-options.ts";
import { InvalidOptionError } from "./errors.ts";

/** No scheme, path, user or white space; brackets only around a whole address. */
const HOST = /^(?:[^\s/\\@?#[\]]+|\[[0-9a-fA-F:.%\w]+\])$/;

const isString = /* @__PURE__ */ checkThat("a string", (value) => typeof value === "string");
const isBoolean = /* @__PURE__ */ checkThat("true or false", (value) => typeof value === "boolean");
const isFunction = /* @__PURE__ */ checkThat("a function", (value) => typeof value === "function");
const isObject = /* @__PURE__ */ checkThat("an object", isRecord);

export const nonEmptyString = /* @__PURE__ */ checkThat(
  "a non-empty string",
  (value) => typeof value === "string" && value.trim() !== "",
);

export const array = /* @__PURE__ */ checkThat("an array", (value) => Array.isArray(value));

export const strings = /* @__PURE__ */ checkThat(
  "an array of strings",
  // Array.from: `every` alone skips the holes of a sparse array.
  (value) => Array.isArray(value) && Array.from(value).every((entry) => typeof entry === "string"),
);

/** Milliseconds: finite or `Infinity`, never negative. */
export const durationMs = /* @__PURE__ */ checkThat(
  "a number of milliseconds >= 0",
  (value) => typeof value === "number" && value >= 0,
);

export const port = /* @__PURE__ */ checkThat(
  "an integer from 1 to 65535",
  (value) => Number.isInteger(value) && between(value, 1, 65_535),
);

export const url = /* @__PURE__ */ checkThat("an absolute http:// or https:// URL", isHttpUrl);

/** A certificate or a key by its contents, as `node:tls` takes it: a name of a file would fail only when connecting. */
export const pem = /* @__PURE__ */ checkThat(
  "a PEM text or a Buffer, not the name of a file",
  (value) => value instanceof Uint8Array || (typeof value === "string" && value.includes("-----BEGIN ")),
);

/** A host name or an IP address as it stands in an authority: without scheme, port, path and user. */
export function host(value: unknown, path: string): void {
  if (typeof value !== "string" || !HOST.test(value)) {
    throw new InvalidOptionError(path, "a host name or an IP address", value);
  }
  // "name:80" is a host with its port; only IPv6 addresses have colons, and they have at least two.
  if (!value.startsWith("[") && value.split(":").length === 2) {
    throw new InvalidOptionError(path, "a host without a port", value);
  }
}

function isNumber(min: number, max = Infinity): Check {
  return checkThat(max === Infinity ? `a number >= ${min}` : `a number from ${min} to ${max}`, (value) =>
    between(value, min, max),
  );
}

export function oneOf(...values: readonly unknown[]): Check {
  return checkThat(values.map(String).join(" | "), (value) => values.includes(value));
}

/** The read half of a registry, as in {@link Source}. */
export const source = /* @__PURE__ */ checkThat("a source, with a watch method", (value) =>
  hasMethods(value, ["watch"]),
);

/** The write half of a registry, as in {@link Sink}. */
export const sink = /* @__PURE__ */ checkThat("a sink, with a register method", (value) =>
  hasMethods(value, ["register"]),
);

/** A registry as in {@link Registry}; the path names the method that is missing. */
export function registry(value: unknown, path: string): void {
  if (!isRecord(value)) throw new InvalidOptionError(path, "a registry, such as memoryRegistry()", value);
  for (const method of ["instancer", "registrar", "close"]) isFunction(Reflect.get(value, method), `${path}.${method}`);
}

/** Who finds a service, as in {@link Instancer}. */
export const instancer = /* @__PURE__ */ checkThat('an instancer, such as registry.instancer("lorem")', (value) =>
  hasMethods(value, ["subscribe"]),
);

/** Who keeps the clients, as in {@link Endpointer}. */
export const endpointer = /* @__PURE__ */ checkThat(
  "an endpointer, with a list of endpoints",
  (value) => isRecord(value) && Array.isArray(Reflect.get(value, "endpoints")),
);

/** Who chooses endpoints, as in {@link Balancer}. */
export const balancer = /* @__PURE__ */ checkThat("a balancer, with a pick method", (value) =>
  hasMethods(value, ["pick"]),
);

/** A policy as in {@link Policy}. */
export const policy = /* @__PURE__ */ checkThat("a policy, such as roundRobin()", (value) =>
  hasMethods(value, ["create"]),
);

/** A retry budget as in {@link RetryBudget}, or none. */
export const budget = /* @__PURE__ */ checkThat(
  "a retry budget or false",
  (value) => value === false || hasMethods(value, ["deposit", "withdraw"]),
);

/** An environment as in {@link Env}, whole or in part. */
export const env = /* @__PURE__ */ checkThat(
  "an object with now, random and after functions",
  (value) =>
    isRecord(value) &&
    ["now", "random", "after"].every((name) => {
      const member: unknown = Reflect.get(value, name);
      return member === undefined || typeof member === "function";
    }),
);

export function shape(checks: Readonly<Record<string, Check>>): Check {
  return (value, path) => checkOptions(path, value, checks);
}

export { isBoolean as boolean, isFunction as function, isNumber as number, isObject as object, isString as string };

function hasMethods(value: unknown, names: readonly string[]): boolean {
  return isRecord(value) && names.every((name) => typeof Reflect.get(value, name) === "function");
}

function between(value: unknown, min: number, max: number): boolean {
  return typeof value === "number" && value >= min && value <= max;
}

function isHttpUrl(value: unknown): boolean {
  if (value instanceof URL) return value.protocol === "http:" || value.protocol === "https:";
  return typeof value === "string" && /^https?:\/\//i.test(value) && URL.canParse(value);
}
