// ---- for authors of backends

export type { Capabilities, Faults, Harness, No, RecordName, RuleNumber } from "./harness.ts";
export { describeBackend, type Runner } from "./describe-backend.ts";
export { checkRule, type RuleResult } from "./check-rule.ts";
export { checkBackend, conformanceReport } from "./report.ts";
export { countedEnv, type CountedEnv } from "./counted-env.ts";
export { fastEnv } from "./fast-env.ts";

// ---- for who wants to look inside, or to add rules of his own

export { rules } from "./rules.ts";
export { type Ability, abilities, type Rule } from "./rule.ts";
export type { RuleContext } from "./rule-context.ts";
export { type Follower, follow } from "./follower.ts";
