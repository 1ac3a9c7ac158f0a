import { TimeoutError } from "@rollcall/core";
import { type ManualClock, manualClock } from "@rollcall/testing";
import { afterEach, describe, expect, it } from "vitest";
import { type SeenCall, WELL, created, fakeEtcd } from "../test/fake-etcd.ts";
import { EtcdSession } from "./session.ts";

const never = new AbortController().signal;
const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

async function setUp(user?: { name: string; password: string }, clock: ManualClock = manualClock()) {
  const fake = await fakeEtcd(WELL);
  const dialled = fake.dial();
  const session = new EtcdSession(dialled, { timeoutMs: 5_000, user, env: clock.env });
  open.push(fake, { [Symbol.asyncDispose]: () => session.close(new Error("the test is over")) });
  const read = (signal = never) =>
    session.call(
      "reading",
      async (api, options) => (await api.kv.range({ key: Buffer.from("k") }, options)).kvs,
      signal,
    );
  return { clock, fake, dialled, session, read };
}
const failure = (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => expect.unreachable("it should have failed"),
    (error: unknown) => error as Error,
  );
const refuse = (code: number, details: string) => (call: SeenCall) => call.refuse(code, details);
const lorem = { name: "lorem", password: "secret" };

/** Tokens are numbered; only the newest counts. */
async function withTokens() {
  const test = await setUp(lorem);
  let valid = 0;
  test.fake.on("Authenticate", (call) => call.reply({ token: `token-${++valid}` }));
  test.fake.on("Range", (call) =>
    call.token === `token-${valid}` ? call.reply({ kvs: [] }) : call.refuse(16, "etcdserver: invalid auth token"),
  );
  return {
    ...test,
    /** As when etcd is restarted. */
    forget: () => void valid++,
    authentications: () => test.fake.calls.filter(({ method }) => method === "Authenticate").length,
  };
}

