import { isDiscoveryError, roundRobin } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { oracle } from "./oracle.ts";
import type { Scenario } from "./scenario.ts";
import { scenarios } from "./scenarios/scenarios.ts";
import { type SimulateOptions, simulate } from "./simulate.ts";

const GOOD: Scenario = { name: "good", servers: [{}], work: 1, load: { perSecond: 100 }, durationMs: 100 };

async function pathOf(scenario: unknown, options: unknown = { policy: roundRobin() }): Promise<unknown> {
  try {
    await simulate(scenario as Scenario, options as SimulateOptions);
    return undefined;
  } catch (error) {
    expect(isDiscoveryError(error, "INVALID_OPTION")).toBe(true);
    return Reflect.get(Object(error), "path");
  }
}

describe("a scenario", () => {
  it.each([
    ["name", { name: " " }],
    ["work", { work: 0 }],
    ["work.kind", { work: { kind: "pareto" } }],
    ["work.meanMs", { work: { kind: "exponential" } }],
    ["work.sigma", { work: { kind: "exponential", meanMs: 1, sigma: 1 } }],
    ["work.deviationMs", { work: { kind: "normal", meanMs: 1, deviationMs: 0 } }],
    ["load.perSecond", { load: {} }],
    ["load.perSecond", { load: { perSecond: 0 } }],
    ["load.perSecond", { load: { perSecond: 1, utilisation: 1 } }],
    ["load.utilisation", { load: { utilisation: Infinity } }],
    ["load.utilisation", { load: { utilisation: 0.5 }, servers: [{ workers: Infinity }] }],
    ["load.utilisation", { load: { utilisation: 0.5 }, servers: [{ joinsAtMs: 1 }] }],
    ["load.perSecond", { load: { perSecond: 1e300 } }],
    ["load.perSecond", { load: { perSecond: 1e9 }, durationMs: 1_000 }],
    ["load.utilisation", { load: { utilisation: 0.5 }, work: 1e-9, durationMs: 1_000 }],
    ["workAgain", { workAgain: "never" }],
    ["arrivals", { arrivals: "bursty" }],
    ["clients", { clients: 0 }],
    ["clients", { clients: 1e10 }],
    ["keys", { keys: 1.5 }],
    ["networkMs", { networkMs: -1 }],
    ["timeoutMs", { timeoutMs: Infinity }],
    ["targetMs", { targetMs: 0 }],
    ["abandoned", { abandoned: "kept" }],
    ["durationMs", { durationMs: undefined }],
    ["durationMs", { durationMs: 1e300, load: { perSecond: 1e-9 } }],
    ["warmupMs", { warmupMs: 100 }],
    ["servers", { servers: [] }],
    ["servers", { servers: {} }],
    ["servers[0].workers", { servers: [{ workers: 0 }] }],
    ["servers[0].workers", { servers: [{ workers: 1e12 }] }],
    ["servers[0].count", { servers: [{ count: 1e10 }] }],
    ["servers[1].queue", { servers: [{}, { queue: -1 }] }],
    ["servers[0].speed", { servers: [{ speed: 0 }] }],
    ["servers[0].reports", { servers: [{ reports: 1 }] }],
    ["servers[0].leavesAtMs", { servers: [{ joinsAtMs: 5, leavesAtMs: 5 }] }],
    ["servers[0].colour", { servers: [{ colour: "red" }] }],
    ["servers[0].faults", { servers: [{ faults: "slow" }] }],
    ["servers[0].faults[0].kind", { servers: [{ faults: [{ kind: "explode" }] }] }],
    ["servers[0].faults[0].rate", { servers: [{ faults: [{ kind: "fail", rate: 2 }] }] }],
    ["servers[0].faults[0].rate", { servers: [{ faults: [{ kind: "pause", rate: 1 }] }] }],
    ["servers[0].faults[1].toMs", { servers: [{ faults: [{ kind: "dead" }, { kind: "dead", fromMs: 9, toMs: 9 }] }] }],
    ["servers[0].faults[0].everyMs", { servers: [{ faults: [{ kind: "pause", toMs: 20, everyMs: 10 }] }] }],
    [
      "servers[0].faults[0].everyMs",
      { durationMs: 1e8, servers: [{ faults: [{ kind: "pause", toMs: 1, everyMs: 1 }] }] },
    ],
    ["servers[0].faults[0].work", { servers: [{ faults: [{ kind: "slow", work: -1 }] }] }],
    ["colour", { colour: "red" }],
  ])("is refused with the path of what is wrong: %s in %j", async (path, wrong) => {
    expect(await pathOf({ ...GOOD, ...wrong })).toBe(path);
  });

  it.each([
    ["policy", {}],
    ["policy", { policy: "round-robin" }],
    ["seed", { policy: roundRobin(), seed: 0.5 }],
    ["retry", { policy: roundRobin(), retry: true }],
    ["retry", { policy: oracle, retry: {} }],
    ["policy", { policy: () => undefined }],
    ["retry.maxAttempts", { policy: roundRobin(), retry: { maxAttempts: "3" } }],
    ["retry.hedge.ratio", { policy: roundRobin(), retry: { hedge: { ratio: 7 } } }],
    ["speed", { policy: roundRobin(), speed: 2 }],
  ])("is not played with wrong options: %s in %j", async (path, options) => {
    expect(await pathOf(GOOD, options)).toBe(path);
  });

  it("is plain data: those that come with it survive JSON, but for what is unlimited", () => {
    const all = [...scenarios.ten, ...scenarios.hundred, scenarios.twoSlowOfFour, scenarios.single, scenarios.outage];
    for (const scenario of all) expect(JSON.parse(JSON.stringify(scenario))).toEqual(scenario);
    expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
  });
});
