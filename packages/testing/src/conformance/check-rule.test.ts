import assert from "node:assert/strict";
import { memoryRegistry } from "@rollcall/core";
import { afterEach, describe, expect, it, vi } from "vitest";
import { checkRule, ruleTimeoutMs } from "./check-rule.ts";
import { recordHarness } from "./fakes/record-harness.ts";
import { conformanceReport } from "./report.ts";
import type { Rule } from "./rule.ts";

const rule = (run: Rule["run"]): Rule => ({ number: 9, title: "holds", uses: [], run });

describe("checking one rule", () => {
  afterEach(() => void vi.useRealTimers());

  it("tells whether it is kept, and if not, why", async () => {
    expect(
      await checkRule(
        rule(async () => undefined),
        recordHarness("records"),
      ),
    ).toMatchObject({ verdict: "kept" });
    const error = new Error("it is not");
    const broken = await checkRule(
      rule(async () => assert.fail(error)),
      recordHarness("records"),
    );
    expect(broken).toMatchObject({ number: 9, title: "holds", verdict: "broken", error });
  });

  it("does not run what is declared impossible", async () => {
    const harness = recordHarness("records");
    const declared = { ...harness, capabilities: { ...harness.capabilities, 9: "no: it never fails" } } as const;
    const result = await checkRule(
      rule(async () => assert.fail("it ran")),
      declared,
    );
    expect(result).toMatchObject({ verdict: "declared", declared: [{ reason: "no: it never fails" }] });
  });

  it("ends a rule that hangs, and names its last step", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const harness = recordHarness("records");
    const checking = checkRule(
      rule(async (context) => {
        context.begin("waiting for nothing");
        await new Promise(() => undefined);
      }),
      harness,
    );
    await vi.advanceTimersByTimeAsync(ruleTimeoutMs(harness));
    const { verdict, error } = await checking;
    expect(verdict).toBe("broken");
    expect(String(error)).toMatch(/rule 9 \(holds\), last begun: waiting for nothing, of records timed out/);
  });

  it("starts the server and closes the registries again, whatever became of the rule", async () => {
    const harness = recordHarness("records");
    const before = harness.handles();
    let started = 0;
    const start = async (): Promise<void> => {
      started++;
      await harness.faults.start();
    };
    const result = await checkRule(
      rule(async (context) => {
        const service = context.service();
        await context.announce(context.instance(service, "a"));
        await context.follow(service);
        await context.hurt(harness.faults.kill);
        assert.fail("here");
      }),
      { ...harness, faults: { ...harness.faults, start } },
    );
    expect(result.verdict).toBe("broken");
    expect(started).toBe(1);
    await vi.waitFor(() => expect(harness.handles()).toBe(before));
  });

  it("gives every run other services, and no name that another one begins with", async () => {
    const names: string[] = [];
    const naming = rule(async (context) => {
      for (let n = 0; n < 12; n++) names.push(context.service());
    });
    await checkRule(naming, recordHarness("records"));
    await checkRule(naming, recordHarness("records"));
    for (const name of names) expect(names.filter((other) => other.startsWith(name))).toEqual([name]);
  });

  it("counts a registry that cannot be opened as a broken rule", async () => {
    const harness = { ...recordHarness("records"), open: () => Promise.reject(new Error("no such host")) };
    const result = await checkRule(
      rule(async (context) => void (await context.open())),
      harness,
    );
    expect(String(result.error)).toContain("no such host");
  });
});

describe("the report", () => {
  it("is a table with a line for each rule, and the reasons in it", async () => {
    const harness = recordHarness("records");
    const kept = await checkRule(
      rule(async () => undefined),
      harness,
    );
    const broken = await checkRule(
      rule(() => assert.fail("a | b\nc")),
      { ...harness, open: memoryRegistry },
    );
    const declared = await checkRule(
      rule(async () => undefined),
      {
        ...harness,
        capabilities: { ...harness.capabilities, 9: "no: never" },
      },
    );
    const lines = conformanceReport([kept, broken, declared]).split("\n");
    expect(lines).toHaveLength(5);
    expect(lines[2]).toMatch(/^\| 9 \| holds \| kept \| 0\.\d s \|  \|$/);
    expect(lines[3]).toMatch(/^\| 9 \| holds \| broken \| 0\.\d s \| a \\\| b c \|$/);
    expect(lines[4]).toMatch(/^\| 9 \| holds \| declared \| 0\.0 s \| no: never \|$/);
  });
});
