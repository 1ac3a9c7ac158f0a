import { type InstanceInit, type Registration, createInstance, createRegistrar } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { type FakeConsul, type Reply, type SeenRequest, answer, fakeConsul } from "../test/fake-consul.ts";
import type { ConsulCheck } from "./check.ts";
import { type Background, type ConsulSinkOptions, consulSink } from "./sink.ts";

interface Registered {
  readonly ID: string;
  readonly Name: string;
  readonly Check: { readonly CheckID: string; readonly Notes: string; Status: string; ServiceID?: string };
}

/** An agent that remembers what it is told, and answers as Consul 1.8 does. */
class Agent {
  readonly services = new Map<string, Registered>();
  /** What the catalog says of a service; by default what the agent knows. */
  status = "passing";
  visible = true;
  readonly reply: Reply = (request, response) => {
    const [, id = ""] =
      /^\/v1\/agent\/(?:service\/deregister|check\/pass)\/(.*)$/.exec(decodeURIComponent(request.path)) ?? [];
    if (request.path === "/v1/agent/service/register") {
      const body = JSON.parse(request.body) as Registered;
      body.Check.ServiceID = body.ID;
      this.services.set(body.ID, body);
      return response.writeHead(200).end();
    }
    if (request.path.startsWith("/v1/agent/service/deregister/")) {
      this.services.delete(id);
      return response.writeHead(200).end();
    }
    if (request.path.startsWith("/v1/agent/check/pass/")) {
      if ([...this.services.values()].some(({ Check }) => Check.CheckID === id)) return response.writeHead(200).end();
      return response.writeHead(500).end(`CheckID "${id}" does not have associated TTL`);
    }
    const known = [...this.services.values()];
    if (request.path === "/v1/agent/checks") {
      return answer(response, undefined, Object.fromEntries(known.map(({ Check }) => [Check.CheckID, Check])));
    }
    if (!this.visible) return answer(response, 1, []);
    return answer(
      response,
      1,
      known.map(({ Check, ...Service }) => ({
        Service,
        Checks: [{ ...Check, Status: this.status, Output: "because\n" }],
      })),
    );
  };
}

const lorem: InstanceInit = { service: "lorem", host: "10.0.0.1", port: 80 };
const never = new AbortController().signal;
const failure = (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => expect.unreachable("it should have failed"),
    (error: unknown) => error as Error,
  );

function sinkOf(fake: FakeConsul, more: Partial<ConsulSinkOptions> = {}) {
  return consulSink(fake.access(), {
    check: {},
    deregisterCriticalAfterMs: 60_000,
    timeoutMs: 5_000,
    zoneKey: "zone",
    background: new Set(),
    ...more,
  });
}

function register(
  fake: FakeConsul,
  init: InstanceInit = lorem,
  more?: Partial<ConsulSinkOptions>,
): Promise<Registration> {
  return sinkOf(fake, more).register(createInstance(init), never);
}

const lines = (requests: readonly SeenRequest[]) =>
  requests.map(({ method, path, query }) => [method, path, ...query.values()].join(" "));

