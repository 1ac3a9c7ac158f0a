import { parseArgs } from "node:util";
import { messageOf } from "@rollcall/core";
import { type Scenario, scenarios } from "@rollcall/simulation";
import { HEDGED, type Subject, subjects } from "./subjects.ts";

/** What the simulation can be told. */
export interface Options {
  readonly scenarios: readonly Scenario[];
  readonly subjects: readonly Subject[];
  readonly seeds: readonly number[];
  /** Whether the documents are to be written: not after a part of it all. */
  readonly writes: boolean;
}

const USAGE = `npm run simulate -- [--scenario text] [--policy text] [--seeds n] [--all] [--quick]

  --scenario  only scenarios whose name contains this; may be given several times
  --policy    only policies whose name contains this; may be given several times
  --seeds     how often each is played; default 3
  --all       also the other loads, and the hundred servers
  --quick     once each

Without --scenario, --policy, --seeds, --all and --quick it writes the table into docs/policies.md and the curves into docs/simulation.`;

const { ten, hundred, queueing, buoyant, twoSlowOfFour, churn } = scenarios;
const ALL: readonly Scenario[] = [...ten, ...hundred, ...Object.values(queueing), buoyant, twoSlowOfFour, churn];
const USUAL = ALL.filter((scenario) => !hundred.includes(scenario) && !/ (70|95) %$/.test(scenario.name));

/** Reads the command line. Prints the usage for `--help`, or one line for a mistake: then the exit code is returned. */
export function readOptions(args: readonly string[]): Options | number {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        scenario: { type: "string", multiple: true },
        policy: { type: "string", multiple: true },
        seeds: { type: "string" },
        all: { type: "boolean", default: false },
        quick: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      process.stdout.write(`${USAGE}\n`);
      return 0;
    }
    const { scenario, policy, all, quick } = values;
    return {
      scenarios: scenario === undefined && !all ? USUAL : named("scenario", ALL, scenario),
      subjects: policy === undefined ? subjects : named("policy", [...subjects, HEDGED], policy),
      seeds: Array.from({ length: quick ? 1 : seedsOf(values.seeds) }, (_, n) => n + 1),
      writes: !quick && !all && [scenario, policy, values.seeds].every((value) => value === undefined),
    };
  } catch (error) {
    process.stderr.write(`simulate: ${messageOf(error)} (--help shows what there is)\n`);
    return 2;
  }
}

function named<T extends { readonly name: string }>(
  what: string,
  all: readonly T[],
  parts: string[] | undefined,
): readonly T[] {
  if (parts === undefined) return all;
  const found = all.filter(({ name }) => parts.some((part) => name.toLowerCase().includes(part.toLowerCase())));
  if (found.length > 0) return found;
  throw new Error(`no ${what} is named like ${parts.join(", ")}; there are: ${all.map(({ name }) => name).join("; ")}`);
}

function seedsOf(text = "3"): number {
  const seeds = Number(text);
  if (Number.isInteger(seeds) && seeds >= 1) return seeds;
  throw new Error(`"${text}" is no number of seeds`);
}
