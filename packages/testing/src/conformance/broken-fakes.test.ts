import { describe, expect, it, vi } from "vitest";
import { brokenFakes } from "./broken-fakes.ts";
import { checkRule } from "./check-rule.ts";
import { recordHarness } from "./fakes/record-harness.ts";
import type { Harness } from "./harness.ts";
import { rules } from "./rules.ts";

// They mostly wait.
vi.setConfig({ maxConcurrency: 7 });

/** Runs all rules side by side, each on a server of its own, and tells which were broken and how. */
async function brokenRules(harness: () => Harness): Promise<ReadonlyMap<number, string>> {
  const results = await Promise.all(rules.map((rule) => checkRule(rule, harness())));
  return new Map(
    results.filter(({ verdict }) => verdict !== "kept").map(({ number, error }) => [number, String(error)]),
  );
}

describe.concurrent("the rules, checked by backends that break them", () => {
  it("are all kept by the backend that the fakes are made of", { timeout: 60_000 }, async () => {
    expect(await brokenRules(() => recordHarness("records"))).toEqual(new Map());
  });

  for (const { breaks, fault, harness } of brokenFakes) {
    it(`break at ${breaks}, and only there, for a backend that ${fault}`, { timeout: 60_000 }, async () => {
      const broken = await brokenRules(harness);
      expect([...broken.keys()], [...broken.values()].join("\n")).toEqual([breaks]);
    });
  }

  it("each have a fake", () => {
    expect([...new Set(brokenFakes.map(({ breaks }) => breaks))]).toEqual(rules.map(({ number }) => number));
  });
});
