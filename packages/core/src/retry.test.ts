import { seededRandom } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { lorems } from "../test/lorem.ts";
import { down, expectClean, never, retryError, retryWorld } from "../test/retry-world.ts";
import { rejection } from "../test/settlement.ts";
import { channels } from "./channels.ts";
import type { Policy } from "./policy.ts";
import { type Attempt, retry } from "./retry.ts";

describe("a call that succeeds", () => {
  it("gives the function the client and its attempt, and passes on what it returns", async () => {
    const world = retryWorld();
    const seen: [string, Attempt][] = [];
    const result = await world.call((client, attempt) => {
      seen.push([client, attempt]);
      return { word: "lorem" };
    });
    expect(result).toEqual({ word: "lorem" });
    const [client, attempt] = seen[0] ?? [];
    expect(client).toBe("1");
    expect(attempt?.number).toBe(1);
    expect(attempt?.endpoint).toBe(world.endpointer.endpoints[0]);
    expect(attempt?.signal.aborted).toBe(false);
    expect(world.endpointer.endpoints[0]?.stats).toMatchObject({ inFlight: 0, successes: 1, failures: 0 });
    expectClean(world);
  });

  it.each<[string, () => unknown]>([
    ["a value", () => "done"],
    ["a promise", async () => "done"],
    // oxlint-disable-next-line unicorn/no-thenable -- the thenable is the subject
    ["a thenable", () => ({ then: (resolve: (value: string) => void) => resolve("done") })],
  ])("takes %s from the function", async (_, fn) => {
    const world = retryWorld();
    await expect(world.call(fn)).resolves.toBe("done");
    expect(world.endpointer.endpoints[0]?.stats.successes).toBe(1);
    expectClean(world);
  });

  it("fails, and does not hang, with a balancer of one's own whose picks cannot be ended", async () => {
    const { balancer, clock } = retryWorld();
    const broken = new Error("cannot end it");
    const done = (): never => {
      throw broken;
    };
    const call = retry<string>(
      {
        pick: () => ({ endpoint: balancer.pick().endpoint, done, [Symbol.dispose]: done }),
        ready: async () => undefined,
      },
      { env: clock.env, maxAttempts: 1 },
    );
    for (const fn of [() => "done", () => Promise.reject(down)]) {
      expect((await retryError(call(fn))).errors).toEqual([broken]);
    }
    const late = retryError(call(() => never));
    await clock.advance(10_000);
    expect((await late).errors).toEqual([broken]);
    expect(clock.pending).toBe(0);
  });

  it("passes on undefined, null and false as they are", async () => {
    const { call } = retryWorld();
    for (const value of [undefined, null, false, 0, ""]) expect(await call(() => value)).toBe(value);
  });

  it("holds a slot while the function runs", async () => {
    const world = retryWorld();
    const work = Promise.withResolvers<string>();
    const result = world.call(() => work.promise);
    expect(world.inFlight()).toBe(1);
    work.resolve("done");
    await result;
    expectClean(world);
  });

  it("forgets the errors of the attempts before, but the endpoints do not", async () => {
    const world = retryWorld({ backoff: () => 0 });
    const result = await world.call((client, { number }) => {
      if (number < 3) throw down;
      return client;
    });
    expect(result).toBe("3");
    expect(world.endpointer.endpoints.map(({ stats }) => [stats.successes, stats.failures])).toEqual([
      [0, 1],
      [0, 1],
      [1, 0],
    ]);
    expectClean(world);
  });

  it("spreads calls over the endpoints", async () => {
    const { call } = retryWorld();
    const clients: string[] = [];
    for (let n = 0; n < 6; n++) clients.push(await call((client) => client));
    expect(clients).toEqual(["1", "2", "3", "1", "2", "3"]);
  });
});

