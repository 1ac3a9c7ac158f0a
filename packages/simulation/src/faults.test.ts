import { random, roundRobin } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { oracle } from "./oracle.ts";
import type { Report } from "./report.ts";
import type { Scenario, ServerGroup } from "./scenario.ts";
import { simulate } from "./simulate.ts";

/** One server, one call of 10 ms every 20 ms for a second. Each way takes a millisecond. */
function play(group: ServerGroup, more: Partial<Scenario> = {}): Promise<Report> {
  const scenario: Scenario = {
    name: "one",
    servers: [{ workers: 1, ...group }],
    work: 10,
    load: { perSecond: 50 },
    arrivals: "uniform",
    networkMs: 1,
    timeoutMs: 200,
    durationMs: 1_000,
    ...more,
  };
  return simulate(scenario, { policy: roundRobin() });
}

describe("a simulated server", () => {
  it("answers after the way there, its work, and the way back", async () => {
    const { calls, failures, latencyMs, servers, attempts } = await play({});
    expect([calls, failures, attempts]).toEqual([50, 0, 50]);
    for (const ms of [latencyMs.mean, latencyMs.p50, latencyMs.max]) expect(ms).toBeCloseTo(12, 9);
    expect(servers[0]?.utilisation).toBeCloseTo(0.5, 9);
  });

  it("lets calls wait for a worker, first come, first served, as many as its queue holds", async () => {
    // Each call takes twice as long as until the next one comes: of 50, one waits more each time, up to three.
    const { results, latencyMs } = await play({ speed: 1 / 4, queue: 3 });
    expect(results.full).toBeGreaterThan(15);
    expect(results.ok + results.full).toBe(50);
    // Itself, and three before it.
    expect(latencyMs.p50).toBeLessThanOrEqual(162);
    const unlimited = await play({ speed: 1 / 4, queue: Infinity }, { timeoutMs: 5_000 });
    expect(unlimited.results.ok).toBe(50);
    expect(unlimited.latencyMs.max).toBeCloseTo(2 + 50 * 40 - 49 * 20, 6);
  });

  it("works slower for a time, on what it has begun too", async () => {
    const { latencyMs } = await play({ faults: [{ kind: "slow", factor: 2, fromMs: 6 }] }, { durationMs: 20 });
    // Five of ten milliseconds are done when it begins.
    expect(latencyMs.max).toBeCloseTo(2 + 5 + 10, 9);
  });

  it("can be given other work for a time, for what is begun then", async () => {
    const faults = [{ kind: "slow", work: 15, fromMs: 6, toMs: 30 }] as const;
    expect((await play({ faults }, { durationMs: 20 })).latencyMs.max).toBeCloseTo(12, 9);
    expect((await play({ faults }, { durationMs: 40 })).latencyMs.max).toBeCloseTo(17, 9);
  });

  it("stands still, and goes on where it was", async () => {
    const { results, latencyMs } = await play(
      { faults: [{ kind: "pause", fromMs: 6, toMs: 106 }] },
      { durationMs: 20 },
    );
    expect(results.ok).toBe(1);
    expect(latencyMs.max).toBeCloseTo(112, 9);
  });

  it("fails the share of calls that it is to fail, at once, without a worker", async () => {
    const { results, servers } = await play(
      { faults: [{ kind: "fail", rate: 0.25, afterMs: 3 }] },
      { durationMs: 40_000 },
    );
    expect(results.failed / 2_000).toBeCloseTo(0.25, 1);
    expect(results.ok + results.failed).toBe(2_000);
    expect(servers[0]?.failures).toBe(results.failed);
    expect(servers[0]?.utilisation).toBeCloseTo((results.ok * 10) / 40_000, 6);
  });

  it("loses calls and answers while it cannot be reached", async () => {
    const { results } = await play({ faults: [{ kind: "unreachable", fromMs: 105, toMs: 205 }] });
    // The answer to the call of 100, and the calls of 120 to 200.
    expect([results.timeout, results.ok]).toEqual([6, 44]);
  });

  it("fails all that it has in hand when it dies, and refuses what comes, until it lives again", async () => {
    const { results, latencyMs } = await play({
      queue: 10,
      speed: 1 / 10,
      faults: [{ kind: "dead", fromMs: 65, toMs: 500 }],
    });
    // Those of 0 to 60 are in hand, none is done; those of 80 to 480 find nobody.
    expect(results.refused).toBe(4 + 21);
    expect(results.ok).toBeGreaterThan(0);
    expect(latencyMs.p50).toBe(200);
  });

  it("goes on with calls that nobody waits for any more, unless it is to drop them", async () => {
    const faults = [{ kind: "pause", fromMs: 5, toMs: 485 }] as const;
    const served = await play({ faults }, { timeoutMs: 30 });
    const dropped = await play({ faults }, { timeoutMs: 30, abandoned: "dropped" });
    // The first 24 are lost in any case. Of those that follow, half are spent on catching up, or hardly any.
    expect(served.results.timeout).toBeGreaterThan(24 + 20);
    expect(dropped.results.timeout).toBeLessThanOrEqual(24 + 1);
  });

  it("can be played when there is nobody at all, or nobody yet", async () => {
    expect((await play({ joinsAtMs: 500 })).results).toMatchObject({ none: 25, ok: 25 });
    expect((await play({ leavesAtMs: 490 })).results).toMatchObject({ none: 25, ok: 25 });
    const scenario: Scenario = {
      name: "late",
      servers: [{ joinsAtMs: 500 }],
      work: 10,
      load: { perSecond: 50 },
      durationMs: 1_000,
    };
    expect((await simulate(scenario, { policy: oracle })).results.none).toBeGreaterThan(10);
  });
});

describe("a report", () => {
  it("counts no call of the warm-up, and takes a failure for an answer that took the time-out", async () => {
    const { calls, latencyMs, failureShare, inTarget } = await play(
      { faults: [{ kind: "dead", fromMs: 755 }] },
      { warmupMs: 500, targetMs: 100 },
    );
    expect([calls, failureShare, inTarget]).toEqual([25, 0.48, 0.52]);
    expect(latencyMs.p50).toBeCloseTo(12, 9);
    expect(latencyMs.p90).toBe(200);
  });

  it("has exact quantiles, a curve that grows, and shares that are all", async () => {
    const scenario: Scenario = {
      name: "spread",
      servers: [{ count: 3, name: "a" }, { name: "b" }],
      work: { kind: "exponential", meanMs: 5 },
      load: { perSecond: 1_000 },
      durationMs: 5_000,
    };
    const report = await simulate(scenario, { policy: random() });
    const { curve, latencyMs, servers } = report;
    expect(servers.map(({ id }) => id)).toEqual(["a-1", "a-2", "a-3", "b-1"]);
    expect(servers.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 9);
    expect(curve.map(([, ms]) => ms)).toEqual(curve.map(([, ms]) => ms).toSorted((a, b) => a - b));
    expect(curve.find(([share]) => share === 0.9)?.[1]).toBe(latencyMs.p90);
    expect(latencyMs.max).toBeGreaterThan(latencyMs.p999);
    expect(report.imbalance).toBeGreaterThan(1);
    expect(report.imbalance).toBeLessThan(1.1);
  });
});
