import { TimeoutError } from "@rollcall/core";
import { checkHarness, type Harness, type No } from "./harness.ts";
import { declaredNos, type Rule } from "./rule.ts";
import { openContext } from "./rule-context.ts";

/** What became of one rule. */
export interface RuleResult {
  readonly number: number;
  readonly title: string;
  /** `declared`: the harness says that its registry cannot keep the rule; it was not run. */
  readonly verdict: "kept" | "broken" | "declared";
  /** Why it is broken. */
  readonly error?: unknown;
  /** The declared reasons why the rule, or parts of it, were not checked. */
  readonly declared: readonly { readonly part?: string; readonly reason: No }[];
  readonly tookMs: number;
}

/** How long a rule may take at most: more than all of its waits together, so that it only ends what really hangs. */
export function ruleTimeoutMs(harness: Harness): number {
  return 30_000 + 40 * harness.settleMs + 8 * harness.expireMs + 2 * (harness.noticeMs ?? 0);
}

/**
 * Runs one rule, ends what it began, and says what came of it. Does not reject for a broken rule, nor for one that
 * hangs, which counts as broken; the error then names the step it hangs in.
 *
 * @throws InvalidOptionError for a harness that leaves something out.
 */
export async function checkRule(rule: Rule, harness: Harness): Promise<RuleResult> {
  checkHarness(harness);
  const { number, title } = rule;
  const declared = declaredNos(rule, harness);
  if (harness.capabilities[number] !== undefined) return { number, title, verdict: "declared", declared, tookMs: 0 };
  const startedMs = performance.now();
  const failure = await failureOf(rule, harness);
  const tookMs = performance.now() - startedMs;
  if (failure === undefined) return { number, title, verdict: "kept", declared, tookMs };
  return { number, title, verdict: "broken", error: failure.error, declared, tookMs };
}

async function failureOf(rule: Rule, harness: Harness): Promise<{ readonly error: unknown } | undefined> {
  const { context, end } = openContext(harness);
  const timeoutMs = ruleTimeoutMs(harness);
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const step = context.step === "" ? "" : `, last begun: ${context.step},`;
      reject(new TimeoutError(`rule ${rule.number} (${rule.title})${step} of ${harness.name}`, timeoutMs));
    }, timeoutMs);
  });
  let failure: { readonly error: unknown } | undefined;
  try {
    await Promise.race([rule.run(context), over]);
  } catch (error) {
    failure = { error };
  }
  clearTimeout(timer);
  try {
    await end();
  } catch (error) {
    failure ??= { error };
  }
  return failure;
}
