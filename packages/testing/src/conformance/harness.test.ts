import { InvalidOptionError } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { recordHarness } from "./fakes/record-harness.ts";
import { checkHarness } from "./harness.ts";

/** What the check says of a harness that differs from a good one in this. */
function complaint(changes: object): string | undefined {
  const { faults, capabilities, ...rest } = recordHarness("records");
  const merged = { ...rest, faults, capabilities, ...changes };
  try {
    checkHarness(merged);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidOptionError);
    return (error as InvalidOptionError).path;
  }
}

const { faults, capabilities } = recordHarness("records");

describe("a harness", () => {
  it("is accepted when every ability is there", () => {
    expect(complaint({})).toBeUndefined();
  });

  it("is accepted when a missing ability has its reason", () => {
    const no = "no: nobody could";
    expect(complaint({ seed: no, openRefused: no })).toBeUndefined();
    expect(complaint({ faults: { ...faults, hang: no, wipe: no, loseWatch: no, forget: no } })).toBeUndefined();
    expect(complaint({ capabilities: { remembersAfterRestart: no, holdsDuplicates: no, 9: no } })).toBeUndefined();
  });

  it.each([
    ["an ability that is left out", { seed: undefined }, "seed"],
    ["a fault that is left out", { faults: { ...faults, wipe: undefined } }, "faults.wipe"],
    ["a no without a reason", { seed: "no" }, "seed"],
    ["an empty reason", { seed: "no: " }, "seed"],
    [
      "a false instead of a reason",
      { capabilities: { ...capabilities, holdsDuplicates: false } },
      "capabilities.holdsDuplicates",
    ],
    ["a rule that is switched off without a reason", { capabilities: { ...capabilities, 9: "off" } }, "capabilities.9"],
    ["a rule that there is none of", { capabilities: { ...capabilities, 20: "no: x" } }, "capabilities.20"],
    ["a registry that cannot be killed or started", { faults: { ...faults, kill: "no: too dear" } }, "faults.kill"],
    ["an unknown key", { skip: [9] }, "skip"],
    ["a settle time of nothing", { settleMs: 0 }, "settleMs"],
  ])("is refused for %s", (_, changes, path) => {
    expect(complaint(changes)).toBe(path);
  });
});
