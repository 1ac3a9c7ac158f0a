import { type Instance, type NormalizedQuery, type Source, channels, createInstancer, systemEnv } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { manualClock } from "@rollcall/testing";
import { type FakeConsul, type Reply, answer, fakeConsul, record } from "../test/fake-consul.ts";
import { Polls } from "./polls.ts";
import { type ConsulSourceOptions, consulSource } from "./source.ts";

const ports = (instances: readonly Instance[] | undefined) => instances?.map(({ port }) => port);
const never: Reply = () => undefined;

interface Given {
  readonly query?: Partial<NormalizedQuery>;
  readonly options?: Partial<ConsulSourceOptions>;
}

function sourceOf(fake: FakeConsul, { query, options }: Given = {}) {
  return consulSource(
    fake.access(),
    { service: "lorem", tags: [], passingOnly: true, ...query },
    {
      waitMs: 30_000,
      timeoutMs: 5_000,
      stale: false,
      zoneKey: "zone",
      polls: new Polls(100),
      env: systemEnv,
      ...options,
    },
  );
}

/** A watch that can be read step by step, and is ended with the test. */
function watch(fake: FakeConsul, given?: Given) {
  const controller = new AbortController();
  const steps = sourceOf(fake, given).watch(controller.signal)[Symbol.asyncIterator]();
  return {
    next: () => steps.next(),
    abort: (reason?: unknown) => controller.abort(reason),
    [Symbol.dispose]: () => controller.abort(),
  };
}

/** Answers one after another, then never. */
function script(...replies: readonly Reply[]): Reply {
  const left = [...replies];
  return (request, response) => {
    if (request.path.startsWith("/v1/agent/")) response.writeHead(404).end();
    else (left.shift() ?? never)(request, response);
  };
}
const says =
  (index: number | string | undefined, ...records: unknown[]): Reply =>
  (_, response) =>
    answer(response, index, records);

const failure = (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => expect.unreachable("it should have failed"),
    (error: unknown) => error as Error,
  );
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe("what a consul source asks", () => {
  it("asks at once first, then waits for the index to move", async () => {
    await using fake = await fakeConsul(script(says(7, record(1)), says(9, record(2)), never));
    using steps = watch(fake);
    expect(ports((await steps.next()).value)).toEqual([1]);
    expect(ports((await steps.next()).value)).toEqual([2]);
    void steps.next().catch(() => undefined);
    await fake.request(3);
    expect(fake.requests.map((request) => [request.path, Object.fromEntries(request.query)])).toEqual([
      ["/v1/health/service/lorem", { passing: "1" }],
      ["/v1/health/service/lorem", { passing: "1", index: "7", wait: "30000ms" }],
      ["/v1/health/service/lorem", { passing: "1", index: "9", wait: "30000ms" }],
    ]);
  });

  it("sends the first tag to Consul and filters by all of them", async () => {
    const records = [record(1, { Tags: ["a", "b"] }), record(2, { Tags: ["a"] }), record(3, { Tags: ["A", "B"] })];
    await using fake = await fakeConsul(says(7, ...records));
    using steps = watch(fake, { query: { tags: ["a", "b"] } });
    expect(ports((await steps.next()).value)).toEqual([1]);
    expect((await fake.request(1)).query.getAll("tag")).toEqual(["a"]);
  });

  it("asks for what does not pass, for another datacenter and for stale data only when told to", async () => {
    await using fake = await fakeConsul(says(7));
    using steps = watch(fake, { query: { passingOnly: false }, options: { datacenter: "dc2", stale: true } });
    await steps.next();
    expect(Object.fromEntries((await fake.request(1)).query)).toEqual({ dc: "dc2", stale: "1" });
  });

  it("uses the datacenter that a given client has by default", async () => {
    await using fake = await fakeConsul(says(7));
    const access = fake.access();
    const api = Object.assign(access.api, { _defaults: { dc: "dc3" } });
    const options = { waitMs: 1_000, timeoutMs: 1_000, stale: false, zoneKey: "zone", env: systemEnv };
    const source = consulSource(
      { ...access, api },
      { service: "x", tags: [], passingOnly: true },
      { ...options, polls: new Polls(1) },
    );
    await source.watch(new AbortController().signal)[Symbol.asyncIterator]().next();
    expect((await fake.request(1)).query.get("dc")).toBe("dc3");
  });

  it("keeps an index exactly that is more than a number holds", async () => {
    const index = "18446744073709551615";
    await using fake = await fakeConsul(script(says(index, record(1)), says(index, record(1))));
    using steps = watch(fake);
    await steps.next();
    await steps.next();
    expect((await fake.request(2)).query.get("index")).toBe(index);
  });
});

