import { checkOptions, is, required } from "@rollcall/core";
import { type PolicyHarness, policyRules } from "./rules.ts";

/** The two functions of a test runner that the suite needs: those of vitest, of `node:test`, of jest. */
export interface PolicyRunner {
  describe(name: string, body: () => void): unknown;
  it(title: string, body: () => void): unknown;
}

/**
 * Turns the rules that every policy keeps into tests of the given runner. The policy plays through a real balancer on a
 * manual clock; the whole takes a second or two.
 *
 * @throws InvalidOptionError for a harness that leaves something out.
 *
 * ```ts
 * import { describe, it } from "node:test";
 * import { leastRequest } from "@rollcall/core";
 * import { describePolicy } from "@rollcall/testing";
 * describePolicy({ name: "leastRequest()", policy: () => leastRequest() }, { describe, it });
 * ```
 */
export function describePolicy(harness: PolicyHarness, runner: PolicyRunner): void {
  checkOptions("", harness, {
    name: required(is.nonEmptyString),
    policy: required(is.function),
    usesAll: is.boolean,
  });
  runner.describe(`the policy ${harness.name}`, () => {
    for (const rule of policyRules) runner.it(rule.title, () => rule.run(harness));
  });
}