describe("attempts", () => {
  it.each([
    [undefined, 3],
    [1, 1],
    [2, 2],
    [5, 5],
    [0, 1],
    [-1, 1],
    [-Infinity, 1],
  ])("maxAttempts %s makes %i of them, the first included", async (maxAttempts, expected) => {
    const world = retryWorld({ maxAttempts, backoff: () => 0, budget: false });
    const errors: Error[] = [];
    const call = world.call((_, { number }) => {
      const error = new Error(`attempt ${number}`);
      errors.push(error);
      throw error;
    });
    const error = await retryError(call);
    expect(error.reason).toBe("attempts");
    expect(error.errors).toEqual(errors);
    expect(errors.map(({ message }) => message)).toEqual(
      Array.from({ length: expected }, (_, index) => `attempt ${index + 1}`),
    );
    expectClean(world);
  });

  it("go to endpoints that this call has not tried, until there are none left", async () => {
    const { call } = retryWorld({ maxAttempts: 5, backoff: () => 0, budget: false });
    const tried: string[] = [];
    await rejection(
      call((client) => {
        tried.push(client);
        throw down;
      }),
    );
    expect(tried.slice(0, 3).toSorted()).toEqual(["1", "2", "3"]);
    expect(tried).toHaveLength(5);
  });

  it.each([1, 2, 3, 4, 5])("never repeat an endpoint while another is left, under random (seed %i)", async (seed) => {
    const random: Policy = {
      name: "seeded",
      create: () => {
        const next = seededRandom(seed);
        return {
          picker: (endpoints) => () => endpoints[Math.floor(next() * endpoints.length)] ?? endpoints[0],
        };
      },
    };
    const { call } = retryWorld({ maxAttempts: 4, backoff: () => 0, budget: false }, lorems(4), random);
    const tried: string[] = [];
    await rejection(
      call((client) => {
        tried.push(client);
        throw down;
      }),
    );
    expect(tried.toSorted()).toEqual(["1", "2", "3", "4"]);
  });

  it("see an endpoint that came while they were made", async () => {
    const { call, instancer } = retryWorld({ backoff: () => 0 }, lorems(1));
    const result = await call((client) => {
      if (client === "1") {
        instancer.update(lorems(2));
        throw down;
      }
      return client;
    });
    expect(result).toBe("2");
  });

  it("count everything that can be thrown, a falsy thing too", async () => {
    const { call } = retryWorld({ backoff: () => 0 });
    const thrown: unknown[] = [undefined, "text", 0];
    // oxlint-disable-next-line typescript/only-throw-error -- whatever is thrown must arrive
    const error = await retryError(call((_, { number }) => Promise.reject(thrown[number - 1])));
    expect(error.errors).toEqual(thrown);
    expect(error.reason).toBe("attempts");
  });

  it("take a synchronous throw for a failure of the endpoint", async () => {
    const world = retryWorld({ maxAttempts: 1 });
    const error = await retryError(
      world.call(() => {
        throw down;
      }),
    );
    expect(error.errors).toEqual([down]);
    expect(error.cause).toBe(down);
    expect(world.endpointer.endpoints[0]?.stats).toMatchObject({ inFlight: 0, failures: 1, consecutiveFailures: 1 });
    expectClean(world);
  });

  it("tell the diagnostics channel how each of them ended", async () => {
    const messages: unknown[] = [];
    const unsubscribe = channels.attemptEnded.subscribe(({ instance, number, outcome, latencyMs }) => {
      messages.push([instance.id, number, outcome.kind, latencyMs]);
    });
    const { call, clock } = retryWorld({ backoff: () => 10 });
    const done = call(async (_, { number }) => {
      await new Promise<void>((resolve) => void clock.env.after(5, resolve));
      if (number === 1) throw down;
    });
    await clock.advance(20);
    await done;
    unsubscribe();
    expect(messages).toEqual([
      ["1", 1, "failure", 5],
      ["2", 2, "success", 5],
    ]);
  });
});

describe("a call that failed", () => {
  it("rejects with a RetryError that is an AggregateError, with code, reason, errors and cause", async () => {
    const { call } = retryWorld({ backoff: () => 0 });
    const errors = [new Error("e1"), new Error("e2"), new Error("e3")];
    const error = await retryError(call((_, { number }) => Promise.reject(errors[number - 1])));
    expect(error).toBeInstanceOf(AggregateError);
    expect(error).toMatchObject({ name: "RetryError", code: "RETRY", reason: "attempts" });
    expect(error.errors).toEqual(errors);
    expect(error.cause).toBe(errors[2]);
    expect(error.message).toContain("e3 (previously: e1; e2)");
  });
});