describe.concurrent("what a consul source makes of an index", () => {
  it.each([undefined, "0", "NaN", "-5", "1e3", "", "7, 7"])(
    "does not wait for the index %j, yields what came with it, and asks again only after a second",
    async (index) => {
      await using fake = await fakeConsul(says(index, record(1)));
      using steps = watch(fake);
      expect(ports((await steps.next()).value)).toEqual([1]);
      expect(ports((await steps.next()).value)).toEqual([1]);
      const [first, second] = fake.requests;
      expect(second?.query.has("index")).toBe(false);
      expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThan(900);
    },
  );

  it.each([
    ["backwards", 50],
    ["to 0", 0],
    ["away", undefined],
  ])("yields a good answer although the index went %s, and ends the watch", async (_, index) => {
    await using fake = await fakeConsul(script(says(100, record(1)), says(index, record(2))));
    using steps = watch(fake);
    await steps.next();
    expect(ports((await steps.next()).value)).toEqual([2]);
    expect(await steps.next()).toEqual({ done: true, value: undefined });
    expect(fake.requests.length).toBe(2);
  });

  it.each([50, 0, undefined])(
    "ends the watch without a word when an empty answer takes the index back to %s",
    async (index) => {
      await using fake = await fakeConsul(script(says(100, record(1)), says(index)));
      using steps = watch(fake);
      await steps.next();
      expect(await steps.next()).toEqual({ done: true, value: undefined });
    },
  );

  it("believes an empty answer whose index moved on", async () => {
    await using fake = await fakeConsul(script(says(100, record(1)), says(101)));
    using steps = watch(fake);
    await steps.next();
    expect((await steps.next()).value).toEqual([]);
  });

  describe("of a service that empties soon after a lost watch, as a restarted agent makes it look", () => {
    /** A clock that the test sets; timers are real. */
    const clock = () => {
      let aheadMs = 0;
      return { env: { ...systemEnv, now: () => systemEnv.now() + aheadMs }, skip: (ms: number) => (aheadMs += ms) };
    };
    const read = async (source: Source): Promise<unknown[]> => {
      const seen: unknown[] = [];
      try {
        for await (const set of source.watch(new AbortController().signal)) seen.push(ports(set));
        seen.push("lost");
      } catch {
        seen.push("failed");
      }
      return seen;
    };
    const fails: Reply = (_, response) => response.writeHead(500).end();

    it("ends the watch instead of saying so", async () => {
      await using fake = await fakeConsul(
        script(fails, says(3, record(1)), says(4), says(4), says(5, record(1)), fails),
      );
      const source = sourceOf(fake);
      expect(await read(source)).toEqual(["failed"]);
      expect(await read(source)).toEqual([[1], "lost"]);
      expect(await read(source)).toEqual([[], [1], "failed"]);
    });

    it("believes it half a minute later", async () => {
      await using fake = await fakeConsul(script(fails, says(3, record(1)), says(4), fails));
      const { env, skip } = clock();
      const source = sourceOf(fake, { options: { env } });
      expect(await read(source)).toEqual(["failed"]);
      skip(30_000);
      expect(await read(source)).toEqual([[1], [], "failed"]);
    });

    it("shows no client an empty set", async () => {
      await using fake = await fakeConsul(
        script(
          says(9, record(1), record(2)),
          fails,
          says(3, record(1), record(2)),
          says(4),
          says(4),
          says(5, record(2)),
        ),
      );
      await using instancer = createInstancer("lorem", sourceOf(fake));
      const seen: unknown[] = [];
      const healed = Promise.withResolvers<void>();
      instancer.subscribe(() => {
        seen.push([instancer.snapshot.state, ...(ports(instancer.snapshot.instances) ?? [])]);
        if (instancer.snapshot.instances.length === 1) healed.resolve();
      });
      await healed.promise;
      expect(seen).toEqual([
        ["live", 1, 2],
        ["stale", 1, 2],
        ["live", 1, 2],
        ["live", 2],
      ]);
    });
  });

  it("starts from no index in a new watch, whatever the last one knew", async () => {
    await using fake = await fakeConsul(
      script(says(100, record(1)), (_, response) => response.writeHead(500).end(), says(3)),
    );
    const source = sourceOf(fake);
    const { signal } = new AbortController();
    const seen: unknown[] = [];
    await failure(
      (async () => {
        for await (const set of source.watch(signal)) seen.push(set.length);
      })(),
    );
    await source.watch(signal)[Symbol.asyncIterator]().next();
    expect(seen).toEqual([1]);
    const polls = fake.requests.filter(({ path }) => path.startsWith("/v1/health/"));
    expect(polls.map((request) => request.query.get("index"))).toEqual([null, "100", null]);
  });
});

