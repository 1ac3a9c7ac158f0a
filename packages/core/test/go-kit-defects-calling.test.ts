import {
  type Instance,
  type NonEmpty,
  RetryError,
  createBalancer,
  createCache,
  createClient,
  createEndpointer,
  random,
  retry,
} from "@rollcall/core";
import { manualClock, seededRandom } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { drivenInstancer } from "./driven-instancer.ts";
import { lorem, lorems } from "./lorem.ts";
import { rejection, settlement } from "./settlement.ts";

/**
 * The known defects of go-kit's `sd` packages that concern calling: endpoints, balancers and retry. Each test is named
 * after the defect's number in the list of them and says what Rollcall does instead.
 */
const down = new Error("ECONNREFUSED");

/** An endpointer whose clients count how often they are made and closed. */
function start(options: { staleAfterMs?: number } = {}) {
  const clock = manualClock({ random: () => 0 });
  const instancer = drivenInstancer(clock.env);
  const log: string[] = [];
  const endpointer = createEndpointer(instancer, ({ id }) => (log.push(`made ${id}`), id), {
    env: clock.env,
    close: (id) => void log.push(`closed ${id}`),
    ...options,
  });
  const balancer = createBalancer(endpointer, undefined, { env: clock.env });
  return { clock, instancer, log, endpointer, balancer, call: retry(balancer, { env: clock.env }) };
}

