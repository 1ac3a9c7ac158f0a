import { ClosedError, type InstanceInit, TimeoutError, createInstance, createRegistrar } from "@rollcall/core";
import { manualClock } from "@rollcall/testing";
import { afterEach, describe, expect, it } from "vitest";
import { type Handler, type SeenCall, WELL, fakeEtcd } from "../test/fake-etcd.ts";
import { encodeInstance } from "./client.ts";
import { EtcdConnection } from "./connection.ts";
import { etcdSink } from "./sink.ts";

const never = new AbortController().signal;
const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});
const lorem = createInstance({ service: "lorem", id: "a", host: "10.0.0.1", port: 80, weight: 2 });

/** An etcd with leases and keys; `lose` lets a request take effect, and its answer get lost. */
class Store {
  readonly keys = new Map<string, { readonly value: Buffer; readonly lease: string }>();
  readonly leases = new Set<string>();
  lose: string | undefined;
  #next = 100;

  readonly handlers: Readonly<Record<string, Handler>> = {
    ...WELL,
    LeaseGrant: (call) => {
      const lease = `${this.#next++}`;
      this.leases.add(lease);
      this.#answer(call, { ID: lease, TTL: String(call.request["TTL"]) });
    },
    LeaseRevoke: (call) => {
      const lease = String(call.request["ID"]);
      if (!this.leases.delete(lease)) return call.refuse(5, "etcdserver: requested lease not found");
      for (const [key, held] of this.keys) if (held.lease === lease) this.keys.delete(key);
      this.#answer(call, {});
    },
    LeaseKeepAlive: (call) => this.#answer(call, { TTL: this.leases.has(String(call.request["ID"])) ? "30" : "0" }),
    Put: (call) => {
      const lease = String(call.request["lease"]);
      if (!this.leases.has(lease)) return call.refuse(5, "etcdserver: requested lease not found");
      this.keys.set(String(call.request["key"]), { value: call.request["value"] as Buffer, lease });
      this.#answer(call, {});
    },
    Range: (call) => {
      const key = String(call.request["key"]);
      const held = this.keys.get(key);
      this.#answer(call, { kvs: held === undefined ? [] : [{ key: Buffer.from(key), ...held }] });
    },
  };

  #answer(call: SeenCall, response: object): void {
    if (this.lose !== call.method) call.reply(response);
    else {
      this.lose = undefined;
      call.refuse(14, "the connection broke");
    }
  }
}