describe.concurrent("how often a consul source asks", () => {
  it("never runs hot: two polls at once, then five a second at most, however fast Consul answers", async () => {
    let index = 1;
    await using fake = await fakeConsul((_, response) => answer(response, ++index, [record(1)]));
    using steps = watch(fake);
    const startMs = performance.now();
    while (performance.now() - startMs < 1_500) await steps.next();
    const mostly = 2 + (performance.now() - startMs) / 195; // a timer may be a little early
    expect(fake.requests.length).toBeGreaterThanOrEqual(5); // and does not sleep either
    expect(fake.requests.length).toBeLessThanOrEqual(mostly);
  });

  it("asks again at once after news, or the next news would be late", async () => {
    let index = 1;
    await using fake = await fakeConsul((_, response) => answer(response, ++index, [record(index)]));
    using steps = watch(fake);
    const startMs = performance.now();
    for (let news = 0; news < 50; news++) await steps.next();
    expect(performance.now() - startMs).toBeLessThan(2_000); // by the pace of polls without news, 16 s
  });

  it("reads a service that never rests two hundred times a second at most, after a burst", async () => {
    let index = 1;
    const clock = manualClock();
    await using fake = await fakeConsul((_, response) => answer(response, ++index, [record(index)]));
    using steps = watch(fake, { options: { env: clock.env } });
    for (let news = 0; news < 202; news++) await steps.next();
    let isThere = false;
    const next = steps.next().then(() => (isThere = true));
    await pause(100);
    expect(isThere).toBe(false);
    await clock.advance(5);
    await next;
  });

  it("takes its time for news, too, soon after a watch was lost: an ill Consul is not to be beaten", async () => {
    const clock = manualClock({ random: () => 0 });
    let index = 10;
    let step = -1; // backwards at first: the watch is lost
    await using fake = await fakeConsul((_, response) => answer(response, (index += step), [record(index)]));
    const source = sourceOf(fake, { options: { env: clock.env } });
    const { signal } = new AbortController();
    for await (const _ of source.watch(signal)) step = step === -1 && fake.requests.length === 2 ? 1 : step;
    const before = fake.requests.length;
    const steps = source.watch(signal)[Symbol.asyncIterator]();
    let heard = 0;
    const hearing = (async () => {
      while (heard < 40) heard += (await steps.next()).done === true ? 40 : 1;
    })();
    for (let tenth = 0; tenth < 10; tenth++) {
      await pause(20);
      await clock.advance(100);
    }
    expect(fake.requests.length - before).toBeLessThanOrEqual(4);
    for (let second = 0; second < 6; second++) {
      await clock.advance(1_000);
      await pause(20);
    }
    await hearing;
    await steps.return?.();
  });

  it("counts what it asks the agent, of a service that comes and goes all the time", async () => {
    let index = 1;
    await using fake = await fakeConsul((request, response) => {
      if (request.path.startsWith("/v1/agent/")) response.writeHead(404).end();
      else answer(response, ++index, index % 2 === 0 ? [record(1)] : []);
    });
    using steps = watch(fake);
    const startMs = performance.now();
    while (performance.now() - startMs < 2_000) await steps.next();
    // Three at once, and three a second; each goes with an answer that there is none, and one that there is.
    const asked = fake.requests.filter(({ path }) => path.startsWith("/v1/agent/")).length;
    expect(asked).toBeGreaterThanOrEqual(2);
    expect(asked).toBeLessThanOrEqual(3 + (performance.now() - startMs) / 330);
    expect(fake.requests.length).toBeLessThanOrEqual(3 * asked + 3);
  });

  it("keeps that pace across watches that are lost again and again", async () => {
    let index = 1_000;
    await using fake = await fakeConsul((_, response) => answer(response, --index, [record(1)]));
    const source = sourceOf(fake);
    const { signal } = new AbortController();
    const startMs = performance.now();
    while (performance.now() - startMs < 1_500) for await (const _ of source.watch(signal)) void _;
    expect(fake.requests.length).toBeLessThanOrEqual(10);
  });

  it.each<[string, Reply]>([
    ["errors", (_, response) => response.writeHead(500).end()],
    ["hangs up", (_, response) => response.destroy()],
    ["talks junk", (_, response) => response.end("<html>")],
    ["gives index 0", says(0, record(1))],
    ["goes backwards", (request, response) => answer(response, 1e15 - Math.round(request.atMs), [record(1)])],
  ])("stays below six requests a second under core's loop when Consul %s", async (_, reply) => {
    await using fake = await fakeConsul(reply);
    await using instancer = createInstancer("lorem", sourceOf(fake));
    instancer.subscribe(() => undefined);
    await pause(2_000);
    expect(fake.requests.length).toBeGreaterThan(1);
    expect(fake.requests.length).toBeLessThanOrEqual(12);
  });

  it("does not come back in step with others after an outage", async () => {
    await using fake = await fakeConsul((_, response) => response.writeHead(500).end());
    const services = ["a", "b", "c", "d", "e", "f"];
    const instancers = services.map((service) => createInstancer(service, sourceOf(fake, { query: { service } })));
    for (const instancer of instancers) instancer.subscribe(() => undefined);
    await pause(3_000);
    await Promise.all(instancers.map((instancer) => instancer.close()));
    const retries = services.map((service) =>
      fake.requests
        .filter(({ path }) => path.endsWith(`/${service}`))
        .slice(1)
        .map(({ atMs }) => atMs),
    );
    const spread = (nth: number): number =>
      Math.max(...retries.map((times) => times[nth] ?? 0)) - Math.min(...retries.map((times) => times[nth] ?? 0));
    expect(Math.max(spread(0), spread(1), spread(2))).toBeGreaterThan(50);
  });

  it("ends its wait at once when the signal aborts", async () => {
    await using fake = await fakeConsul(says(0, record(1)));
    using steps = watch(fake);
    await steps.next();
    const waiting = steps.next().catch(() => ({ done: true }));
    const startMs = performance.now();
    steps.abort();
    expect((await waiting).done).toBe(true);
    // It would be a second.
    expect(performance.now() - startMs).toBeLessThan(500);
    expect(fake.requests.length).toBe(1);
  });
});

