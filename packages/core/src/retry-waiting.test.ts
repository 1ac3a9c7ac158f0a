import { manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { drivenInstancer } from "../test/driven-instancer.ts";
import { lorems } from "../test/lorem.ts";
import { down, expectClean, retryError, retryWorld } from "../test/retry-world.ts";
import { rejection, settlement } from "../test/settlement.ts";
import { createBalancer } from "./balancer.ts";
import { createEndpointer } from "./endpointer.ts";
import { ClosedError, NoEndpointsError, type RetryError, TimeoutError } from "./errors.ts";
import type { Instance } from "./instance.ts";
import { retry } from "./retry.ts";

describe("a service without endpoints", () => {
  it("counts as an attempt and is retried", async () => {
    const world = retryWorld({ backoff: () => 100 }, []);
    let called = 0;
    const seen = settlement(world.call(() => called++));
    await world.clock.advance(200);
    const error = seen.error as RetryError;
    expect(error.reason).toBe("attempts");
    expect(error.errors.map((each: NoEndpointsError) => [each.code, each.service, each.state])).toEqual([
      ["NO_ENDPOINTS", "lorem", "live"],
      ["NO_ENDPOINTS", "lorem", "live"],
      ["NO_ENDPOINTS", "lorem", "live"],
    ]);
    expect(called).toBe(0);
    expectClean(world);
  });

  it("is called as soon as it has one again", async () => {
    const world = retryWorld({ backoff: () => 100 }, []);
    const numbers: number[] = [];
    const seen = settlement(
      world.call((client, { number }) => {
        numbers.push(number);
        return client;
      }),
    );
    await world.clock.advance(150);
    world.instancer.update(lorems(1));
    await world.clock.advance(50);
    expect(seen).toEqual({ state: "fulfilled", value: "1" });
    expect(numbers).toEqual([3]);
    expectClean(world);
  });

  it("is shown to retryable like any error", async () => {
    const { call } = retryWorld({ retryable: (error) => !(error instanceof NoEndpointsError) }, []);
    const error = await retryError(call(() => "never"));
    expect([error.reason, error.errors.length]).toEqual(["not-retryable", 1]);
  });
});

describe("a call while nothing is known", () => {
  it("waits, and then is made, as attempt 1", async () => {
    const world = retryWorld({}, null);
    const numbers: number[] = [];
    const seen = settlement(
      world.call((client, { number }) => {
        numbers.push(number);
        return client;
      }),
    );
    await world.clock.advance(5_000);
    expect(seen.state).toBe("pending");
    expect([world.clock.pending, world.clock.keptAlive]).toEqual([1, 1]);
    world.instancer.update(lorems(2));
    await world.clock.advance(0);
    expect(seen).toEqual({ state: "fulfilled", value: "1" });
    expect(numbers).toEqual([1]);
    expectClean(world);
  });

  it("waits on through errors of the registry", async () => {
    const world = retryWorld({}, null);
    const seen = settlement(world.call((client) => client));
    world.instancer.fail(down);
    await world.clock.advance(5_000);
    expect(seen.state).toBe("pending");
    world.instancer.update(lorems(1));
    await world.clock.advance(0);
    expect(seen).toEqual({ state: "fulfilled", value: "1" });
  });

  it("ends at its deadline with a TimeoutError whose cause names the service and its state", async () => {
    const world = retryWorld({ timeoutMs: 300 }, null);
    const seen = settlement(world.call(() => "never"));
    await world.clock.advance(299);
    expect(seen.state).toBe("pending");
    await world.clock.advance(1);
    const error = seen.error as RetryError;
    expect(error.reason).toBe("deadline");
    expect(error.errors).toEqual([expect.any(TimeoutError)]);
    expect(error.errors[0]).toMatchObject({ cause: { code: "NO_ENDPOINTS", service: "lorem", state: "pending" } });
    expectClean(world);
  });

  it("tells at its deadline of the registry's error that came while it waited", async () => {
    const world = retryWorld({ timeoutMs: 300 }, null);
    const seen = settlement(world.call(() => "never"));
    await world.clock.advance(100);
    world.instancer.fail(down);
    await world.clock.advance(200);
    expect((seen.error as RetryError).errors[0]).toMatchObject({ cause: { code: "NO_ENDPOINTS", cause: down } });
  });

  it("fails as an empty service does when the first answer is an empty one", async () => {
    const world = retryWorld({ backoff: () => 10 }, null);
    const seen = settlement(world.call(() => "never"));
    await world.clock.advance(100);
    world.instancer.update([]);
    await world.clock.advance(20);
    const error = seen.error as RetryError;
    expect([error.reason, error.errors.length]).toEqual(["attempts", 3]);
    expectClean(world);
  });

  it("starts nothing when the answer comes in the very moment of the deadline", async () => {
    const world = retryWorld({ timeoutMs: 300 }, null);
    // Armed first, so it runs first of the two.
    world.clock.env.after(300, () => world.instancer.update(lorems(1)));
    let called = 0;
    const seen = settlement(world.call(() => called++));
    await world.clock.advance(300);
    expect(seen.error).toMatchObject({ reason: "deadline" });
    expect((seen.error as RetryError).errors).toEqual([expect.any(TimeoutError)]);
    expect(called).toBe(0);
    expectClean(world);
  });

  it("waits while the first clients are being made, also if only one of them comes", async () => {
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    instancer.update(lorems(2));
    // One connects in 40 ms, the other never.
    const connect = ({ id }: Instance): Promise<string> =>
      new Promise((resolve) => {
        if (id === "2") clock.env.after(40, () => resolve(id));
      });
    const balancer = createBalancer(createEndpointer(instancer, connect, { env: clock.env }));
    const call = retry(balancer, { env: clock.env });
    const seen = settlement(call((client, { number }) => [client, number]));
    await clock.advance(39);
    expect(seen.state).toBe("pending");
    await clock.advance(1);
    expect(seen).toEqual({ state: "fulfilled", value: ["2", 1] });
  });
});

describe("a closed service", () => {
  it("rejects the call with ClosedError, unwrapped", async () => {
    const world = retryWorld();
    await world.endpointer.close();
    let called = 0;
    expect(await rejection(world.call(() => called++))).toBeInstanceOf(ClosedError);
    expect(called).toBe(0);
    expectClean(world);
  });

  it("that closes while a call waits for it rejects the call at once", async () => {
    const world = retryWorld({}, null);
    const seen = settlement(world.call(() => "never"));
    await world.clock.advance(100);
    await world.endpointer.close();
    await world.clock.advance(0);
    expect(seen.error).toBeInstanceOf(ClosedError);
    expectClean(world);
  });

  it("that closes during a back-off rejects the call instead of the next attempt", async () => {
    const world = retryWorld({ backoff: () => 100 });
    let called = 0;
    const seen = settlement(
      world.call(() => {
        called++;
        throw down;
      }),
    );
    await world.clock.advance(50);
    await world.endpointer.close();
    await world.clock.advance(50);
    expect(seen.error).toBeInstanceOf(ClosedError);
    expect(called).toBe(1);
    expectClean(world);
  });

  it("does not take away the attempt that runs", async () => {
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    instancer.update(lorems(1));
    const endpointer = createEndpointer(instancer, () => "client", { env: clock.env });
    const call = retry(createBalancer(endpointer), { env: clock.env });
    const work = Promise.withResolvers<string>();
    const result = call(() => work.promise);
    const closing = settlement(endpointer.close());
    await clock.advance(10);
    expect(closing.state).toBe("pending");
    work.resolve("done");
    expect(await result).toBe("done");
    await clock.advance(0);
    expect(closing.state).toBe("fulfilled");
    expect(clock.pending).toBe(0);
  });

  it("is the service's own: a ClosedError of the called function is a failure like any other", async () => {
    const { call } = retryWorld({ backoff: () => 0 });
    const own = new ClosedError("a pool");
    const error = await retryError(call(() => Promise.reject(own)));
    expect(error.errors).toEqual([own, own, own]);
  });
});