async function setUp() {
  const store = new Store();
  const fake = await fakeEtcd(store.handlers);
  const clock = manualClock();
  const connection = new EtcdConnection({ hosts: ["h"], dial: () => fake.dial(), timeoutMs: 5_000, env: clock.env });
  const background = new Set<Promise<void>>();
  const sink = etcdSink(connection, { prefix: "/s", ttlMs: 30_000, background, env: clock.env });
  open.push(fake, { [Symbol.asyncDispose]: () => connection.close() });
  /** Lets time pass until it settles, for a new connection may have to wait for its turn; and real bytes have to travel. */
  const settled = async <T>(work: Promise<T>): Promise<T> => {
    let done = false;
    const end = (): void => void (done = true);
    work.then(end, end);
    while (!done) {
      await clock.advance(10);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return work;
  };
  return {
    store,
    fake,
    clock,
    sink,
    background,
    settled,
    register: (init?: InstanceInit) => settled(sink.register(init === undefined ? lorem : createInstance(init), never)),
    methods: () => fake.calls.map(({ method }) => method).filter((method) => method !== "Status"),
  };
}
const failure = (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => expect.unreachable("it should have failed"),
    (error: unknown) => error as Error,
  );

describe("an etcd sink", () => {
  it("grants a lease, and writes the record under it", async () => {
    const { store, fake, register, methods } = await setUp();
    const registration = await register();
    expect(methods()).toEqual(["LeaseGrant", "Put"]);
    expect((await fake.call("LeaseGrant")).request["TTL"]).toBe("30");
    expect([...store.keys]).toEqual([["/s/lorem/a", { value: encodeInstance(lorem), lease: "100" }]]);
    expect(registration.renewEveryMs).toBe(5_000);
  });

  it.each([
    ["3", 1_000],
    ["6", 2_000],
    ["15", 5_000],
    ["600", 5_000],
  ])("renews a lease of %s s, as etcd has granted it, every %d ms", async (TTL, renewEveryMs) => {
    const { fake, register } = await setUp();
    fake.on("LeaseGrant", (call) => call.reply({ ID: "77", TTL }));
    fake.on("Put", WELL["Put"]);
    expect((await register()).renewEveryMs).toBe(renewEveryMs);
  });

  it("renews by a keep-alive and a look at the record", async () => {
    const { register, settled, methods } = await setUp();
    const registration = await register();
    await settled(registration.renew?.(never) ?? expect.unreachable());
    expect(methods().toSorted()).toEqual(["LeaseGrant", "LeaseKeepAlive", "Put", "Range"]);
  });

  it.each<[string, (store: Store) => unknown, RegExp]>([
    ["the lease is lost", (store) => (store.leases.clear(), store.keys.clear()), /the lease of a is lost/],
    ["the record was deleted", (store) => store.keys.clear(), /removed or changed/],
    [
      "the record was changed under its lease",
      (store) => store.keys.set("/s/lorem/a", { value: Buffer.from("x"), lease: "100" }),
      /removed or changed/,
    ],
    [
      "the record has no lease any more, with which it would never go",
      (store) => store.keys.set("/s/lorem/a", { value: encodeInstance(lorem), lease: "0" }),
      /removed or changed/,
    ],
  ])("fails to renew when %s", async (_, fault, message) => {
    const { store, register, settled } = await setUp();
    const registration = await register();
    fault(store);
    expect(await failure(settled(registration.renew?.(never) ?? expect.unreachable()))).toMatchObject({
      name: "EtcdError",
      code: 5,
      message: expect.stringMatching(message),
    });
  });

  it("lets be what somebody else has written under the same id, renewing and removing", async () => {
    const { store, register, settled } = await setUp();
    const registration = await register();
    const theirs = { value: Buffer.from("theirs"), lease: "9" };
    store.keys.set("/s/lorem/a", theirs);
    await settled(registration.renew?.(never) ?? expect.unreachable());
    await settled(registration.remove(never));
    expect([...store.keys]).toEqual([["/s/lorem/a", theirs]]);
    expect(store.leases.size).toBe(0);
  });

  it("keeps a living lease in a repair, so that the record is never gone, and takes a new one for a dead lease", async () => {
    const { store, register } = await setUp();
    await register();
    store.keys.clear();
    await register();
    expect([...store.keys.values()].map(({ lease }) => lease)).toEqual(["100"]);
    store.leases.clear();
    await register();
    expect([...store.keys.values()].map(({ lease }) => lease)).toEqual(["101"]);
  });

  it("keeps the record and the living lease if a repair fails", async () => {
    const { store, register } = await setUp();
    await register();
    store.lose = "Put";
    await failure(register());
    expect([store.keys.size, store.leases.size]).toEqual([1, 1]);
  });

  it("revokes a new lease if writing failed, for the answer alone may have been lost", async () => {
    const { store, register, background, settled } = await setUp();
    store.lose = "Put";
    expect(await failure(register())).toMatchObject({ code: 14 });
    expect([store.keys.size, background.size]).toEqual([1, 1]);
    await settled(Promise.all(background));
    expect([store.keys.size, store.leases.size, background.size]).toEqual([0, 0, 0]);
  });

  it("revokes the lease if it is given up while it writes, also a lease that it had before", async () => {
    for (const earlier of [false, true]) {
      const { store, fake, sink, register, background, settled } = await setUp();
      if (earlier) await register();
      fake.on("Put", (call) => {
        store.keys.set("/s/lorem/a", { value: Buffer.from(""), lease: String(call.request["lease"]) });
      });
      const caller = new AbortController();
      const failed = failure(sink.register(lorem, caller.signal));
      await fake.call("Put", earlier ? 2 : 1);
      const reason = new ClosedError("the registration");
      caller.abort(reason);
      expect(await failed).toBe(reason);
      await settled(Promise.all(background));
      expect([store.keys.size, store.leases.size]).toEqual([0, 0]);
    }
  });

  it("keeps a lease that it had before if the time for repairing was too short", async () => {
    const { store, fake, sink, register, background } = await setUp();
    await register();
    fake.on("Put", undefined);
    const caller = new AbortController();
    const failed = failure(sink.register(lorem, caller.signal));
    await fake.call("Put", 2);
    caller.abort(new TimeoutError("registering", 5_000));
    await failed;
    expect([store.keys.size, store.leases.size, background.size]).toEqual([1, 1, 0]);
  });

  it("removes by revoking, and takes a lease that is gone for removed", async () => {
    const { store, register, settled, methods } = await setUp();
    const registration = await register();
    await settled(registration.remove(never));
    expect([store.keys.size, store.leases.size]).toEqual([0, 0]);
    await settled(registration.remove(never));
    expect(methods()).toEqual(["LeaseGrant", "Put", "LeaseRevoke", "LeaseRevoke"]);
  });

  it("revokes over a new connection if the old one has broken unnoticed, but once only", async () => {
    const { store, register, settled, fake, methods } = await setUp();
    const registration = await register();
    store.lose = "LeaseRevoke";
    await settled(registration.remove(never));
    expect([store.keys.size, methods().filter((method) => method === "LeaseRevoke").length]).toEqual([0, 2]);
    fake.on("LeaseRevoke", (call) => call.refuse(14, "etcdserver: no leader"));
    expect(await failure(settled(registration.remove(never)))).toMatchObject({ code: 14 });
    expect(methods().filter((method) => method === "LeaseRevoke").length).toBe(4);
  });

  it("does not try for longer than two seconds to undo what it gave up", async () => {
    const { store, fake, clock, register, background, settled } = await setUp();
    store.lose = "Put";
    fake.on("LeaseRevoke", undefined);
    await failure(register());
    const startMs = clock.now();
    await settled(Promise.all(background));
    expect(clock.now() - startMs).toBeLessThanOrEqual(2_010);
  });

  it("never leaves a record behind, wherever the answers get lost on the way", async () => {
    for (const lose of ["LeaseGrant", "Put", "LeaseKeepAlive", "Range", "LeaseRevoke"]) {
      const { store, clock, sink, background, settled } = await setUp();
      store.lose = lose;
      const registrar = createRegistrar(lorem, sink, { env: clock.env });
      await settled(registrar.register().catch(() => undefined));
      for (let n = 0; n < 20 || !registrar.registered; n++) {
        await settled(new Promise((resolve) => void clock.env.after(500, () => resolve(undefined))));
      }
      expect([...store.keys.keys()]).toEqual(["/s/lorem/a"]);
      await settled(registrar.deregister().catch(() => undefined));
      await settled(registrar.deregister());
      await settled(Promise.all(background));
      expect([lose, store.keys.size]).toEqual([lose, 0]);
    }
  });
});
