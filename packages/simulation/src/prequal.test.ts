import { type Policy, adaptive, prequal } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import type { Scenario } from "./scenario.ts";
import { scenarios } from "./scenarios/scenarios.ts";
import { simulate } from "./simulate.ts";

/** The same with only those servers reporting that are said to: `all`, `half` of each group, `none`. */
function reporting(scenario: Scenario, which: "all" | "half" | "none"): Scenario {
  const servers = scenario.servers.flatMap((group) => {
    const { count = 1, name = "server" } = group;
    const some = { all: count, half: Math.ceil(count / 2), none: 0 }[which];
    return [
      { ...group, name: `${name}-reports`, count: some, reports: true },
      { ...group, name: `${name}-silent`, count: count - some, reports: false },
    ].filter((each) => each.count > 0);
  });
  return { ...scenario, servers };
}

const p99 = async (scenario: Scenario, policy: Policy | ((client: number) => Policy)): Promise<number> =>
  (await simulate(scenario, { policy })).latencyMs.p99;

const { queueing } = scenarios;

/** What a client of another kind does: half of its calls go to three servers, whoever else is there. */
const lopsided: Policy = {
  name: "lopsided",
  create: (env) => ({
    picker: (endpoints) => () => {
      const most = env.random() < 0.5 ? Math.min(3, endpoints.length) : endpoints.length;
      return endpoints[Math.floor(env.random() * most)] ?? endpoints[0];
    },
  }),
};

describe("prequal", { timeout: 30_000 }, () => {
  it.each(["uniform", "speeds", "antagonists", "more antagonists"] as const)(
    "is not worse than adaptive, whether all servers report or half of them: %s",
    async (name) => {
      const least = await p99(reporting(queueing[name], "none"), adaptive());
      expect((await p99(reporting(queueing[name], "all"), prequal())) / least).toBeLessThan(1.01);
      expect((await p99(reporting(queueing[name], "half"), prequal())) / least).toBeLessThan(1.03);
    },
  );

  it("is adaptive, call by call, where none does", async () => {
    const silent = reporting(queueing.antagonists, "none");
    const [known, its] = [
      await simulate(silent, { policy: adaptive() }),
      await simulate(silent, { policy: prequal() }),
    ];
    expect({ ...its, policy: "adaptive" }).toEqual(known);
  });

  it("is better where clients of another kind load some of the servers more than others", async () => {
    const shared: Scenario = {
      name: "shared",
      servers: [{ count: 10 }],
      work: { kind: "normal", meanMs: 20, deviationMs: 20 },
      load: { utilisation: 0.75 },
      clients: 4,
      networkMs: 0.25,
      durationMs: 20_000,
      warmupMs: 4_000,
    };
    const beside = (policy: Policy) => (client: number) => (client < 2 ? policy : lopsided);
    const [blind, seeing] = [await p99(shared, beside(adaptive())), await p99(shared, beside(prequal()))];
    expect(seeing / blind).toBeLessThan(0.9);
  });
});