describe("registering with a consul sink", () => {
  it("tells the agent everything, with a check that starts as passing, and looks whether a client sees it", async () => {
    const agent = new Agent();
    await using fake = await fakeConsul(agent.reply);
    await register(fake, { ...lorem, weight: 3, zone: "a", tags: ["t"], metadata: { k: "v" } });
    expect(lines(fake.requests)).toEqual([
      "PUT /v1/agent/service/register true",
      expect.stringMatching(/^PUT \/v1\/agent\/check\/pass\/service%3Alorem-10.0.0.1-80%3A[0-9a-f-]{36}%3A1$/),
      'GET /v1/health/service/lorem Service.ID == "lorem-10.0.0.1-80"',
    ]);
    expect(fake.requests[0]?.query.has("replace-existing-checks")).toBe(true);
    expect(JSON.parse(fake.requests[0]?.body ?? "")).toEqual({
      ID: "lorem-10.0.0.1-80",
      Name: "lorem",
      Address: "10.0.0.1",
      Port: 80,
      Tags: ["t"],
      Meta: { k: "v", zone: "a" },
      Weights: { Passing: 3, Warning: 3 },
      Check: {
        CheckID: expect.stringMatching(/^service:lorem-10.0.0.1-80:[0-9a-f-]{36}:1$/),
        Name: "Service 'lorem' check",
        Notes: expect.stringMatching(/^announced by rollcall [0-9a-f-]{36}$/),
        Status: "passing",
        TTL: "30000ms",
        DeregisterCriticalServiceAfter: "60000ms",
      },
    });
  });

  it("resolves only when the catalog has the instance, and lists it as passing", async () => {
    const agent = new Agent();
    agent.visible = false;
    await using fake = await fakeConsul(agent.reply);
    let registered = false;
    const registering = register(fake).then(() => (registered = true));
    await fake.request(4);
    agent.visible = true;
    agent.status = "critical";
    await fake.request(6);
    expect(registered).toBe(false);
    agent.status = "passing";
    await registering;
  });

  it("rejects with what is missing when the instance does not appear in time", async () => {
    const agent = new Agent();
    agent.status = "critical";
    await using fake = await fakeConsul(agent.reply);
    const startMs = performance.now();
    const { message } = await failure(register(fake));
    expect(message).toMatch(
      /^consul: the agent accepted lorem-10.0.0.1-80, but a client would not see it: check service:\S+ is critical \(because\)$/,
    );
    expect(performance.now() - startMs).toBeLessThan(5_000);
    expect(agent.services.size).toBe(1); // the next try finds it there
  });

  it.each<[string, ConsulCheck, (agent: Agent) => void]>([
    ["never lists it as passing", {}, (agent) => (agent.status = "critical")],
    ["never shows it", {}, (agent) => (agent.visible = false)],
    ["never shows it", { tcp: true }, (agent) => (agent.visible = false)],
    ["forgets it at once, again and again", {}, (agent) => (agent.services.set = () => agent.services)],
    ["forgets it at once, again and again", { tcp: true }, (agent) => (agent.services.set = () => agent.services)],
  ])("looks soon at first, then costs at most five requests a second, when Consul %s: %j", async (_, check, ails) => {
    const agent = new Agent();
    ails(agent);
    await using fake = await fakeConsul(agent.reply);
    await failure(register(fake, lorem, { check }));
    const times = fake.requests.map(({ atMs }) => atMs - (fake.requests[0]?.atMs ?? 0));
    expect(times.filter((ms) => ms < 900).length).toBeGreaterThanOrEqual(5);
    const later = times.filter((ms) => ms >= 1_000);
    expect(later.length).toBeGreaterThanOrEqual(3);
    for (const ms of later) {
      expect(later.filter((each) => each >= ms && each < ms + 1_000).length).toBeLessThanOrEqual(5);
    }
    expect(fake.requests.length).toBeLessThanOrEqual(4.5 * 5);
  });

  it("keeps a short TTL alive while it waits to be seen", async () => {
    const agent = new Agent();
    agent.visible = false;
    await using fake = await fakeConsul(agent.reply);
    const registering = register(fake, lorem, { check: { ttlMs: 900 } });
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    agent.visible = true;
    await registering;
    const beats = fake.requests.filter(({ path }) => path.includes("/check/pass/")).map(({ atMs }) => atMs);
    expect(beats.length).toBeGreaterThan(3);
    for (const [n, atMs] of beats.slice(1).entries()) expect(atMs - (beats[n] ?? 0)).toBeLessThan(900);
  });

  it.each<ConsulCheck>([{}, { tcp: true }])(
    "writes again at once when another process of this id takes its leave in that moment: %j",
    async (check) => {
      const agent = new Agent();
      await using fake = await fakeConsul((request, response) => {
        agent.reply(request, response);
        if (fake.requests.length === 1) agent.services.clear();
      });
      const startMs = performance.now();
      await register(fake, lorem, { check });
      expect(performance.now() - startMs).toBeLessThan(500);
      expect(lines(fake.requests).filter((line) => line.includes("/service/register")).length).toBe(2);
      expect(agent.services.size).toBe(1);
    },
  );

  it.each<ConsulCheck>([{}, { tcp: true }])(
    "does not insist when somebody announces its id after it: %j",
    async (check) => {
      const agent = new Agent();
      await using fake = await fakeConsul((request, response) => {
        agent.reply(request, response);
        if (fake.requests.length > 1) return;
        const [ours] = agent.services.values();
        if (ours === undefined) expect.unreachable();
        const Check = { ...ours.Check, CheckID: "theirs", Notes: "announced by rollcall 2" };
        agent.services.set(ours.ID, { ...ours, Check });
      });
      await register(fake, lorem, { check });
      expect(lines(fake.requests).filter((line) => line.includes("/service/register")).length).toBe(1);
    },
  );

  it("does not take somebody else's record under the same id for its own", async () => {
    const agent = new Agent();
    await using fake = await fakeConsul((request, response) => {
      if (request.method === "PUT") return response.writeHead(200).end(); // and forgets it
      return agent.reply(request, response);
    });
    agent.services.set("lorem-10.0.0.1-80", {
      ID: "lorem-10.0.0.1-80",
      Name: "lorem",
      Check: { CheckID: "service:lorem-10.0.0.1-80", Notes: "theirs", Status: "passing" },
    });
    expect((await failure(register(fake))).message).toContain("the catalog does not have it yet");
  });

  it.each<[string, Reply]>([
    ["is forbidden", (_, response) => response.writeHead(403).end("Permission denied")],
    [
      "is filtered by the token's rights",
      (_, response) => {
        response.setHeader("x-consul-results-filtered-by-acls", "true");
        answer(response, 1, []);
      },
    ],
  ])("believes the agent when looking %s", async (_, look) => {
    const agent = new Agent();
    await using fake = await fakeConsul((request, response) =>
      request.path.startsWith("/v1/health/") ? look(request, response) : agent.reply(request, response),
    );
    await register(fake);
    expect(fake.requests.length).toBe(3);
  });

  it.each([400, 403, 500])("rejects at once with Consul's own words on an answer %i", async (status) => {
    await using fake = await fakeConsul((_, response) => response.writeHead(status).end("Invalid Service Meta"));
    expect(await failure(register(fake))).toMatchObject({
      statusCode: status,
      message: `consul: PUT /agent/service/register: answered ${status}: Invalid Service Meta`,
    });
    expect(fake.requests.length).toBe(1);
  });

  it("gives up after its time when the agent hangs", async () => {
    await using fake = await fakeConsul(() => undefined);
    expect(await failure(register(fake, lorem, { timeoutMs: 60 }))).toMatchObject({ code: "TIMEOUT", timeoutMs: 60 });
  });

  it.each([
    ["a`b", 'Service.ID == "a`b"'],
    ['a"b', 'Service.ID == `a"b`'],
    ["a\\b", "Service.ID == `a\\b`"],
    ['a"`b', undefined],
  ])("looks for the id %s in a way that Consul can read", async (id, filter) => {
    const agent = new Agent();
    await using fake = await fakeConsul(agent.reply);
    await register(fake, { ...lorem, id });
    expect(fake.requests.at(-1)?.query.get("filter")).toBe(filter ?? null);
  });
});

