import { checkRule, ruleTimeoutMs } from "./check-rule.ts";
import { checkHarness, type Harness } from "./harness.ts";
import { declaredNos } from "./rule.ts";
import { rules } from "./rules.ts";

/** The two functions of a test runner that the kit needs: those of vitest, of `node:test`, of jest. */
export interface Runner {
  describe(name: string, body: () => void): unknown;
  it(title: string, options: { readonly timeout: number }, body: () => Promise<void>): unknown;
}

/**
 * Turns the rules into tests of the given runner: one for each rule, and one for each part of a rule that the harness
 * declares impossible, with the declared reason in its title. They run one after another, since they break the server.
 *
 * @throws InvalidOptionError for a harness that leaves something out, before there is any test.
 *
 * ```ts
 * import { describe, it } from "node:test";
 * import { describeBackend, type Harness } from "@rollcall/testing/conformance";
 * declare const harness: Harness;
 * describeBackend(harness, { describe, it });
 * ```
 */
export function describeBackend(harness: Harness, runner: Runner): void {
  checkHarness(harness);
  // Room for the end of the rule: its own time-out has the better message.
  const timeout = ruleTimeoutMs(harness) + 20_000;
  runner.describe(`conformance of ${harness.name}`, () => {
    for (const rule of rules) {
      const whole = harness.capabilities[rule.number] !== undefined;
      if (!whole) {
        runner.it(`${rule.number} ${rule.title}`, { timeout }, async () => {
          const { error, verdict } = await checkRule(rule, harness);
          if (verdict === "broken") throw error;
        });
      }
      for (const { part, reason } of declaredNos(rule, harness)) {
        const what = part === undefined ? "not checked" : `not checked with ${part}`;
        // Nothing to run: it stands there to be read.
        runner.it(`${rule.number} ${rule.title}: ${what} (${reason})`, { timeout }, async () => undefined);
      }
    }
  });
}
