import type { RuleContext } from "./rule-context.ts";
import { type Harness, isNo, type No, type RuleNumber } from "./harness.ts";

/** A part of a rule that needs something which not every registry can. */
export interface Ability {
  /** In the title of the test that says why it is missing: `a hung registry`. */
  readonly title: string;
  /** What the harness says about it. */
  of(harness: Harness): unknown;
}

/** One rule that every backend keeps. Runner-agnostic: `run` resolves if it is kept and rejects if it is broken. */
export interface Rule {
  readonly number: RuleNumber;
  readonly title: string;
  /** What parts of the rule need; without one of them the rest is checked all the same. */
  readonly uses: readonly Ability[];
  run(context: RuleContext): Promise<void>;
}

/** The vocabulary of {@link Rule.uses}. */
export const abilities = {
  hang: { title: "a registry that hangs", of: (harness) => harness.faults.hang },
  wipe: { title: "a registry that loses its data", of: (harness) => harness.faults.wipe },
  loseWatch: { title: "a watch that is lost while the data stay", of: (harness) => harness.faults.loseWatch },
  forget: { title: "a registry that drops one living record", of: (harness) => harness.faults.forget },
  seed: { title: "records of another tool", of: (harness) => harness.seed },
  duplicates: { title: "two records with one id", of: (harness) => harness.capabilities.holdsDuplicates },
  refuse: { title: "a registration that the registry refuses", of: (harness) => harness.openRefused },
  remember: { title: "records that survive a restart", of: (harness) => harness.capabilities.remembersAfterRestart },
} as const satisfies Readonly<Record<string, Ability>>;

/** The declared reasons why a rule, or parts of it, are not checked, each with what it is about. */
export function declaredNos(rule: Rule, harness: Harness): readonly { readonly part?: string; readonly reason: No }[] {
  const whole = harness.capabilities[rule.number];
  if (whole !== undefined) return [{ reason: whole }];
  return rule.uses.flatMap((ability) => {
    const answer = ability.of(harness);
    return isNo(answer) ? [{ part: ability.title, reason: answer }] : [];
  });
}