describe("aborting a registration", () => {
  it.each([
    ["while the agent has not answered", "/v1/agent/service/register"],
    ["while the instance has not appeared", "/v1/health/service/lorem"],
  ])("rejects at once with the reason %s, and takes back what the agent may have accepted", async (_, hangsAt) => {
    const agent = new Agent();
    await using fake = await fakeConsul((request, response) => {
      if (request.path !== hangsAt) return agent.reply(request, response);
      if (request.method === "PUT") agent.services.set("lorem-10.0.0.1-80", JSON.parse(request.body) as Registered);
      return undefined;
    });
    const controller = new AbortController();
    const background = new Set<Background>();
    const sink = sinkOf(fake, { background });
    const failed = failure(sink.register(createInstance(lorem), controller.signal));
    await fake.request(hangsAt.includes("health") ? 2 : 1);
    const reason = new Error("changed my mind");
    const startMs = performance.now();
    controller.abort(reason);
    expect(await failed).toBe(reason);
    expect(performance.now() - startMs).toBeLessThan(1_000); // it would hang for 4.5 s
    expect(background.size).toBe(1);
    await Promise.all([...background].map(({ done }) => done));
    expect([agent.services.size, background.size]).toEqual([0, 0]);
  });

  it("takes back what takes effect only after the caller has left", async () => {
    const agent = new Agent();
    await using fake = await fakeConsul((request, response) => {
      if (!request.path.endsWith("/register")) return agent.reply(request, response);
      return setTimeout(() => agent.reply(request, response), 1_000); // whether somebody waits for it or not
    });
    const controller = new AbortController();
    const background = new Set<Background>();
    const failed = failure(sinkOf(fake, { background }).register(createInstance(lorem), controller.signal));
    await fake.request(1);
    controller.abort();
    await failed;
    await Promise.all([...background].map(({ done }) => done));
    expect([lines(fake.requests).filter((line) => line.includes("deregister")).length, agent.services.size]).toEqual([
      2, 0,
    ]);
  });

  it("does not let that removal overtake the next registration", async () => {
    const agent = new Agent();
    let hangs = true;
    await using fake = await fakeConsul((request, response) => {
      if (hangs && request.path.startsWith("/v1/health/")) return undefined;
      if (request.path === "/v1/agent/checks") return setTimeout(() => agent.reply(request, response), 100);
      return agent.reply(request, response);
    });
    const sink = sinkOf(fake);
    const controller = new AbortController();
    const failed = failure(sink.register(createInstance(lorem), controller.signal));
    await fake.request(3);
    controller.abort();
    await failed;
    hangs = false;
    await sink.register(createInstance(lorem), never);
    expect(fake.requests.map(({ path }) => path.split("/").slice(2, 5).join("/"))).toEqual([
      "agent/service/register",
      "agent/check/pass",
      "health/service/lorem", // aborted here
      "agent/checks",
      "agent/service/deregister",
      "agent/service/register",
      "agent/check/pass",
      "health/service/lorem",
    ]);
    expect(agent.services.size).toBe(1);
  });

  it("writes nothing when the signal has aborted already", async () => {
    await using fake = await fakeConsul(new Agent().reply);
    const reason = new Error("too late");
    expect(await failure(sinkOf(fake).register(createInstance(lorem), AbortSignal.abort(reason)))).toBe(reason);
    expect(fake.requests.length).toBe(0);
  });
});

