import { describe, expect, it } from "vitest";
import { lorems } from "../../test/lorem.ts";
import { retryWorld } from "../../test/retry-world.ts";
import { CANCELLED, type Outcome, SUCCESS, SUPERSEDED } from "../pick.ts";
import { adaptive } from "./adaptive.ts";
import type { Policy } from "../policy.ts";
import { leastRequest } from "./least-request.ts";
import { peakEwma } from "./peak-ewma.ts";

const SLOW = "3";

/**
 * How many of 400 calls, two at a time, go to one of four of which every so manieth call ends so late and in such a way,
 * and the others well after 10 ms, as those of all others do.
 */
async function share(policy: Policy, end: Outcome, afterMs: number, every = 1): Promise<number> {
  const { balancer, clock } = retryWorld({}, lorems(4), policy);
  let slow = 0;
  const worker = async (): Promise<void> => {
    for (let n = 0; n < 200; n++) {
      const { endpoint, done } = balancer.pick();
      const isSlow = endpoint.instance.id === SLOW && ++slow % every === 0;
      await new Promise<void>((resolve) => void clock.env.after(isSlow ? afterMs : 10, resolve));
      done(isSlow ? end : SUCCESS);
    }
  };
  const work = Promise.all([worker(), worker()]);
  while (await clock.runNext());
  await work;
  return slow;
}

describe.each([
  ["adaptive", adaptive()],
  ["peakEwma", peakEwma()],
])("%s", (_, policy) => {
  it("leaves one alone that is always overtaken, as if it had answered so late", async () => {
    const overtaken = await share(policy, SUPERSEDED, 60);
    const late = await share(policy, SUCCESS, 60);
    expect(overtaken).toBeLessThan(40);
    expect(Math.abs(overtaken - late)).toBeLessThan(20);
  });

  it("learns nothing from one that was overtaken by who is usual, nor from callers that leave", async () => {
    const usual = await share(policy, SUCCESS, 10);
    // The hedge that lost had hardly begun.
    const soon = await share(policy, SUPERSEDED, 4, 2);
    expect(soon).toBeGreaterThanOrEqual(usual * 0.8);
    const abandoned = await share(policy, CANCELLED, 60);
    expect(abandoned).toBeGreaterThanOrEqual(await share(policy, SUPERSEDED, 60));
  });
});

it("is the same as cancelled to who counts calls only", async () => {
  expect(await share(leastRequest(), SUPERSEDED, 60)).toBe(await share(leastRequest(), CANCELLED, 60));
});