describe("when a consul source fails", () => {
  it.each([400, 403, 429, 500, 502])("throws at once on an answer %i", async (status) => {
    await using fake = await fakeConsul((_, response) => response.writeHead(status).end("no"));
    using steps = watch(fake);
    const startMs = performance.now();
    expect(await failure(steps.next())).toMatchObject({ name: "ConsulError", statusCode: status });
    expect(performance.now() - startMs).toBeLessThan(500);
  });

  it.each<[string, Reply]>([
    [
      "HTML instead of JSON",
      (_, response) => response.writeHead(200, { "content-type": "text/html" }).end("<html></html>"),
    ],
    ["10 MB of junk", (_, response) => response.end("x".repeat(10_000_000))],
    ["an empty body", (_, response) => response.end()],
    ["an object instead of a list", (_, response) => answer(response, 8, { error: "no" })],
    ["null instead of a list", (_, response) => answer(response, 8, null)],
    ["a weight that is the bare word NaN", (_, response) => response.end('[{"Service":{"Weights":{"Passing":NaN}}}]')],
    [
      "a body that is cut off in the middle",
      (_, response) => {
        response.writeHead(200, { "content-length": "1000" }).write('[{"Node":');
        setTimeout(() => response.destroy(), 10);
      },
    ],
    ["only records that make no sense, where there were good ones", says(8, null, record(0))],
  ])("keeps the last good set as stale after %s", async (_, reply) => {
    await using fake = await fakeConsul(script(says(7, record(1)), reply));
    await using instancer = createInstancer("lorem", sourceOf(fake));
    const changes: string[] = [];
    const stale = Promise.withResolvers<void>();
    instancer.subscribe(() => {
      changes.push(instancer.snapshot.state);
      if (instancer.snapshot.state === "stale") stale.resolve();
    });
    await stale.promise;
    expect(changes).toEqual(["live", "stale"]);
    expect(ports(instancer.snapshot.instances)).toEqual([1]);
  });

  it.each([400, 403, 429, 500])("goes on after an answer %i", async (status) => {
    await using fake = await fakeConsul(
      script(says(7, record(1)), (_, response) => response.writeHead(status).end("no"), says(8, record(2))),
    );
    await using instancer = createInstancer("lorem", sourceOf(fake));
    const healed = Promise.withResolvers<void>();
    instancer.subscribe(() => {
      if (ports(instancer.snapshot.instances)?.[0] === 2) healed.resolve();
    });
    await healed.promise;
    expect(instancer.snapshot.state).toBe("live");
  });

  it("notices a poll that Consul never answers, soon after its wait is over", async () => {
    await using fake = await fakeConsul(script(says(7, record(1)), never));
    using steps = watch(fake, { options: { waitMs: 160 } });
    await steps.next();
    const startMs = performance.now();
    expect(await failure(steps.next())).toMatchObject({ code: "TIMEOUT", timeoutMs: 2_170 });
    expect(performance.now() - startMs).toBeLessThan(2_500);
  });

  it("does not wait that long for a first answer, which Consul never holds back", async () => {
    await using fake = await fakeConsul(never);
    using steps = watch(fake, { options: { waitMs: 600_000, timeoutMs: 60 } });
    expect(await failure(steps.next())).toMatchObject({ code: "TIMEOUT", timeoutMs: 60 });
  });

  it("ends a parked poll at once when the signal aborts, and closes its socket", async () => {
    await using fake = await fakeConsul(script(says(7, record(1)), never));
    using steps = watch(fake);
    await steps.next();
    const parked = failure(steps.next());
    const request = await fake.request(2);
    const startMs = performance.now();
    steps.abort(new Error("bye"));
    expect((await parked).message).toBe("bye");
    await request.closed;
    expect(performance.now() - startMs).toBeLessThan(1_000);
  });

  it("does not take it for an empty service when it may not be read any more, which Consul does not say", async () => {
    const polls = script(says(7, record(1)), says(9));
    await using fake = await fakeConsul((request, response) => {
      if (request.path === "/v1/agent/health/service/name/lorem") response.writeHead(403).end("Permission denied");
      else polls(request, response);
    });
    using steps = watch(fake);
    expect(ports((await steps.next()).value)).toEqual([1]);
    expect(await failure(steps.next())).toMatchObject({ name: "ConsulError", statusCode: 403 });
  });

  it("says from the beginning that a service may not be read, instead of knowing nobody", async () => {
    await using fake = await fakeConsul((request, response) => {
      if (request.path.startsWith("/v1/agent/")) response.writeHead(403).end("Permission denied");
      else answer(response, 1, []);
    });
    using steps = watch(fake);
    expect(await failure(steps.next())).toMatchObject({ name: "ConsulError", statusCode: 403 });
  });

  it("does not ask the agent about another datacenter", async () => {
    await using fake = await fakeConsul((request, response) => {
      if (request.path.startsWith("/v1/agent/")) response.writeHead(403).end("Permission denied");
      else answer(response, 1, []);
    });
    using steps = watch(fake, { options: { datacenter: "dc2" } });
    expect((await steps.next()).value).toEqual([]);
  });

  it.each([200, 404, 429, 500, 503])("believes it when the agent answers %s instead of refusing", async (status) => {
    const polls = script(says(7, record(1)), says(9), says(10));
    await using fake = await fakeConsul((request, response) => {
      if (request.path === "/v1/agent/health/service/name/lorem") response.writeHead(status).end();
      else polls(request, response);
    });
    using steps = watch(fake);
    await steps.next();
    expect((await steps.next()).value).toEqual([]);
    expect((await steps.next()).value).toEqual([]);
    // Once is enough.
    expect(fake.requests.map(({ path }) => path.split("/")[2])).toEqual(["health", "health", "agent", "health"]);
  });

  it("says so when a newer Consul tells that it left everything out", async () => {
    await using fake = await fakeConsul((_, response) => {
      response.setHeader("x-consul-results-filtered-by-acls", "true");
      answer(response, 1, []);
    });
    using steps = watch(fake);
    expect((await failure(steps.next())).message).toContain('may not read service "lorem"');
  });

  it("does not believe a server that has neither a leader nor an instance", async () => {
    await using fake = await fakeConsul((_, response) => {
      response.setHeader("x-consul-knownleader", "false");
      answer(response, 1, []);
    });
    using steps = watch(fake, { options: { stale: true } });
    expect((await failure(steps.next())).message).toContain("no leader");
  });

  it("believes a server without a leader that has instances", async () => {
    await using fake = await fakeConsul((_, response) => {
      response.setHeader("x-consul-knownleader", "false");
      answer(response, 1, [record(1)]);
    });
    using steps = watch(fake, { options: { stale: true } });
    expect(ports((await steps.next()).value)).toEqual([1]);
  });
});

