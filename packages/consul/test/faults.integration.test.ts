import { type Instancer, type Registrar } from "@rollcall/core";
import { type TcpProxy, tcpProxy } from "@rollcall/testing";
import { type TestServer, serverSkipped, startConsul } from "@rollcall/testing/servers";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type ConsulRegistryOptions, consulRegistry } from "../src/index.ts";
import { closeAfterwards, follow, newService, pause, until } from "../../testing/test/backend.ts";
import { ask } from "./consul.ts";

describe.skipIf(serverSkipped("consul"))("a consul registry whose Consul", () => {
  let consul: TestServer;
  let proxy: TcpProxy;
  const opened: AsyncDisposable[] = [];
  beforeAll(async () => {
    consul = await startConsul({ faults: ["kill", "freeze", "wipe"] });
  });
  closeAfterwards(() => consul?.close());
  beforeEach(async () => {
    await consul.thaw();
    await consul.start();
    proxy = await tcpProxy({ target: { host: consul.host, port: consul.port } });
  });
  afterEach(async () => {
    await consul.thaw();
    for (const each of opened.splice(0)) await each[Symbol.asyncDispose]();
    await proxy.close();
  });

  function open(options: ConsulRegistryOptions = {}) {
    const registry = consulRegistry({ url: proxy.url, ...options });
    opened.push(registry);
    return registry;
  }
  /** Two servers and a client, each with a registry of its own, all well. */
  async function cast(options?: ConsulRegistryOptions) {
    const service = newService();
    const [a, b] = [1, 2].map((port) =>
      open(options).registrar({ service, id: `${service}-${port}`, host: "10.0.0.1", port }),
    );
    if (a === undefined || b === undefined) expect.unreachable();
    await Promise.all([a.register(), b.register()]);
    const client = follow(open(options).instancer(service));
    const ids = [a.instance.id, b.instance.id];
    await client.shows(ids);
    return { service, a, b, client, ids };
  }
  const isStale = (client: { snapshot: Instancer["snapshot"] }) => client.snapshot.state === "stale";
  const neverEmpty = (client: { history: readonly Instancer["snapshot"][] }) =>
    client.history.every(({ instances }) => instances.length > 0);
  const isBack = (registrar: Registrar) => registrar.registered;

  it("is killed: the last good set is kept as stale, with few requests, and all is well after its return", async () => {
    // The heartbeats run out meanwhile: for Consul, everybody is dead when it comes back.
    const { client, ids, a, b, service } = await cast({ check: { ttlMs: 3_000 } });
    await consul.kill();
    expect(await until("it is stale", () => isStale(client))).toBeLessThan(500);
    expect(client.ids).toEqual(ids);
    const before = proxy.accepted;
    await pause(10_000);
    // One client and two servers, each below two tries a second.
    expect(proxy.accepted - before).toBeGreaterThan(3);
    expect(proxy.accepted - before).toBeLessThan(60);
    const late = open().registrar({ service, id: `${service}-3`, host: "10.0.0.1", port: 3 });
    await expect(late.register()).rejects.toThrow(/consul: PUT \/agent\/service\/register/);
    await consul.start();
    // The one that was started during the outage is found, too.
    expect(await client.shows([...ids, `${service}-3`], 15_000)).toBeLessThan(15_000);
    await until("all are registered", () => [a, b, late].every(isBack), 10_000);
    expect(neverEmpty(client)).toBe(true);
  });

  it("is restarted without its data: all are registered again by themselves, and no client sees an empty set", async () => {
    const { client, ids, a, b, service } = await cast();
    await consul.restart({ wipe: true });
    const tookMs = await until(
      "both are in the catalog",
      async () => (await ask<readonly unknown[]>(consul.url, `/health/service/${service}?passing`)).length === 2,
      15_000,
    );
    expect(tookMs).toBeLessThan(15_000);
    await client.shows(ids, 5_000);
    await until("both know it", () => isBack(a) && isBack(b));
    expect(neverEmpty(client)).toBe(true);
  });

  it("hangs: noticed after the wait, no call is held up for long, and all is well after it goes on", async () => {
    const { client, ids, a, b, service } = await cast({ waitMs: 1_000 });
    await consul.freeze();
    expect(await until("it is stale", () => isStale(client), 10_000)).toBeLessThan(4_000);
    expect(client.ids).toEqual(ids);
    const late = open({ check: { ttlMs: 3_000 } }).registrar({
      service,
      id: `${service}-3`,
      host: "10.0.0.1",
      port: 3,
    });
    const startMs = performance.now();
    await expect(late.register()).rejects.toMatchObject({ code: "TIMEOUT" });
    expect(performance.now() - startMs).toBeLessThan(5_500);
    const closingMs = performance.now();
    await late.close();
    expect(performance.now() - closingMs).toBeLessThan(3_000);
    await consul.thaw();
    // What it had been sent it may still execute, in whatever order: the third may be there until its TTL ends.
    await client.shows(ids, 10_000);
    await pause(500);
    await client.shows(ids, 10_000);
    await until("both are registered", () => isBack(a) && isBack(b), 10_000);
    expect(neverEmpty(client)).toBe(true);
  });

  it("is cut off and reached again: stale at once, live within three seconds", async () => {
    const { client, ids, a, b } = await cast();
    await proxy.cut();
    expect(await until("it is stale", () => isStale(client))).toBeLessThan(500);
    await pause(3_000);
    await proxy.open();
    expect(await client.shows(ids, 10_000)).toBeLessThan(3_000);
    await until("both are registered", () => isBack(a) && isBack(b), 10_000);
    expect(neverEmpty(client)).toBe(true);
  });

  it("is behind a network that swallows everything: stale after the wait, live soon after it is over", async () => {
    const { client, ids } = await cast({ waitMs: 1_000, timeoutMs: 1_000 });
    await proxy.hole();
    expect(await until("it is stale", () => isStale(client), 10_000)).toBeLessThan(4_000);
    const before = proxy.accepted;
    await pause(5_000);
    expect(proxy.accepted - before).toBeLessThan(40);
    await proxy.open();
    expect(await client.shows(ids, 10_000)).toBeLessThan(5_000);
    expect(neverEmpty(client)).toBe(true);
  });

  it("breaks off in the middle of answers: stale, not empty", async () => {
    const { client, ids, service } = await cast({ waitMs: 1_000 });
    await proxy.truncate(400);
    await until("it is stale", () => isStale(client), 5_000);
    expect(client.ids).toEqual(ids);
    const fresh = follow(open().instancer(service));
    await until("it fails", () => fresh.snapshot.state === "pending" && fresh.snapshot.error !== undefined);
    expect(String((fresh.snapshot as { error?: unknown }).error)).toContain("cut off");
    await proxy.open();
    await client.shows(ids, 10_000);
    await fresh.shows(ids, 10_000);
    expect(neverEmpty(client)).toBe(true);
  });

  it("is slow: everything works, a little later", async () => {
    await proxy.delay(300);
    const { client, a, b } = await cast();
    await a.deregister();
    await client.shows([b.instance.id]);
  });

  it("ends a poll within 100 ms of the last listener's leaving, whatever the network does", async () => {
    const { service } = await cast();
    await proxy.hole();
    const registry = open();
    const instancer = registry.instancer(service);
    instancer.subscribe(() => undefined);
    await pause(100);
    const startMs = performance.now();
    await registry.close();
    expect(performance.now() - startMs).toBeLessThan(100);
  });
});

describe.skipIf(serverSkipped("consul"))("a consul registry whose Consul has", () => {
  it("access control: the token opens it, for reading and for writing", async () => {
    const token = "8f246b77-f3e1-ff88-5b48-8ec93abf3e05";
    const acl = `acl { enabled = true default_policy = "deny" tokens { master = "${token}" agent = "${token}" } }`;
    await using consul = await startConsul({ keepData: false, token, args: [`-hcl=${acl}`] });
    const service = newService();
    await using registry = consulRegistry({ url: consul.url, token });
    await using stranger = consulRegistry({ url: consul.url });
    await registry.registrar({ service, id: "i", host: "h", port: 80 }).register();
    await follow(registry.instancer(service)).shows(["i"]);
    await expect(stranger.registrar({ service, id: "j", host: "h", port: 80 }).register()).rejects.toMatchObject({
      statusCode: 403,
    });
  });
});
