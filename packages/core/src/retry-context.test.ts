import { AsyncLocalStorage } from "node:async_hooks";
import { describe, expect, it } from "vitest";
import { down, never, retryWorld } from "../test/retry-world.ts";

/** Who calls, as a tracing library would know it. */
const caller = new AsyncLocalStorage<string>();

describe("all attempts of a call run in the async context of who made it", () => {
  it.each([
    ["its function failed", { maxAttempts: 2 }, () => Promise.reject(down)],
    [
      "its time was over, by a timer that another call had armed",
      { maxAttempts: 2, attemptTimeoutMs: 100 },
      () => never,
    ],
  ])("when %s", async (_, options, failing) => {
    const { call, clock } = retryWorld({ backoff: () => 10, ...options });
    const seen: string[] = [];
    const calls = ["first", "second"].map((name) =>
      caller.run(name, () =>
        call((_client, { number }): string | Promise<string> => {
          seen.push(`${name} ${number} in ${caller.getStore()}`);
          return number === 1 ? failing() : name;
        }),
      ),
    );
    await clock.advance(100);
    await clock.advance(10);
    expect(await Promise.all(calls)).toEqual(["first", "second"]);
    expect(seen).toEqual(["first 1 in first", "second 1 in second", "first 2 in first", "second 2 in second"]);
  });
});
