import { parseArgs } from "node:util";

/** The command line, or the environment, says something that cannot work. The message is one line for a human. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** One setting: `--name value`, or an environment variable, or its default. */
export interface Setting {
  /** The variable that is read when the option is not given. */
  readonly env: string;
  /** When neither is given. Without it, the setting may be absent. */
  readonly default?: string;
  /** One line, for `--help`. */
  readonly help: string;
}

/** The values found, and whether `--help` was among the options. */
export type Settings<K extends string> = { readonly [key in K]: string | undefined } & { readonly help: boolean };

/**
 * Reads settings: an option wins over its environment variable, which wins over its default. An empty value counts as
 * not given, which is what an unset variable becomes in a compose file.
 *
 * @throws UsageError for an option that does not exist, one without its value, and arguments that are no options.
 */
export function readSettings<K extends string>(
  settings: Readonly<Record<K, Setting>>,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Settings<K> {
  const names = Object.keys(settings) as K[];
  const options = Object.fromEntries(names.map((name) => [name, { type: "string" as const }]));
  try {
    const parsed = parseArgs({ args: [...args], options: { ...options, help: { type: "boolean" } } });
    const values: Readonly<Record<string, unknown>> = parsed.values;
    const given = (name: K): string | undefined => {
      const { env: variable, default: fallback } = settings[name];
      const value = values[name];
      return (typeof value === "string" && value) || env[variable] || fallback;
    };
    const read = Object.fromEntries(names.map((name) => [name, given(name)])) as Record<K, string | undefined>;
    return { ...read, help: values["help"] === true };
  } catch (error) {
    // Its messages are good, but some go on to explain how to write positional arguments.
    const [message = ""] = error instanceof Error ? error.message.split(/\. /) : [];
    throw new UsageError(message.trim(), { cause: error });
  }
}

/** What `--help` prints. */
export function usage(name: string, what: string, settings: Readonly<Record<string, Setting>>): string {
  const lines = Object.entries(settings).map(([option, { env, default: fallback, help }]) => {
    const value = fallback === undefined ? "" : `, default ${fallback}`;
    return `  --${option.padEnd(16)} ${help} (${env}${value})`;
  });
  return [`${name}: ${what}`, "", ...lines].join("\n");
}

/** A whole number within bounds, or {@link UsageError}. */
export function integer(name: string, text: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(`--${name} must be a whole number from ${min} to ${max}, not "${text}"`);
}

/** One of the words, or {@link UsageError}. */
export function oneOf<T extends string>(name: string, text: string, words: readonly T[]): T {
  const found = words.find((word) => word === text);
  if (found !== undefined) return found;
  throw new UsageError(`--${name} must be ${words.join(" or ")}, not "${text}"`);
}