describe("an etcd session", () => {
  it("begins when the host says how it is, and asks only members that have a leader", async () => {
    const { session, fake, dialled } = await setUp();
    await session.begin(never);
    expect(fake.calls.map(({ method, token }) => [method, token])).toEqual([["Status", undefined]]);
    expect([session.open, dialled.closed]).toEqual([true, 0]);
  });

  it("rejects with etcd's words and status, and goes on if only the request was to blame", async () => {
    const { session, fake, read } = await setUp();
    for (const code of [3, 5, 6, 7, 8, 9, 11, 12]) {
      fake.on("Range", refuse(code, "etcdserver: no"));
      expect(await failure(read())).toMatchObject({
        name: "EtcdError",
        code,
        message: /^etcd: reading: etcdserver: no \([A-Z_]+\)$/,
      });
    }
    expect(session.open).toBe(true);
    fake.on("Range", WELL["Range"]);
    expect(await read()).toEqual([]);
  });

  it.each([
    [14, "etcdserver: no leader"],
    [13, "stream reset"],
    [4, "etcdserver: request timed out"],
    [2, "unknown"],
    [1, "cancelled over there"],
  ])("ends when the way to etcd, or this member of it, is to blame: status %d", async (code, details) => {
    const { session, fake, dialled, read } = await setUp();
    fake.on("Range", refuse(code, details));
    expect(await failure(read())).toMatchObject({ code, message: expect.stringContaining(details) });
    expect([session.open, dialled.closed]).toEqual([false, 1]);
    expect(await failure(read())).toMatchObject({ code }); // says why, and asks nothing any more
    expect(fake.calls.length).toBe(1);
    await session.close(new Error("again"));
    expect(dialled.closed).toBe(1);
  });

  it("gives a call up when its time is over, and with it the connection and all that goes on over it", async () => {
    const { clock, session, fake, read } = await setUp();
    fake.on("Range", undefined);
    const reading = failure(read());
    const watching = failure(session.watch("watching", {}, never));
    await fake.call("Range");
    await clock.advance(4_999);
    expect(session.open).toBe(true);
    await clock.advance(1);
    expect(await reading).toMatchObject({ code: "TIMEOUT", message: "etcd: reading timed out after 5000 ms" });
    expect(await watching).toMatchObject({ code: "TIMEOUT" });
    expect([session.open, clock.pending]).toEqual([false, 0]);
  });

  it("rejects at once with the reason of its caller, who is no reason to end", async () => {
    const { clock, session, fake, read } = await setUp();
    fake.on("Range", undefined);
    const caller = new AbortController();
    const reading = failure(read(caller.signal));
    await fake.call("Range");
    const reason = new Error("enough");
    caller.abort(reason);
    expect(await reading).toBe(reason);
    expect(await failure(read(caller.signal))).toBe(reason);
    expect([session.open, clock.pending]).toEqual([true, 0]);
  });

  it("takes a caller's time-out for a sign only if nothing has come since", async () => {
    const { clock, session, fake, read } = await setUp();
    fake.on("Put", undefined);
    for (const [n, meanwhile] of [read, async () => undefined].entries()) {
      await clock.advance(10);
      const caller = new AbortController();
      const putting = failure(session.call("putting", (api, options) => api.kv.put({}, options), caller.signal));
      await fake.call("Put", n + 1);
      await meanwhile();
      caller.abort(new TimeoutError("renewing", 1_000));
      expect(await putting).toMatchObject({ code: "TIMEOUT" });
      expect(session.open).toBe(n === 0);
    }
  });

  it("does not end for one answer that takes too long while others come", async () => {
    const { clock, session, fake, read } = await setUp();
    fake.on("Put", undefined);
    const putting = failure(session.call("putting", (api, options) => api.kv.put({}, options), never));
    await fake.call("Put");
    await clock.advance(4_000);
    await read();
    await clock.advance(1_000);
    expect(await putting).toMatchObject({ code: "TIMEOUT" });
    expect(session.open).toBe(true);
  });

  it("ends when the connection is lost, although nobody uses it", async () => {
    const fake = await fakeEtcd(WELL);
    open.push(fake);
    const lost = Promise.withResolvers<void>();
    const session = new EtcdSession(
      { ...fake.dial(), lost: lost.promise },
      { timeoutMs: 5_000, env: manualClock().env },
    );
    await session.begin(never);
    lost.resolve();
    await lost.promise;
    expect(session.open).toBe(false);
    const error = await failure(session.call("reading", (api, options) => api.kv.range({}, options), never));
    expect(error.message).toBe(`etcd: the connection to ${fake.host} was lost`);
  });

  it("renews a lease, and knows that there is none", async () => {
    const { session, fake } = await setUp();
    expect(await session.keepAlive("77", never)).toBe(30);
    expect((await fake.call("LeaseKeepAlive")).request).toMatchObject({ ID: "77" });
    fake.on("LeaseKeepAlive", (call) => call.reply({ TTL: "0" }));
    expect(await session.keepAlive("77", never)).toBe(0);
    fake.on("LeaseKeepAlive", refuse(14, "etcdserver: no leader"));
    expect(await failure(session.keepAlive("77", never))).toMatchObject({ code: 14 });
  });
});

