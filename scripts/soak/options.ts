import { parseArgs } from "node:util";
import { messageOf } from "@rollcall/core";
import type { Backend } from "../chaos/backend.ts";
import { backendNamed, backends } from "../chaos/backends.ts";

/** What the soak can be told. */
export interface SoakOptions {
  readonly backends: readonly Backend[];
  /** What goes on all the time: instances that come and go, or a network that does. */
  readonly kind: "change" | "flap";
  readonly forMs: number;
}

const USAGE = `npm run soak -- [--minutes n] [--flap duration] [--backend name]

  --minutes  how long instances come and go, one every 100 ms; default 20
  --flap     instead: how long the network flaps every 500 ms, as "10m" or "90s"
  --backend  ${backends.map(({ name }) => name).join(" or ")}; default: all of them, at the same time`;

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

/** Reads the command line. Prints the usage for `--help`, or one line for a mistake: then the exit code is returned. */
export function readOptions(args: readonly string[]): SoakOptions | number {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        backend: { type: "string", multiple: true },
        minutes: { type: "string" },
        flap: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      process.stdout.write(`${USAGE}\n`);
      return 0;
    }
    const { flap, minutes } = values;
    if (flap !== undefined && minutes !== undefined)
      throw new Error("--flap has its own duration: leave out --minutes");
    return {
      backends: values.backend?.map((name) => backendNamed(name)) ?? backends,
      kind: flap === undefined ? "change" : "flap",
      forMs: durationOf(flap ?? `${minutes ?? 20}m`),
    };
  } catch (error) {
    process.stderr.write(`soak: ${messageOf(error)} (--help shows what there is)\n`);
    return 2;
  }
}

function durationOf(text: string): number {
  const [, count, unit = ""] = /^(\d+(?:\.\d+)?)([smh])$/.exec(text) ?? [];
  const ms = Number(count) * (UNITS[unit] ?? NaN);
  if (ms > 0) return ms;
  throw new Error(`"${text}" is no duration: 90s, 10m and 1h are`);
}
