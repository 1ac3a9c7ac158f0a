import { parseArgs } from "node:util";
import { messageOf } from "@rollcall/core";
import { backendNamed, backends } from "../chaos/backends.ts";
import { dns } from "../chaos/dns.ts";
import { FRAMEWORKS, frameworkNamed } from "./framework.ts";
import { LONG, type Pace, SHORT } from "./pace.ts";
import type { Performance } from "./perform.ts";
import { plays } from "./plays.ts";

/** What the suite can be told. */
export interface RolloutOptions {
  readonly performances: readonly Performance[];
  readonly pace: Pace;
  /** Everything, in full: the table may go into the documentation. */
  readonly whole: boolean;
}

/** Nobody announces a server to DNS: whose deploy it would be is Consul's, which is played. */
const registries = backends.filter((each) => each !== dns);

const USAGE = `npm run rollout -- [--backend name]… [--framework name]… [--only play]… [--short] [--list]

  --backend    ${registries.map(({ name }) => name).join(" or ")}; default: all of them
  --framework  ${FRAMEWORKS.join(", ")}; default: all of them
  --only       a play, by its name; may be given more than once
  --short      fewer servers, each restarted once, with short drains and streams; the registries take turns: two to three
               minutes
  --list       says which plays there are

The whole suite (no option) takes about 45 minutes and writes its table into docs/deploys.md.`;

/** Reads the command line. For `--help` and `--list`, and for a mistake, it prints and returns the exit code. */
export function readOptions(args: readonly string[]): RolloutOptions | number {
  try {
    const many = { type: "string", multiple: true } as const;
    const flag = { type: "boolean", default: false } as const;
    const { values } = parseArgs({
      args: [...args],
      options: { backend: many, framework: many, only: many, short: flag, list: flag, help: flag },
    });
    if (values.help || values.list) {
      const list = plays.map(
        ({ name, title, way, frameworks }) => `${name.padEnd(12)} ${title} (${way}; ${frameworks.join(", ")})`,
      );
      process.stdout.write(`${values.help ? USAGE : list.join("\n")}\n`);
      return 0;
    }
    const { short, only, backend, framework } = values;
    const onBackends = backend?.map((name) => backendNamed(name, registries)) ?? registries;
    const withFrameworks = framework?.map(frameworkNamed) ?? FRAMEWORKS;
    const chosen = only?.map(playNamed) ?? plays.filter(({ long }) => !short || long !== true);
    const all = chosen.flatMap((play) =>
      play.frameworks
        .filter((each) => withFrameworks.includes(each))
        .map((each) => onBackends.map((on): Performance => ({ play, backend: on, framework: each }))),
    );
    return {
      // Short: the registries take turns.
      performances: short ? all.flatMap((each, turn) => each.slice(turn % each.length).slice(0, 1)) : all.flat(),
      pace: short ? SHORT : LONG,
      whole: !short && only === undefined && backend === undefined && framework === undefined,
    };
  } catch (error) {
    process.stderr.write(`rollout: ${messageOf(error)} (--help shows what there is)\n`);
    return 2;
  }
}

function playNamed(name: string): (typeof plays)[number] {
  const found = plays.find((play) => play.name === name);
  if (found === undefined) throw new Error(`no play is called "${name}": --list shows them`);
  return found;
}
