import { InvalidOptionError } from "./errors.ts";

/** Throws {@link InvalidOptionError} if `value`, found at `path`, is not what it should be. */
export type Check = (value: unknown, path: string) => void;

/** Makes a check of a test; `expected` says in words what passes it. */
export function checkThat(expected: string, test: (value: unknown) => boolean): Check {
  return (value, path) => {
    if (!test(value)) throw new InvalidOptionError(path, expected, value);
  };
}

/** Checks made by `required`, which `undefined` must not pass. */
const REQUIRED = new WeakSet<Check>();

/** Makes a check that also refuses `undefined`. */
export function required(inner: Check): Check {
  const wrapped: Check = (value, path) => inner(value, path);
  REQUIRED.add(wrapped);
  return wrapped;
}

/** Makes a check for lists that are not empty, each entry of which passes `inner`; `what` names one of them. */
export function listOf(what: string, inner: Check): Check {
  return (value, path) => {
    if (!Array.isArray(value) || value.length === 0) throw new InvalidOptionError(path, `at least one ${what}`, value);
    const entries: readonly unknown[] = value;
    for (const [index, entry] of entries.entries()) inner(entry, `${path}.${index}`);
  };
}

/**
 * For two options of which each needs the other; `path` as in {@link checkOptions}.
 *
 * @throws InvalidOptionError that names the one that is missing.
 */
export function checkPair(path: string, options: object, one: string, two: string): void {
  const [missing, ...others] = [one, two].filter((key) => Reflect.get(options, key) === undefined);
  if (missing === undefined || others.length > 0) return;
  throw new InvalidOptionError(
    path === "" ? missing : `${path}.${missing}`,
    `both or none of ${one} and ${two}`,
    undefined,
  );
}

/**
 * Checks an options object as a user gave it: it must be an object, have no key that is not in `checks`, and pass each
 * check (an option that is `undefined` counts as left out). `path` names the object in messages: `retry`, or `""`.
 * Throws {@link InvalidOptionError} for the first thing that is wrong; never changes the object.
 */
export function checkOptions(path: string, value: unknown, checks: Readonly<Record<string, Check>>): void {
  if (!isRecord(value)) throw new InvalidOptionError(path === "" ? "options" : path, "an object", value);
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
  for (const key of Object.keys(checks)) {
    const test = checks[key] as Check;
    const option: unknown = Reflect.get(value, key);
    if (option !== undefined || REQUIRED.has(test)) test(option, at(key));
  }
}

/** Whether it is an object with named members. */
export function isRecord(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