describe("what a consul source reports", () => {
  it("skips bad records, and reports each answer that has some on the channel", async () => {
    await using fake = await fakeConsul(script(says(7, null, record(1), record(0)), says(8, record(1))));
    const messages: unknown[] = [];
    const unsubscribe = channels.badRecord.subscribe((message) => messages.push(message));
    using steps = watch(fake);
    expect(ports((await steps.next()).value)).toEqual([1]);
    await steps.next();
    unsubscribe();
    expect(messages).toEqual([
      {
        registry: "consul",
        service: "lorem",
        skipped: 2,
        errors: [
          { record: null, error: expect.any(TypeError) },
          { record: record(0), error: expect.objectContaining({ path: "port" }) },
        ],
      },
    ]);
  });

  it("does not take an answer of nothing but bad records for an empty one, and says why", async () => {
    await using fake = await fakeConsul(says(7, record(0), null));
    using steps = watch(fake);
    const error = await failure(steps.next());
    expect(error.message).toBe(
      'consul: none of 2 records of service "lorem" is usable: invalid option port: expected an integer from 1 to 65535, got 0',
    );
  });

  it("does not hold it against an answer that its good records have other tags", async () => {
    await using fake = await fakeConsul(says(7, record(0), record(1, { Tags: ["a"] })));
    using steps = watch(fake, { query: { tags: ["a", "b"] } });
    expect((await steps.next()).value).toEqual([]);
  });

  it("is not disturbed by a listener that throws, and loses no update by it", async () => {
    await using fake = await fakeConsul(script(says(7, record(1)), says(8, record(2)), says(9, record(3))));
    await using instancer = createInstancer("lorem", sourceOf(fake));
    const seen: unknown[] = [];
    const done = Promise.withResolvers<void>();
    instancer.subscribe(() => {
      throw new Error("mine");
    });
    instancer.subscribe(() => {
      seen.push(ports(instancer.snapshot.instances));
      if (seen.length === 3) done.resolve();
    });
    await done.promise;
    expect(seen).toEqual([[1], [2], [3]]);
  });

  it("tells once of what two watches say, when the index goes backwards in between", async () => {
    await using fake = await fakeConsul(script(says(7, record(1)), says(3, record(2)), says(3, record(2)), never));
    await using instancer = createInstancer("lorem", sourceOf(fake));
    const seen: unknown[] = [];
    instancer.subscribe(() => seen.push(ports(instancer.snapshot.instances)));
    await fake.request(4);
    expect(seen).toEqual([[1], [2]]);
  });

  it("tells nobody of an answer that says nothing new", async () => {
    await using fake = await fakeConsul(script(says(7, record(1), record(2)), says(8, record(2), record(1)), never));
    await using instancer = createInstancer("lorem", sourceOf(fake));
    let notified = 0;
    instancer.subscribe(() => notified++);
    await fake.request(3);
    expect(notified).toBe(1);
  });
});
