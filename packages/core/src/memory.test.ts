import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { numbered } from "../test/lettered.ts";
import { release, reserve } from "./endpoint.ts";
import { adaptive, leastRequest, maglev, outlierDetection, peakEwma, slowStart, zoneAware } from "./index.ts";
import { memory } from "./memory.ts";

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as () => void;

describe("memory", () => {
  it("makes a record when it is first asked for, and then has the same", () => {
    const recordOf = memory((endpoint) => ({ endpoint }));
    const [one, other] = numbered(2);
    expect(recordOf(one).endpoint).toBe(one);
    expect(recordOf(one)).toBe(recordOf(one));
    expect(recordOf(other as typeof one)).not.toBe(recordOf(one));
  });

  it("keeps what several policies remember of one endpoint apart", () => {
    const [one] = numbered(1);
    const memories = [1, 2, 3].map((number) => memory(() => ({ number })));
    for (const [index, recordOf] of memories.entries()) expect(recordOf(one)).toEqual({ number: index + 1 });
    for (const [index, recordOf] of memories.entries()) expect(recordOf(one)).toEqual({ number: index + 1 });
  });

  it.each([
    adaptive(),
    peakEwma(),
    outlierDetection(leastRequest()),
    outlierDetection(zoneAware(slowStart(peakEwma()), { zone: "a" })),
    maglev({ boundedLoad: 1.25 }),
  ])("of a policy goes with the endpoints: $name", async (policy) => {
    const clock = manualClock();
    const state = policy.create(clock.env);
    const gone: WeakRef<object>[] = [];
    const live = (): void => {
      const set = numbered(20);
      gone.push(...set.map((endpoint) => new WeakRef(endpoint)));
      const picker = state.picker(set);
      for (let n = 0; n < 100; n++) {
        const endpoint = picker({ key: `${n}` }, n);
        reserve(endpoint);
        state.started?.(endpoint, n);
        state.observe?.(endpoint, { kind: n % 3 === 0 ? "failure" : "success", error: undefined } as never, 1, n);
        release(endpoint, { kind: "success" });
      }
    };
    live();
    // The next set takes the place of the one that a state may hold.
    state.picker(numbered(1))({});
    await new Promise((resolve) => void setTimeout(resolve, 10));
    gc();
    expect(gone.filter((reference) => reference.deref() !== undefined)).toHaveLength(0);
  });
});
