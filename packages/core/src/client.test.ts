import { manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { drivenInstancer } from "../test/driven-instancer.ts";
import { lorem, lorems } from "../test/lorem.ts";
import { rejection, settlement } from "../test/settlement.ts";
import { type Client, type ClientOptions, createClient } from "./client.ts";
import { ClosedError, InvalidOptionError, RetryError } from "./errors.ts";
import { fixedInstancer } from "./fixed-instancer.ts";
import type { Instance } from "./instance.ts";
import { memoryRegistry } from "./memory-registry.ts";
import { random } from "./policies/random.ts";
import type { Policy } from "./policy.ts";

const down = new Error("ECONNREFUSED");
const never = new Promise<never>(() => undefined);

function start(more: Partial<ClientOptions<string>> = {}, instances: readonly Instance[] | null = lorems(2)) {
  const clock = manualClock({ random: () => 0 });
  const instancer = drivenInstancer(clock.env);
  if (instances !== null) instancer.update(instances);
  const closed: string[] = [];
  const client = createClient<string>({
    instancer,
    factory: ({ id }) => id,
    close: (id) => void closed.push(id),
    env: clock.env,
    ...more,
  });
  return { clock, instancer, client, closed };
}

async function retryError(call: Promise<unknown>): Promise<RetryError> {
  const error = await rejection(call);
  expect(error).toBeInstanceOf(RetryError);
  return error as RetryError;
}

describe("createClient", () => {
  it("wires discovery, balancing and retry: calls go round, failures go elsewhere", async () => {
    const { client } = start({ retry: { backoff: () => 0 } });
    expect([await client.call((id) => id), await client.call((id) => id)]).toEqual(["1", "2"]);
    const tried: string[] = [];
    const result = await client.call((id) => {
      tried.push(id);
      if (id === "1") throw down;
      return id;
    });
    expect([result, tried]).toEqual(["2", ["1", "2"]]);
    expect(client.endpoints.map(({ stats }) => [stats.successes, stats.failures])).toEqual([
      [1, 1],
      [2, 0],
    ]);
  });

  it("works on a real registry, from the first call on, which waits for the first answer", async () => {
    await using registry = memoryRegistry();
    const init = { service: "lorem", host: "127.0.0.1" };
    const registrars = [8001, 8002].map((port) => registry.registrar({ ...init, port }));
    await Promise.all(registrars.map((registrar) => registrar.register()));
    await using client = createClient({ instancer: registry.instancer("lorem"), factory: ({ port }) => port });
    const ports = [await client.call((port) => port), await client.call((port) => port)];
    expect(new Set(ports)).toEqual(new Set([8001, 8002]));
    await registrars[0]?.close();
    for (let n = 0; n < 4; n++) expect(await client.call((port) => port)).toBe(8002);
  });

  it("begins to discover at once", () => {
    const { client, instancer } = start();
    expect(instancer.listeners).toBe(1);
    expect(client.endpoints.map(({ client: id }) => id)).toEqual(["1", "2"]);
  });

  it("shows the endpointer's own array", () => {
    const { client, instancer } = start();
    const before = client.endpoints;
    expect(client.endpoints).toBe(before);
    instancer.update(lorems(3));
    expect(client.endpoints).not.toBe(before);
  });

  it("is ready when the service is known and the first clients are made", async () => {
    const { client, instancer, clock } = start({ factory: async ({ id }) => id }, null);
    const seen = settlement(client.ready());
    await clock.advance(100);
    expect(seen.state).toBe("pending");
    instancer.update(lorems(2));
    await clock.advance(0);
    expect(seen.state).toBe("fulfilled");
    expect(client.endpoints).toHaveLength(2);
    await expect(client.ready({ signal: AbortSignal.abort("left") })).rejects.toBe("left");
  });

  it("makes the first call wait for clients that are made asynchronously", async () => {
    const { client } = start({ factory: async ({ id }) => id, retry: false });
    expect(await client.call((id, { number }) => [id, number])).toEqual(["1", 1]);
  });

  it("takes the policy it is given, and its own environment", async () => {
    const picks = async (): Promise<readonly string[]> => {
      const { client } = start({ policy: random() });
      const ids: string[] = [];
      for (let n = 0; n < 20; n++) ids.push(await client.call((id) => id));
      return ids;
    };
    const ids = await picks();
    expect(await picks()).toEqual(ids);
    // Nothing that takes turns does that.
    expect(ids.some((id, n) => id === ids[n + 1])).toBe(true);
  });

  it("hands key and avoid to the policy", async () => {
    const keys: unknown[] = [];
    const policy: Policy = {
      name: "keys",
      create: () => ({
        picker:
          ([endpoint]) =>
          ({ key }) => {
            keys.push(key);
            return endpoint;
          },
      }),
    };
    const { client } = start({ policy });
    const avoid = new Set(client.endpoints.slice(0, 1));
    expect(await client.call((id) => id, { key: "user-7", avoid })).toBe("2");
    expect(new Set(keys)).toEqual(new Set(["user-7"]));
  });

  it("passes staleAfterMs, drainMs and close on to its endpoints", async () => {
    const { client, instancer, clock, closed } = start({ staleAfterMs: 100, drainMs: 50 });
    const seen = settlement(client.call(() => never));
    instancer.fail(down);
    await clock.advance(100);
    expect(client.endpoints).toEqual([]);
    expect(closed).toEqual(["2"]);
    await clock.advance(50);
    expect(closed).toEqual(["2", "1"]);
    expect(seen.state).toBe("pending");
  });

  it("takes retry's own environment before its own", async () => {
    const other = manualClock();
    const { client, clock } = start({ retry: { timeoutMs: 100, env: other.env } });
    const seen = settlement(client.call(() => never));
    await clock.advance(100);
    expect(seen.state).toBe("pending");
    await other.advance(100);
    expect(seen.error).toMatchObject({ reason: "deadline" });
  });

  it("does not change the options it is given", () => {
    const retry = Object.freeze({ maxAttempts: 2 });
    const clock = manualClock();
    const options = Object.freeze({ instancer: fixedInstancer("lorem", []), factory: () => 1, retry, env: clock.env });
    expect(() => createClient(options)).not.toThrow();
  });

  it.each<[object, string]>([
    [{ instancer: undefined }, "instancer"],
    [{ factory: undefined }, "factory"],
    [{ factory: "http://" }, "factory"],
    [{ policy: "round-robin" }, "policy"],
    [{ retry: true }, "retry"],
    [{ retry: 3 }, "retry"],
    [{ retry: null }, "retry"],
    [{ retry: { timeoutMs: -1 } }, "retry.timeoutMs"],
    [{ retry: { attempts: 3 } }, "retry.attempts"],
    [{ staleAfterMs: -1 }, "staleAfterMs"],
    [{ drainMs: Number.NaN }, "drainMs"],
    [{ close: 1 }, "close"],
    [{ env: { now: 1 } }, "env"],
    [{ timeoutMs: 100 }, "timeoutMs"],
  ])("refuses %o, before it subscribes to anything", (wrong, path) => {
    const instancer = drivenInstancer();
    const make = (): unknown => createClient({ instancer, factory: () => 1, ...wrong });
    expect(make).toThrow(InvalidOptionError);
    expect(make).toThrow(expect.objectContaining({ path }));
    expect(instancer.listeners).toBe(0);
  });

  it("leaves the instancer again when its policy cannot be made", async () => {
    const instancer = drivenInstancer();
    const policy: Policy = {
      name: "broken",
      create: () => {
        throw down;
      },
    };
    expect(() => createClient({ instancer, factory: () => 1, policy })).toThrow(down);
    expect(instancer.listeners).toBe(0);
  });
});

describe("retry: false", () => {
  it("is one attempt, still a RetryError", async () => {
    const { client } = start({ retry: false });
    const error = await retryError(client.call(() => Promise.reject(down)));
    expect([error.reason, error.errors]).toEqual(["attempts", [down]]);
  });

  it("still has the deadline, the caller's abort and the wait for a service that is not known yet", async () => {
    const { client, clock, instancer } = start({ retry: false }, null);
    const seen = settlement(client.call((id) => id));
    await clock.advance(5_000);
    instancer.update(lorems(1));
    await clock.advance(0);
    expect(seen).toEqual({ state: "fulfilled", value: "1" });
    const slow = settlement(client.call(() => never));
    await clock.advance(10_000);
    expect(slow.error).toMatchObject({ code: "RETRY", reason: "deadline" });
    const controller = new AbortController();
    const left = client.call(() => never, controller);
    controller.abort("left");
    expect(await rejection(left)).toBe("left");
    expect(clock.pending).toBe(0);
  });

  it("uses no budget: every call has its attempt", async () => {
    const { client } = start({ retry: false });
    for (let n = 0; n < 50; n++) {
      expect(await retryError(client.call(() => Promise.reject(down)))).toMatchObject({ reason: "attempts" });
    }
  });
});

describe("closing a client", () => {
  it("closes what it made and nothing else: the instancer goes on", async () => {
    const { client, instancer, closed, clock } = start();
    await client.close();
    expect([closed, instancer.listeners, clock.pending]).toEqual([["1", "2"], 0, 0]);
    expect(client.endpoints).toEqual([]);
    let changes = 0;
    instancer.subscribe(() => changes++);
    instancer.update([lorem(5)]);
    expect(changes).toBe(1);
  });

  it("is idempotent, and all calls share one promise, disposal too", async () => {
    const { client, closed } = start();
    const closing = client.close();
    expect(client.close()).toBe(closing);
    expect(client[Symbol.asyncDispose]()).toBe(closing);
    await closing;
    expect(client.close()).toBe(closing);
    expect(closed).toEqual(["1", "2"]);
  });

  it("lets the running calls end, up to drainMs", async () => {
    const { client, clock, closed } = start({ drainMs: 1_000 });
    const work = Promise.withResolvers<string>();
    const [quick, stuck] = [settlement(client.call(() => work.promise)), settlement(client.call(() => never))];
    const closing = settlement(client.close());
    await clock.advance(500);
    work.resolve("done");
    await clock.advance(0);
    expect([quick, closed, closing.state]).toEqual([{ state: "fulfilled", value: "done" }, ["1"], "pending"]);
    await clock.advance(500);
    expect([closed, closing.state, stuck.state]).toEqual([["1", "2"], "fulfilled", "pending"]);
  });

  it("rejects calls from then on, and those that wait or back off, with ClosedError", async () => {
    const waiting = start({}, null);
    const seen = settlement(waiting.client.call(() => "never"));
    await waiting.client.close();
    await waiting.clock.advance(0);
    expect(seen.error).toBeInstanceOf(ClosedError);

    const { client, clock } = start({ retry: { backoff: () => 100 } });
    const backingOff = settlement(client.call(() => Promise.reject(down)));
    await clock.advance(50);
    await client.close();
    const error = await rejection(client.call(() => "never"));
    expect(error).toMatchObject({ code: "CLOSED", name: "ClosedError" });
    expect((error as ClosedError).message).toBe('the client of service "lorem" is closed');
    await clock.advance(0); // not later: nothing is left that would keep the process alive
    expect(backingOff.error).toBeInstanceOf(ClosedError);
    expect(clock.pending).toBe(0);
  });

  it("rejects a call in its own first turn, before the drain is over", async () => {
    const { client } = start();
    const work = Promise.withResolvers<void>();
    void client.call(() => work.promise);
    const closing = client.close();
    expect(await rejection(client.call(() => "never"))).toBeInstanceOf(ClosedError);
    work.resolve();
    await closing;
  });

  it("does not disturb another client of the same instancer", async () => {
    const { client, instancer, clock } = start();
    const other: Client<string> = createClient({ instancer, factory: ({ id }) => id, env: clock.env });
    await client.close();
    expect(await other.call((id) => id)).toBe("1");
    await other.close();
    expect(instancer.listeners).toBe(0);
  });

  it("happens with await using", async () => {
    const closed: string[] = [];
    {
      await using client = createClient({
        instancer: fixedInstancer("lorem", [{ service: "lorem", host: "10.0.0.1", port: 80 }]),
        factory: ({ host }) => host,
        close: (host) => void closed.push(host),
      });
      expect(await client.call((host) => host)).toBe("10.0.0.1");
    }
    expect(closed).toEqual(["10.0.0.1"]);
  });

  it("leaves call usable on its own, without its client", async () => {
    const { client } = start();
    const { call } = client;
    expect(await call((id) => id)).toBe("1");
  });
});