describe("go-kit's defects, and what Rollcall does instead", () => {
  it("1: closing closes every endpoint and serves none afterwards, and a second close is the first", async () => {
    const { instancer, endpointer, log } = start();
    instancer.update(lorems(2));
    const closing = endpointer.close();
    expect(endpointer.close()).toBe(closing);
    await closing;
    await endpointer.close();
    expect(log).toEqual(["made 1", "made 2", "closed 1", "closed 2"]);
    expect(endpointer.endpoints).toEqual([]);
    expect(instancer.listeners).toBe(0);
  });

  it("2: duplicate instances collapse: one client each, however often they are repeated", async () => {
    const { instancer, endpointer, log } = start();
    for (let update = 0; update < 3; update++) {
      instancer.update([lorem(1), lorem(1), lorem(2), lorem(1)]);
      instancer.fail(down);
    }
    expect(log).toEqual(["made 1", "made 2"]);
    expect(endpointer.endpoints).toHaveLength(2);
    instancer.update([]);
    expect(log).toEqual(["made 1", "made 2", "closed 1", "closed 2"]);
  });

  it("3: a factory that failed is tried again though the set is stable", async () => {
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    let tries = 0;
    const endpointer = createEndpointer(
      instancer,
      ({ id }) => {
        if (++tries < 4) throw down;
        return id;
      },
      { env: clock.env },
    );
    instancer.update(lorems(1));
    instancer.update(lorems(1));
    expect(endpointer.endpoints).toEqual([]);
    await clock.advance(10_000);
    expect(endpointer.endpoints.map(({ client }) => client)).toEqual(["1"]);
    expect(tries).toBe(4);
  });

  it("4: a set that is too old empties itself and closes its clients by its own timer, with nobody asking", async () => {
    const { clock, instancer, log } = start({ staleAfterMs: 5_000 });
    instancer.update(lorems(1));
    instancer.fail(down);
    await clock.advance(4_999);
    expect(log).toEqual(["made 1"]);
    await clock.advance(1);
    expect(log).toEqual(["made 1", "closed 1"]);
  });

  it("5: an outage wipes nothing: who subscribes during it gets the last good set, with the error beside it", async () => {
    const { clock, instancer } = start();
    instancer.update(lorems(2));
    instancer.fail(down);
    const late = createClient({ instancer, factory: ({ id }: Instance) => id, env: clock.env });
    expect(instancer.snapshot).toMatchObject({ state: "stale", error: down });
    expect([await late.call((id) => id), await late.call((id) => id)]).toEqual(["1", "2"]);
  });

  it("6: a factory or subscriber that takes for ever stalls neither the registry's loop nor the others", async () => {
    const clock = manualClock();
    const instancer = drivenInstancer(clock.env);
    const hanging = createEndpointer(instancer, () => new Promise<string>(() => undefined), { env: clock.env });
    const subscriber = instancer.subscribe(() => void new Promise(() => undefined));
    const quick = createEndpointer(instancer, ({ id }) => id, { env: clock.env });
    instancer.update(lorems(1));
    instancer.update(lorems(2));
    expect(quick.endpoints.map(({ client }) => client)).toEqual(["1", "2"]);
    expect(hanging.endpoints).toEqual([]);
    subscriber();
    // Closing waits for no client that never came.
    await hanging.close();
  });

  it("6: one slow client among many holds up no call to the others", async () => {
    const clock = manualClock({ random: () => 0 });
    const instancer = drivenInstancer(clock.env);
    const client = createClient({
      instancer,
      factory: ({ id }) => (id === "1" ? new Promise<string>(() => undefined) : id),
      env: clock.env,
    });
    instancer.update(lorems(3));
    expect([await client.call((id) => id), await client.call((id) => id)]).toEqual(["2", "3"]);
  });

  it("16: the random balancer has no shared generator to race for: its chance is the environment's, call by call", () => {
    const { endpointer, instancer } = start();
    instancer.update(lorems(3));
    const picks = (seed: number): string[] => {
      const env = { random: seededRandom(seed) };
      const [one, two] = [createBalancer(endpointer, random(), { env }), createBalancer(endpointer, random(), { env })];
      return Array.from({ length: 20 }, (_, n) => {
        using pick = (n % 2 === 0 ? one : two).pick();
        return pick.endpoint.client;
      });
    };
    expect(picks(5)).toEqual(picks(5));
    expect(new Set(picks(5))).toEqual(new Set(["1", "2", "3"]));
  });

  it("17: a deadline is a RetryError that keeps the causes, in order, with the unfinished attempt as a TimeoutError", async () => {
    const { clock, instancer, balancer } = start();
    instancer.update(lorems(3));
    const call = retry(balancer, { env: clock.env, timeoutMs: 500, backoff: () => 10 });
    const seen = settlement(
      call((_, { number }) => (number < 3 ? Promise.reject(new Error(`e${number}`)) : new Promise(() => undefined))),
    );
    await clock.advance(500);
    const { error } = seen;
    expect(error).toBeInstanceOf(RetryError);
    expect(error).toMatchObject({ reason: "deadline" });
    expect((error as RetryError).errors).toMatchObject([{ message: "e1" }, { message: "e2" }, { code: "TIMEOUT" }]);
  });

  it("17: an error can be unwrapped: errors holds all of them, cause the last", async () => {
    const { instancer, call } = start();
    instancer.update(lorems(3));
    const error = (await rejection(call(() => Promise.reject(down)))) as RetryError;
    expect(error.errors).toEqual([down, down, down]);
    expect(error.cause).toBe(down);
  });

  it("17: attempts are paced by a back-off and bounded in number, also against what fails at once", async () => {
    const clock = manualClock({ random: () => 0.5 });
    const instancer = drivenInstancer(clock.env);
    instancer.update(lorems(1));
    const endpointer = createEndpointer(instancer, ({ id }) => id, { env: clock.env });
    const call = retry(createBalancer(endpointer), { env: clock.env, maxAttempts: Infinity });
    const at: number[] = [];
    const seen = settlement(
      call(() => {
        at.push(clock.now());
        throw down;
      }),
    );
    await clock.advance(20);
    // go-kit made 30 000 in that time. The dice say one half: of 25 ms, of 50 ms, …
    expect(at).toEqual([0, 12.5]);
    await clock.advance(10_000);
    expect(seen.state).toBe("rejected");
    expect(at.length).toBeLessThan(40);
  });

  it("17: a stuck attempt is aborted and its slot freed, rather than running on unseen", async () => {
    const { clock, instancer, endpointer, balancer } = start();
    instancer.update(lorems(1));
    let signal: AbortSignal | undefined;
    const call = retry(balancer, { env: clock.env, timeoutMs: 100 });
    const seen = settlement(
      call((_, attempt) => {
        ({ signal } = attempt);
        return new Promise(() => undefined);
      }),
    );
    await clock.advance(100);
    expect(seen.state).toBe("rejected");
    expect(signal?.aborted).toBe(true);
    expect(endpointer.endpoints[0]?.stats.inFlight).toBe(0);
    expect(clock.pending).toBe(0);
  });

  it("18: no pause outlives its caller: an abort ends the back-off at once", async () => {
    const { clock, instancer, balancer } = start();
    instancer.update(lorems(1));
    const controller = new AbortController();
    const call = retry(balancer, { env: clock.env, timeoutMs: 120_000, backoff: () => 60_000 });
    const seen = settlement(call(() => Promise.reject(down), { signal: controller.signal }));
    await clock.advance(1);
    controller.abort(down);
    await clock.advance(0);
    expect([seen.error, clock.pending]).toEqual([down, 0]);
  });

  it("20: an update is only read: the caller's array and instances stay as they were, even frozen", () => {
    const { instancer, endpointer } = start();
    const given = [lorem(3), lorem(1), lorem(3), lorem(2)];
    const before = [...given];
    instancer.update(given);
    instancer.update(Object.freeze([lorem(2), lorem(1)]));
    expect(given).toEqual(before);
    expect(endpointer.endpoints.map(({ instance }) => instance.id)).toEqual(["1", "2"]);
    const cache = createCache();
    cache.update(given);
    expect(given).toEqual(before);
  });

  it("and the error of discovery is not hidden: an empty set says why it is empty (contract 1.2)", async () => {
    const { instancer, balancer, endpointer } = start();
    instancer.fail(down);
    expect(() => balancer.pick()).toThrow(
      expect.objectContaining({ code: "NO_ENDPOINTS", state: "pending", cause: down }),
    );
    await endpointer.close();
  });

  it("and clients do not all start with the same instance (contract 1.4)", () => {
    const { endpointer, instancer } = start();
    instancer.update(lorems(4));
    const chances = [0, 0.3, 0.6, 0.9] as const satisfies NonEmpty<number>;
    const starts = chances.map((chance) => {
      using pick = createBalancer(endpointer, undefined, { env: { random: () => chance } }).pick();
      return pick.endpoint.client;
    });
    expect(starts).toEqual(["1", "2", "3", "4"]);
  });
});