describe("renewing a consul registration", () => {
  it.each<[ConsulCheck, number]>([
    [{}, 5_000],
    [{ ttlMs: 3_000 }, 1_000],
    [{ ttlMs: 60_000 }, 5_000],
    [{ http: "/health" }, 5_000],
    [{ tcp: true }, 5_000],
  ])(
    "is due at a third of the TTL, and soon enough to notice an agent that has forgotten: %j",
    async (check, everyMs) => {
      await using fake = await fakeConsul(new Agent().reply);
      expect((await register(fake, lorem, { check })).renewEveryMs).toBe(everyMs);
    },
  );

  it("passes the TTL check, whatever is in the id", async () => {
    const agent = new Agent();
    await using fake = await fakeConsul(agent.reply);
    const registration = await register(fake, { ...lorem, id: "a b/ü?" });
    await registration.renew?.(never);
    expect(lines(fake.requests).at(-1)).toMatch(
      /^PUT \/v1\/agent\/check\/pass\/service%3Aa%20b%2F%C3%BC%3F%3A[0-9a-f-]{36}%3A1$/,
    );
  });

  it.each<ConsulCheck>([{}, { http: "/health" }, { tcp: true }])(
    "rejects when the agent has forgotten: %j",
    async (check) => {
      const agent = new Agent();
      await using fake = await fakeConsul(agent.reply);
      const registration = await register(fake, lorem, { check });
      await registration.renew?.(never);
      agent.services.clear();
      expect(await failure(registration.renew?.(never) ?? Promise.resolve())).toMatchObject({ name: "ConsulError" });
    },
  );

  it.each<ConsulCheck>([{}, { http: "/health" }, { tcp: true }])(
    "leaves the id to who has announced it later, until that one fails or goes: %j",
    async (check) => {
      const agent = new Agent();
      await using fake = await fakeConsul(agent.reply);
      const id = "i";
      const first = await register(fake, { ...lorem, id }, { check });
      const second = await register(fake, { ...lorem, id, host: "10.0.0.2" }, { check });
      for (const each of [first, second, first]) await each.renew?.(never);
      expect([...agent.services.values()]).toMatchObject([{ Address: "10.0.0.2" }]);
      const [theirs] = agent.services.values();
      if (theirs === undefined) expect.unreachable();
      theirs.Check.Status = "critical";
      expect(await failure(Promise.resolve(first.renew?.(never)))).toMatchObject({ name: "ConsulError" });
      theirs.Check.Status = "passing";
      await first.renew?.(never);
      await second.remove(never);
      expect(await failure(Promise.resolve(first.renew?.(never)))).toMatchObject({ name: "ConsulError" });
    },
  );

  it.each<ConsulCheck>([{}, { tcp: true }])(
    "insists on its id when what has it is nobody like us: %j",
    async (check) => {
      const agent = new Agent();
      await using fake = await fakeConsul(agent.reply);
      const registration = await register(fake, { ...lorem, id: "i" }, { check });
      const Check = { CheckID: "service:i", ServiceID: "i", Notes: "theirs", Status: "passing" };
      agent.services.set("i", { ID: "i", Name: "lorem", Check });
      expect(await failure(Promise.resolve(registration.renew?.(never)))).toMatchObject({ name: "ConsulError" });
    },
  );

  it("ends at once when the signal aborts", async () => {
    const agent = new Agent();
    await using fake = await fakeConsul(agent.reply);
    const registration = await register(fake);
    fake.reply = () => undefined;
    const controller = new AbortController();
    const failed = failure(registration.renew?.(controller.signal) ?? Promise.resolve());
    await fake.request(3);
    controller.abort(new Error("enough"));
    expect((await failed).message).toBe("enough");
  });

  it("brings back by itself what the agent has forgotten", async () => {
    const agent = new Agent();
    await using fake = await fakeConsul(agent.reply);
    const sink = sinkOf(fake, { check: { ttlMs: 300 } });
    await using registrar = createRegistrar(createInstance(lorem), sink);
    await registrar.register();
    agent.services.clear();
    const startMs = performance.now();
    while (agent.services.size === 0 && performance.now() - startMs < 5_000) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(agent.services.size).toBe(1);
  });
});

