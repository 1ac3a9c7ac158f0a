import { manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { type LoadReport, isLoadReport } from "./load-report.ts";
import {
  type Endpoint,
  type Policy,
  channels,
  createBalancer,
  fixedEndpointer,
  outlierDetection,
  panic,
  priority,
  retry,
  roundRobin,
  slowStart,
  sticky,
  subset,
  zoneAware,
} from "./index.ts";

/** Round robin that notes what it is told, in order. */
function listening(heard: unknown[], fails = false): Policy {
  return {
    name: "listening",
    create: (env) => ({
      ...roundRobin().create(env),
      report: ({ client }: Endpoint, report: LoadReport, nowMs: number) => {
        heard.push([client, report, nowMs]);
        if (fails) throw new Error("not that");
      },
      observe: ({ client }, { kind }) => void heard.push([client, kind]),
    }),
  };
}

describe("a load report", () => {
  it.each<[unknown, boolean]>([
    [{ inFlight: 0 }, true],
    [{ utilization: 1.4 }, true],
    [{ inFlight: 0.5, utilization: 0 }, true],
    [{}, false],
    [{ inFlight: -1 }, false],
    [{ inFlight: NaN }, false],
    [{ utilization: Infinity, inFlight: 1 }, false],
    [{ inFlight: "1" }, false],
    [null, false],
    [7, false],
  ])("%o is one: %s", (value, isOne) => expect(isLoadReport(value)).toBe(isOne));

  it("reaches the policy with its time, before the call has ended", () => {
    const heard: unknown[] = [];
    const clock = manualClock();
    const balancer = createBalancer(fixedEndpointer("lorem", ["a"]), listening(heard), { env: clock.env });
    const pick = balancer.pick();
    clock.advanceSync(30);
    pick.report?.({ inFlight: 3 });
    pick.done({ kind: "success" });
    expect(heard).toEqual([
      ["a", { inFlight: 3 }, clock.now()],
      ["a", "success"],
    ]);
  });

  it("need not be read for a policy that does not want it", async () => {
    const balancer = createBalancer(fixedEndpointer("lorem", ["a"]), roundRobin());
    expect(balancer.pick().report).toBeUndefined();
    expect(await retry(balancer)((_, attempt) => attempt.report)).toBeUndefined();
    const taught = createBalancer(fixedEndpointer("lorem", ["a"]), outlierDetection(roundRobin()));
    expect(taught.pick().report).toBeUndefined();
  });

  it("is told by an attempt, also after the function has returned", async () => {
    const heard: unknown[] = [];
    const call = retry(createBalancer(fixedEndpointer("lorem", ["a"]), listening(heard)));
    const report = await call((_, attempt) => attempt.report);
    report?.({ utilization: 0.5 });
    expect(heard).toEqual([
      ["a", "success"],
      ["a", { utilization: 0.5 }, expect.any(Number)],
    ]);
  });

  it("goes to a channel instead of the policy if it is none, and disturbs nobody", () => {
    const heard: unknown[] = [];
    const bad: unknown[] = [];
    const unsubscribe = channels.badReport.subscribe((message) => bad.push(message));
    const pick = createBalancer(fixedEndpointer("lorem", ["a"]), listening(heard)).pick();
    pick.report?.({ inFlight: -1 });
    pick.report?.(null as unknown as LoadReport);
    unsubscribe();
    expect(heard).toEqual([]);
    const { instance } = pick.endpoint;
    expect(bad).toEqual(
      [-1, null].map((n) => ({ service: "lorem", instance, report: n === -1 ? { inFlight: n } : n })),
    );
  });

  it("does not let a policy that throws reach the caller", () => {
    const errors: unknown[] = [];
    const unsubscribe = channels.policyError.subscribe((message) => errors.push(message));
    createBalancer(fixedEndpointer("lorem", ["a"]), listening([], true))
      .pick()
      .report?.({ inFlight: 1 });
    unsubscribe();
    expect(errors).toMatchObject([{ policy: "listening", error: { message: "not that" } }]);
  });

  it("is not believed if the process itself stood still meanwhile: it may be as old as that", () => {
    const heard: unknown[] = [];
    const clock = manualClock();
    let blockedMs = 0;
    const env = { ...clock.env, now: () => clock.now() + blockedMs };
    const balancer = createBalancer(fixedEndpointer("lorem", ["a", "b"]), listening(heard), { env });
    const [one, other] = [balancer.pick(), balancer.pick()];
    blockedMs = 2_000;
    one.report?.({ inFlight: 1 });
    other.report?.({ inFlight: 1 });
    expect(heard).toEqual([]);
    balancer.pick().report?.({ inFlight: 1 });
    expect(heard).toHaveLength(1);
  });

  it.each<[string, (child: Policy) => Policy]>([
    ["outlierDetection", (child) => outlierDetection(child)],
    ["slowStart", (child) => slowStart(child)],
    ["panic", (child) => panic(child)],
    ["priority", (child) => priority(child)],
    ["sticky", (child) => sticky(child)],
    ["subset", (child) => subset(child, { size: 2 })],
    ["zoneAware", (child) => zoneAware(child, { zone: "a" })],
  ])("passes through %s", (_, decorate) => {
    const heard: unknown[] = [];
    const pick = createBalancer(fixedEndpointer("lorem", ["a"]), decorate(listening(heard))).pick();
    pick.report?.({ inFlight: 2 });
    expect(heard).toEqual([["a", { inFlight: 2 }, expect.any(Number)]]);
  });
});
