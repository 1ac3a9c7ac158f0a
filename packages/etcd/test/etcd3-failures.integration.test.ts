import { type Server, type Socket, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { channels, createInstance } from "@rollcall/core";
import { type TcpProxy, tcpProxy } from "@rollcall/testing";
import { type TestServer, serverSkipped, startEtcd } from "@rollcall/testing/servers";
import { Etcd3 } from "etcd3";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { encodeInstance, keyOf } from "../src/client.ts";
import { type EtcdRegistryOptions, etcdRegistry } from "../src/index.ts";
import { closeAfterwards, follow, newService, pause, run, timed, until } from "../../testing/test/backend.ts";
import { type Gateway, gateway } from "./gateway.ts";

/** The failures of npm `etcd3` as it comes, and what holds instead. The numbers are those of the ADR on etcd3. */
describe.skipIf(serverSkipped("etcd"))("what fails in etcd3", () => {
  let etcd: TestServer;
  let past: Gateway;
  let proxy: TcpProxy;
  const opened: AsyncDisposable[] = [];
  beforeAll(async () => {
    etcd = await startEtcd({ faults: ["kill", "freeze", "wipe"] });
    past = gateway(etcd.url);
  });
  closeAfterwards(() => etcd?.close());
  beforeEach(async () => {
    await etcd.thaw();
    await etcd.start();
    proxy = await tcpProxy({ target: { host: etcd.host, port: etcd.port } });
  });
  afterEach(async () => {
    await etcd.thaw();
    for (const each of opened.splice(0)) await each[Symbol.asyncDispose]();
    await proxy.close();
  });

  const open = (options: EtcdRegistryOptions = {}) => {
    const registry = etcdRegistry(
      options.hosts === undefined && options.client === undefined ? { url: proxy.url, ...options } : options,
    );
    opened.push(registry);
    return registry;
  };
  const seed = (service: string, id: string, to = past) =>
    to.put(keyOf("/services", { service, id }), encodeInstance(createInstance({ service, id, host: "h", port: 80 })));
  const unseed = (service: string, id: string) => past.remove(keyOf("/services", { service, id }));

  it("1: a store that was wiped to a lower revision is read anew, and its changes are seen", async () => {
    const service = newService();
    await seed(service, "old");
    for (let n = 0; n < 50; n++) await past.put(Buffer.from("/elsewhere"), `${n}`);
    const registrar = open({ ttlMs: 6_000 }).registrar({ service, id: "b", host: "h", port: 80 });
    await registrar.register();
    const seen = follow(open().instancer(service));
    await seen.shows(["b", "old"]);
    await etcd.restart({ wipe: true });
    await seed(service, "a");
    expect(await seen.shows(["a", "b"], 10_000)).toBeLessThan(5_000);
    for (const id of ["c", "d"]) await seed(service, id);
    expect(await seen.shows(["a", "b", "c", "d"])).toBeLessThan(1_000);
  });

  it("2: a log that was compacted while it was disconnected is no end of the watch", async () => {
    const service = newService();
    await seed(service, "a");
    const seen = follow(open().instancer(service));
    await seen.shows(["a"]);
    await proxy.cut();
    await seed(service, "b");
    await unseed(service, "a");
    await past.compact();
    await seed(service, "c");
    await past.compact();
    await proxy.open();
    expect(await seen.shows(["b", "c"])).toBeLessThan(2_500);
    await unseed(service, "b");
    expect(await seen.shows(["c"])).toBeLessThan(1_000);
  });

  it("4: a connection that is silently dead is noticed, and mended when the network is back", async () => {
    const service = newService();
    await seed(service, "a");
    const seen = follow(open().instancer(service));
    await seen.shows(["a"]);
    await proxy.hole();
    await seed(service, "b");
    expect(await seen.becomes("stale", 20_000)).toBeLessThan(17_000);
    expect(seen.ids).toEqual(["a"]);
    await proxy.open();
    expect(await seen.shows(["a", "b"])).toBeLessThan(3_000);
  });

  it("5: of two hosts one is silent: 20 registries come up quickly, whichever is named first", async () => {
    const silent = await tcpProxy({ target: { host: etcd.host, port: etcd.port } });
    opened.push(silent);
    await silent.hole();
    const service = newService();
    await seed(service, "a");
    for (let n = 0; n < 20; n++) {
      const hosts = n % 2 === 0 ? [silent.url, proxy.url] : [proxy.url, silent.url];
      await using registry = etcdRegistry({ hosts });
      const seen = follow(registry.instancer(service));
      const registrar = registry.registrar({ service: `${service}-other`, host: "h", port: 80 });
      expect(await timed(registrar.register())).toBeLessThan(1_000);
      expect(registrar.registered).toBe(true);
      expect(await seen.shows(["a"])).toBeLessThan(1_000);
    }
    // And one that falls silent later is left for the other.
    const seen = follow(open({ hosts: [silent.url, proxy.url] }).instancer(service));
    await seen.shows(["a"]);
    await silent.open();
    await proxy.hole();
    await seed(service, "b");
    expect(await seen.shows(["a", "b"], 20_000)).toBeLessThan(18_000);
  });

  it.each([
    ["refuses connections", () => proxy.cut(), 500],
    ["never answers", () => proxy.hole(), 5_500],
  ])(
    "6: an etcd that %s at the start is an error in bounded time, and used when it comes",
    async (_, fault, boundMs) => {
      await fault();
      const service = newService();
      const registry = open();
      const seen = follow(registry.instancer(service));
      const registrar = registry.registrar({ service, id: "a", host: "h", port: 80 });
      let error: unknown;
      expect(await timed(registrar.register().catch((caught: unknown) => (error = caught)))).toBeLessThan(boundMs);
      expect(String(error)).toMatch(/EtcdError: etcd: asking .*(UNAVAILABLE|ECONNREFUSED)|timed out|TimeoutError/);
      await until("the watch says why", () => seen.snapshot.state === "pending" && seen.snapshot.error !== undefined);
      await proxy.open();
      expect(await seen.shows(["a"])).toBeLessThan(3_000);
      // The watch may be quicker than the answer to the registration.
      await until("it knows that it is registered", () => registrar.registered, 1_000);
    },
  );

  it("7: a lease that is lost is granted and written again", async () => {
    const service = newService();
    const key = keyOf("/services", { service, id: "a" });
    const registrar = open({ ttlMs: 3_000 }).registrar({ service, id: "a", host: "h", port: 80 });
    await registrar.register();
    for (let n = 0; n < 3; n++) {
      await past.revoke(key);
      expect(await past.has(key)).toBe(false);
      // The renewal that finds out may be a second away, and the next try two more.
      expect(await until("it is back", () => past.has(key))).toBeLessThan(4_000);
    }
    await registrar.deregister();
    expect(await past.has(key)).toBe(false);
  });

  /** Something that takes connections, and resets each or says nothing; it counts them. */
  async function deadEnd(reset: boolean) {
    const sockets = new Set<Socket>();
    let dials = 0;
    const server: Server = createServer((socket) => {
      dials++;
      sockets.add(socket.on("error", () => undefined));
      if (reset) socket.resetAndDestroy();
    });
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", () => resolve()));
    opened.push({
      async [Symbol.asyncDispose]() {
        for (const socket of sockets) socket.destroy();
        server.close();
      },
    });
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, dials: () => dials };
  }

  it.each([
    ["resets every connection", 1],
    ["resets every connection", 200],
    ["never answers", 1],
    ["never answers", 200],
  ])("8: an etcd that %s gets few connections of %d watches and as many registrations", async (does, count) => {
    const etcdOf = await deadEnd(does.startsWith("resets"));
    const registry = open({ url: etcdOf.url });
    for (let n = 0; n < count; n++) {
      follow(registry.instancer(`lorem-${n}`));
      void registry.registrar({ service: `lorem-${n}`, host: "h", port: 80 }).register();
    }
    await pause(8_000);
    const perSecond = etcdOf.dials() / 8;
    // Five for each of the two halves, however many use them.
    expect(perSecond).toBeLessThan(count === 1 ? 5 : 10.5);
    await registry.close();
    const dials = etcdOf.dials();
    await pause(1_500); // gRPC's own back-off is a second
    expect(etcdOf.dials()).toBe(dials);
  });

  it("9: an outage is one failure, not two, and it is over as soon as etcd is back", async () => {
    const service = newService();
    await seed(service, "a");
    const seen = follow(open().instancer(service));
    await seen.shows(["a"]);
    const failures: { readonly retryInMs: number }[] = [];
    const unsubscribe = channels.sourceFailed.subscribe((failure) => {
      if (failure.service === service) failures.push(failure);
    });
    await proxy.cut();
    await seen.becomes("stale");
    expect(failures.length).toBe(1);
    await pause(16_000);
    // 250, 500, and then 1,000 ms on average.
    expect(failures.length).toBeGreaterThan(8);
    expect(failures.length).toBeLessThan(50);
    expect(failures.every(({ retryInMs }) => retryInMs <= 2_000)).toBe(true);
    await proxy.open();
    expect(await seen.shows(["a"])).toBeLessThan(2_500);
    unsubscribe();
  });

  it("10: no circuit breaker: the first write after an outage succeeds", async () => {
    const registry = open({ ttlMs: 30_000 });
    await registry.registrar({ service: newService(), host: "h", port: 80 }).register();
    await etcd.kill();
    const failing = Array.from({ length: 20 }, (_, n) =>
      registry.registrar({ service: newService(), host: "h", port: n + 1 }).register(),
    );
    expect((await Promise.allSettled(failing)).every(({ status }) => status === "rejected")).toBe(true);
    await pause(2_000);
    await etcd.start();
    const registrar = registry.registrar({ service: newService(), host: "h", port: 80 });
    expect(await timed(registrar.register())).toBeLessThan(1_000);
    expect(registrar.registered).toBe(true);
  });

  it("11: a process that closes a registry with a live watch ends", async () => {
    const ending = await run(`
      import { etcdRegistry } from "@rollcall/etcd";
      const registry = etcdRegistry({ url: ${JSON.stringify(proxy.url)} });
      const instancer = registry.instancer("lorem");
      instancer.subscribe(() => undefined);
      await registry.registrar({ service: "lorem", host: "h", port: 80 }).register();
      await registry.close();
      say("closed");`);
    expect(ending).toMatchObject({ code: 0, stdout: "closed\n", stderr: "" });
    expect(ending.lingeredMs).toBeLessThan(500);
  });

  it.each([
    ["stopped", () => etcd.freeze(), () => etcd.thaw()],
    ["unreachable", () => proxy.hole(), () => proxy.open()],
    ["killed", () => proxy.cut(), () => undefined],
  ])("12: deregistering and closing with an etcd that is %s is over in time", async (_, fault, mend) => {
    const registry = open();
    const seen = follow(registry.instancer(newService()));
    await seen.shows([]);
    const registrars = Array.from({ length: 20 }, (__, n) =>
      registry.registrar({ service: newService(), host: "h", port: n + 1 }),
    );
    await Promise.all(registrars.map((registrar) => registrar.register()));
    await fault();
    const [first] = registrars;
    expect(await timed(first?.deregister() ?? Promise.resolve())).toBeLessThan(2_200);
    expect(await timed(registry.close())).toBeLessThan(2_500);
    await mend(); // only then can the proxy see who has left
    await until("no connection is left", () => proxy.connections === 0, 500);
  });

  it("13: no ping is one too many, neither while watching nor when nothing is left to do", async () => {
    const busy = open();
    await follow(busy.instancer(newService())).shows([]);
    const idle = open({ ttlMs: 1_000 });
    const registrar = idle.registrar({ service: newService(), host: "h", port: 80 });
    await registrar.register();
    await registrar.deregister();
    const { accepted } = proxy;
    expect(accepted).toBe(2);
    await pause(45_000); // four pings, and three are too many for etcd
    expect([proxy.accepted, proxy.connections]).toEqual([accepted, accepted]);
    expect(etcd.log()).not.toMatch(/too_many_pings|ENHANCE_YOUR_CALM/);
  });

  it("15: the time-out bounds the whole call", async () => {
    const registry = open({ timeoutMs: 1_000 });
    await registry.registrar({ service: newService(), host: "h", port: 80 }).register();
    await etcd.freeze();
    for (let n = 0; n < 3; n++) {
      const registrar = registry.registrar({ service: newService(), host: "h", port: 80 });
      expect(await timed(registrar.register())).toBeLessThan(1_400);
      expect(registrar.registered).toBe(false);
    }
  });

  describe("with users", () => {
    let guarded: TestServer;
    let root: Gateway;
    beforeAll(async () => {
      guarded = await startEtcd({ faults: ["kill"] });
      root = await gateway(guarded.url).enableAuth({ lorem: ["/services/allowed/"] });
    });
    closeAfterwards(() => guarded?.close());

    it("3: a watch that is refused leaves the others working, before and after it", async () => {
      const auth = { username: "lorem", password: "lorem" };
      const as = (user: typeof auth) => {
        const client = new Etcd3({ hosts: guarded.url, auth: user });
        opened.push({ [Symbol.asyncDispose]: async () => client.close() });
        return client;
      };
      const user = as(auth);
      // May read everything but watch little, so that it is the watch that is refused.
      const client = {
        kv: as({ username: "root", password: "root" }).kv,
        leaseClient: user.leaseClient,
        watchClient: user.watchClient,
        auth: user.auth,
        maintenance: user.maintenance,
      };
      const registry = open({ client });
      await seed("allowed", "a", root);
      const before = follow(registry.instancer("allowed"));
      await before.shows(["a"]);
      const refused = follow(registry.instancer("refused"));
      await refused.becomes("stale");
      expect(String(refused.snapshot.state === "stale" && refused.snapshot.error)).toMatch(/permission denied/i);
      const after = follow(registry.instancer({ service: "allowed", passingOnly: false }));
      await after.shows(["a"]);
      await pause(3_000); // it is refused again and again
      await seed("allowed", "b", root);
      expect(await before.shows(["a", "b"])).toBeLessThan(1_000);
      expect(await after.shows(["a", "b"])).toBeLessThan(1_000);
      expect(before.history.every(({ state }) => state === "live")).toBe(true);
    });
  });
});
