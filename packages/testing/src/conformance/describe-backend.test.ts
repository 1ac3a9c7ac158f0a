import { describe, expect, it } from "vitest";
import { describeBackend } from "./describe-backend.ts";
import { recordHarness } from "./fakes/record-harness.ts";
import type { Harness } from "./harness.ts";
import { rules } from "./rules.ts";

/** What a runner is told. */
function testsOf(harness: Harness): { readonly suites: string[]; readonly tests: Map<string, () => Promise<void>> } {
  const suites: string[] = [];
  const tests = new Map<string, () => Promise<void>>();
  describeBackend(harness, {
    describe(name, body) {
      suites.push(name);
      body();
    },
    it: (title, { timeout }, body) => {
      expect(timeout).toBeGreaterThan(30_000);
      tests.set(title, body);
    },
  });
  return { suites, tests };
}

const harness = recordHarness("records");
const no = "no: it cannot be done";

describe("describing a backend", () => {
  it("makes a test of each rule", () => {
    const { suites, tests } = testsOf(harness);
    expect(suites).toEqual(["conformance of records"]);
    expect([...tests.keys()]).toEqual(rules.map(({ number, title }) => `${number} ${title}`));
  });

  it("makes a test of each reason: for a part of a rule beside the rest of it, for a whole rule in its place", () => {
    const { tests } = testsOf({
      ...harness,
      openRefused: no,
      capabilities: { ...harness.capabilities, 12: no },
    });
    const titles = [...tests.keys()].filter((title) => /^(12|16) /.test(title));
    expect(titles).toEqual([
      `12 leaves no handle open: not checked (${no})`,
      "16 tells its caller of a rejection",
      `16 tells its caller of a rejection: not checked with a registration that the registry refuses (${no})`,
    ]);
    expect(tests.size).toBe(rules.length + 1);
  });

  it("refuses a harness that leaves something out before there is any test", () => {
    const { seed: _, ...rest } = harness;
    expect(() => testsOf(rest as Harness)).toThrow(/seed/);
  });

  it("makes tests that fail with what is broken, and pass if nothing is", async () => {
    const deaf = { ...harness, open: () => Promise.reject(new Error("no such host")) };
    const title = "15 shows at once what it accepted";
    await expect(testsOf(deaf).tests.get(title)?.()).rejects.toThrow("no such host");
    await expect(testsOf(harness).tests.get(title)?.()).resolves.toBeUndefined();
  });
});