describe("removing a consul registration", () => {
  it("deregisters by id, and again without an error", async () => {
    const agent = new Agent();
    await using fake = await fakeConsul(agent.reply);
    const registration = await register(fake, { ...lorem, id: "a b/ü?" });
    await registration.remove(never);
    expect(agent.services.size).toBe(0);
    expect(lines(fake.requests).at(-1)).toBe("PUT /v1/agent/service/deregister/a%20b%2F%C3%BC%3F");
    await registration.remove(never);
  });

  it("is content when the agent does not know the service, as newer agents say with 404", async () => {
    const agent = new Agent();
    await using fake = await fakeConsul(agent.reply);
    const registration = await register(fake);
    fake.reply = (request, response) =>
      request.method === "GET" ? answer(response, 1, {}) : response.writeHead(404).end("Unknown service ID");
    await registration.remove(never);
  });

  it("leaves a record alone that somebody else has written under the same id", async () => {
    const agent = new Agent();
    await using fake = await fakeConsul(agent.reply);
    const old = await register(fake);
    await register(fake, { ...lorem, id: "lorem-10.0.0.1-80", host: "10.0.0.2" });
    await old.remove(never);
    expect([...agent.services.values()]).toMatchObject([{ Address: "10.0.0.2" }]);
  });

  it("rejects when the agent cannot be told, in bounded time", async () => {
    const agent = new Agent();
    await using fake = await fakeConsul(agent.reply);
    const registration = await register(fake);
    fake.reply = () => undefined;
    const startMs = performance.now();
    expect(await failure(registration.remove(never))).toMatchObject({ code: "TIMEOUT" });
    expect(performance.now() - startMs).toBeLessThan(2_500);
  });
});