describe("an etcd session of a user", () => {
  it("authenticates first, and sends the token with everything", async () => {
    const { session, fake, read } = await withTokens();
    await session.begin(never);
    await read();
    void session.watch("watching", {}, never).catch(() => undefined);
    expect((await fake.stream()).token).toBe("token-1");
    expect(fake.calls.map(({ method, token }) => [method, token])).toEqual([
      ["Authenticate", undefined],
      ["Range", "token-1"],
    ]);
  });

  it("says what etcd has against the password, once", async () => {
    const { session, fake } = await setUp(lorem);
    fake.on("Authenticate", refuse(3, "etcdserver: authentication failed, invalid user ID or password"));
    expect(await failure(session.begin(never))).toMatchObject({
      code: 3,
      message: `etcd: authenticating "lorem" at ${fake.host}: etcdserver: authentication failed, invalid user ID or password (INVALID_ARGUMENT)`,
    });
    expect([session.open, fake.calls.length]).toEqual([false, 1]);
  });

  it("gets one new token, however many requests find that theirs is forgotten, and repeats them", async () => {
    const { session, read, forget, authentications } = await withTokens();
    await session.begin(never);
    forget();
    expect(await Promise.all(Array.from({ length: 20 }, () => read()))).toEqual(Array.from({ length: 20 }, () => []));
    expect(authentications()).toBe(2);
    await read();
    expect([authentications(), session.open]).toEqual([2, true]);
  });

  it("takes a change of users and roles for a reason to authenticate, too", async () => {
    const { session, fake, read, authentications } = await withTokens();
    await session.begin(never);
    fake.on("Range", (call) =>
      call.token === "token-2" ? call.reply({ kvs: [] }) : call.refuse(3, "etcdserver: revision of auth store is old"),
    );
    expect(await read()).toEqual([]);
    expect(authentications()).toBe(2);
  });

  it("does not go on for ever if every token is refused", async () => {
    const { session, fake, read, authentications } = await withTokens();
    await session.begin(never);
    fake.on("Range", refuse(16, "etcdserver: invalid auth token"));
    expect(await failure(read())).toMatchObject({ code: 16, message: expect.stringContaining("invalid auth token") });
    expect(authentications()).toBe(2);
    expect(fake.calls.length).toBeLessThan(8);
  });

  it("ends when a new token is refused", async () => {
    const { session, fake, read, forget } = await withTokens();
    await session.begin(never);
    forget();
    fake.on("Authenticate", refuse(3, "etcdserver: authentication failed, invalid user ID or password"));
    expect(await failure(read())).toMatchObject({ code: 3 });
    expect(session.open).toBe(false);
  });

  it("opens a new stream for a watcher if the old one's token has expired, and leaves the old one its watchers", async () => {
    const { session, fake, read, forget } = await withTokens();
    await session.begin(never);
    const first = session.watch("first", { start_revision: 1 }, never);
    const one = await fake.stream(1);
    await fake.request(one, 1);
    one.say(created(5));
    const { watch } = await first;
    forget();
    await read();
    const second = session.watch("second", { start_revision: 2 }, never);
    const third = session.watch("third", { start_revision: 3 }, never);
    await fake.request(one, 3);
    one.say({ ...created(-1), canceled: true, cancel_reason: "etcdserver: permission denied" });
    const two = await fake.stream(2);
    await fake.request(two, 2);
    expect(two.token).toBe("token-3");
    two.say(created(1));
    two.say(created(2));
    expect([(await second).created.watch_id, (await third).created.watch_id]).toEqual(["1", "2"]);
    one.say({ watch_id: 5, compact_revision: "9" });
    expect((await watch.confirmed())?.compact_revision).toBe("9");
    watch.cancel(new Error("enough"));
    while (!one.ended) await new Promise((resolve) => setTimeout(resolve, 1));
    expect([two.ended, session.open]).toEqual([false, true]);
  });

  it("says that a watch is refused if it is on a new stream, which is closed then; the next one is heard", async () => {
    const { session, fake } = await withTokens();
    await session.begin(never);
    for (let n = 1; n <= 3; n++) {
      const refused = failure(session.watch("watching", {}, never));
      const stream = await fake.stream(n);
      await fake.request(stream, 1);
      stream.say({ ...created(-1), canceled: true, cancel_reason: "etcdserver: permission denied" });
      expect(await refused).toMatchObject({ code: 7, message: "etcd: watching: etcdserver: permission denied" });
      while (!stream.ended) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(session.open).toBe(true);
  });
});
