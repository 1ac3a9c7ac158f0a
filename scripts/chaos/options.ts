import { parseArgs } from "node:util";
import { messageOf } from "@rollcall/core";
import type { Backend } from "./backend.ts";
import { backendNamed, backends } from "./backends.ts";
import type { Row } from "./row.ts";
import { rows } from "./rows.ts";

/** What the suite can be told. */
export interface ChaosOptions {
  readonly backends: readonly Backend[];
  readonly rows: readonly Row[];
  readonly short: boolean;
  /** Everything, in full: the table may go into the documentation. */
  readonly whole: boolean;
}

const USAGE = `npm run chaos -- [--backend name] [--only row]… [--short] [--list]

  --backend  ${backends.map(({ name }) => name).join(" or ")}; default: all of them, at the same time
  --only     a row, by its name, or all that begin with it and a hyphen; may be given more than once
  --short    fewer rows, and shorter ones: about three minutes
  --list     says which rows there are

The whole suite (no option) takes about twenty minutes and writes its table into docs/reliability.md.`;

/** Reads the command line. For `--help` and `--list`, and for a mistake, it prints and returns the exit code. */
export function readOptions(args: readonly string[]): ChaosOptions | number {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        backend: { type: "string", multiple: true },
        only: { type: "string", multiple: true },
        short: { type: "boolean", default: false },
        list: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help || values.list) {
      const list = rows.map(({ name, title, short }) => `${name.padEnd(16)} ${title}${short ? " (short)" : ""}`);
      process.stdout.write(`${values.help ? USAGE : list.join("\n")}\n`);
      return 0;
    }
    const { only, backend, short } = values;
    return {
      backends: backend?.map((name) => backendNamed(name)) ?? backends,
      rows: only?.flatMap(rowsNamed) ?? rows.filter((row) => !short || row.short),
      short,
      whole: !short && only === undefined && backend === undefined,
    };
  } catch (error) {
    process.stderr.write(`chaos: ${messageOf(error)} (--help shows what there is)\n`);
    return 2;
  }
}

function rowsNamed(name: string): readonly Row[] {
  const exact = rows.filter((row) => row.name === name);
  const found = exact.length > 0 ? exact : rows.filter((row) => row.name.startsWith(`${name}-`));
  if (found.length === 0) throw new Error(`no row is called "${name}": --list shows them`);
  return found;
}
