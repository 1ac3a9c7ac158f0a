import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { type InstanceInit, createInstance } from "@rollcall/core";
import { tcpProxy } from "@rollcall/testing";
import { type TestServer, serverSkipped, startConsul } from "@rollcall/testing/servers";
import { beforeAll, describe, expect, it } from "vitest";
import { type ConsulCheck, type ConsulRegistryOptions, consulRegistry } from "../src/index.ts";
import { closeAfterwards, follow, newService, pause, until } from "../../testing/test/backend.ts";
import { ask } from "./consul.ts";

describe.skipIf(serverSkipped("consul"))("a consul registry", () => {
  let consul: TestServer;
  beforeAll(async () => {
    consul = await startConsul({ keepData: false });
  });
  closeAfterwards(() => consul?.close());
  const open = (options?: ConsulRegistryOptions) => consulRegistry({ url: consul.url, ...options });

  /** What a passing-only client that asks now would get. */
  const passing = async (service: string): Promise<readonly string[]> => {
    const path = `/health/service/${encodeURIComponent(service)}?passing`;
    const entries = await ask<readonly { Service: { ID: string } }[]>(consul.url, path);
    return entries.map(({ Service }) => Service.ID).toSorted();
  };

  it("makes an instance visible to a passing-only client before register() resolves, 50 times out of 50", async () => {
    await using registry = open();
    for (let port = 1; port <= 50; port++) {
      const service = newService();
      const registrar = registry.registrar({ service, host: "10.0.0.1", port });
      await registrar.register();
      expect(await passing(service)).toEqual([registrar.instance.id]);
    }
  });

  it.each<[string, Partial<InstanceInit>]>([
    ["everything", { weight: 7, zone: "eu-1", tags: ["b", "a b"], metadata: { version: "3", "a-b_9": 'ü\n"' } }],
    ["defaults", {}],
    ["IPv6", { host: "2001:db8::1" }],
    ["weight 0", { weight: 0 }],
    ["a weight that is a fraction", { weight: 0.25 }],
    [
      "the most that Consul holds",
      { weight: 65_535, zone: "z".repeat(512), metadata: { ["k".repeat(128)]: "ü".repeat(256) } },
    ],
    ["64 pairs", { metadata: Object.fromEntries(Array.from({ length: 64 }, (_, n) => [`key-${n}`, `${n}`])) }],
    ["an id with everything in it", { id: 'a b/ü?#%"\\{id}' }],
    ["a service name with everything in it", { service: 'a b/ü?#%"\\{service}' }],
  ])("gives back exactly what was registered: %s", async (_, more) => {
    const init = { service: newService(), host: "10.0.0.1", port: 80, ...more };
    await using registry = open();
    const registrar = registry.registrar(init);
    await registrar.register();
    const seen = follow(registry.instancer(init.service));
    await seen.shows([registrar.instance.id]);
    expect(seen.snapshot.instances).toEqual([createInstance(init)]);
    await registrar.deregister();
    await seen.shows([]);
  });

  it("tells of instances that come and go within moments", async () => {
    const service = newService();
    await using registry = open();
    const seen = follow(registry.instancer(service));
    await seen.shows([]);
    const [a, b] = [1, 2].map((port) => registry.registrar({ service, host: "10.0.0.1", port }));
    await a?.register();
    expect(await seen.shows([`${service}-10.0.0.1-1`])).toBeLessThan(500);
    await b?.register();
    await seen.shows([`${service}-10.0.0.1-1`, `${service}-10.0.0.1-2`]);
    await a?.deregister();
    expect(await seen.shows([`${service}-10.0.0.1-2`])).toBeLessThan(1_000);
    expect(await passing(service)).toEqual([`${service}-10.0.0.1-2`]);
    await a?.deregister();
    await registry.close();
    expect(await passing(service)).toEqual([]);
  });

  it("shows only instances that have all the tags, whatever their order and case", async () => {
    const service = newService();
    await using registry = open();
    const tags = [["lorem", "ru-rocker"], ["ru-rocker"], ["LOREM", "ru-rocker"], ["x", "ru-rocker", "lorem"]];
    await Promise.all(
      tags.map((each, n) =>
        registry.registrar({ service, id: `i${n}`, host: "h", port: n + 1, tags: each }).register(),
      ),
    );
    const both = follow(registry.instancer({ service, tags: ["ru-rocker", "lorem"] }));
    const one = follow(registry.instancer({ service, tags: ["ru-rocker"] }));
    await both.shows(["i0", "i3"]);
    await one.shows(["i0", "i1", "i2", "i3"]);
  });

  it("shows what does not pass only to those who ask for it", async () => {
    const service = newService();
    await using registry = open();
    await registry.registrar({ service, id: "i", host: "h", port: 80 }).register();
    const [healthy, all] = [true, false].map((passingOnly) => follow(registry.instancer({ service, passingOnly })));
    await healthy?.shows(["i"]);
    const [check] = Object.keys(await ask<object>(consul.url, `/agent/checks?filter=ServiceID=="i"`));
    await ask(consul.url, `/agent/check/fail/${check}`, { method: "PUT" });
    await healthy?.shows([]);
    await all?.shows(["i"]);
    await healthy?.shows(["i"], 6_000); // its own heartbeat says that it is well
  });

  it("drops an instance in maintenance, and takes it back", async () => {
    const service = newService();
    await using registry = open();
    await registry.registrar({ service, id: "i", host: "h", port: 80 }).register();
    const seen = follow(registry.instancer(service));
    await seen.shows(["i"]);
    await ask(consul.url, "/agent/service/maintenance/i?enable=true", { method: "PUT" });
    await seen.shows([]);
    await ask(consul.url, "/agent/service/maintenance/i?enable=false", { method: "PUT" });
    await seen.shows(["i"]);
  });

  it("keeps an instance alive beyond its TTL while the process lives, and lets it go when the process is killed", async () => {
    const service = newService();
    const script = fileURLToPath(new URL("announcer.ts", import.meta.url));
    const init = JSON.stringify({ service, id: "i", host: "h", port: 80 });
    const child: ChildProcess = spawn(
      process.execPath,
      ["--conditions=@rollcall/source", "--no-warnings", script, consul.url, init, "1000"],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    try {
      if (child.stdout === null) expect.unreachable();
      await once(child.stdout, "data");
      await using registry = open();
      const seen = follow(registry.instancer(service));
      await seen.shows(["i"]);
      await pause(3_000);
      expect(seen.history.length).toBe(1);
      child.kill("SIGKILL");
      await once(child, "exit");
      expect(await seen.shows([])).toBeLessThan(2_000);
      expect(seen.snapshot.state).toBe("live");
    } finally {
      child.kill("SIGKILL");
    }
  });

  it("is seen again at once when it starts anew after a crash, although Consul holds its check for critical", async () => {
    const service = newService();
    const body = { ID: "i", Name: service, Port: 80, Check: { CheckID: "service:i", TTL: "100ms", Status: "passing" } };
    await ask(consul.url, "/agent/service/register", { method: "PUT", body: JSON.stringify(body) });
    await until("it is critical", async () => (await passing(service)).length === 0);
    const checks: readonly ConsulCheck[] = [{}, { tcp: "127.0.0.1:1", intervalMs: 600_000 }];
    for (const check of checks) {
      await using registry = open({ check });
      const startMs = performance.now();
      await registry.registrar({ service, id: "i", host: "h", port: 80 }).register();
      expect(performance.now() - startMs).toBeLessThan(500);
      expect(await passing(service)).toEqual(["i"]);
    }
  });

  it("removes only its own, also of two that announce under one id", async () => {
    const service = newService();
    await using mine = open();
    await using theirs = open();
    const old = mine.registrar({ service, id: "i", host: "10.0.0.1", port: 80 });
    await old.register();
    await mine.registrar({ service, id: "j", host: "10.0.0.1", port: 81 }).register();
    await theirs.registrar({ service, id: "i", host: "10.0.0.2", port: 80 }).register();
    await old.deregister();
    await pause(500);
    expect(await passing(service)).toEqual(["i", "j"]);
  });

  it.each<[string, () => ConsulCheck]>([
    ["a TTL check", () => ({})],
    ["a TCP check", () => ({ tcp: new URL(consul.url).host, intervalMs: 1_000 })],
  ])(
    "shows the last of two that live under one id, steadily, and the first again when the last is closed: %s",
    async (_, check) => {
      const service = newService();
      const [first, last] = [1, 2].map((port) => {
        return open({ check: check() }).registrar({ service, id: "i", host: "10.0.0.1", port });
      });
      if (first === undefined || last === undefined) expect.unreachable();
      await using registry = open();
      const seen = follow(registry.instancer(service));
      const ports = () => seen.history.map(({ instances }) => instances.map(({ port }) => port).join());
      await first.register();
      await seen.shows(["i"]);
      await last.register();
      await until("the last one is seen", () => ports().at(-1) === "2");
      const before = seen.history.length;
      await pause(11_000); // two renewals of each
      expect([ports().slice(before), first.registered, last.registered]).toEqual([[], true, true]);
      await last.close();
      await until("the first one is back", () => ports().at(-1) === "1", 8_000);
      await until("it knows it", () => first.registered);
      await first.close();
    },
    30_000,
  );

  it.each<[string, (port: number) => ConsulCheck]>([
    ["an HTTP check of a path", () => ({ http: "/health", intervalMs: 1_000, timeoutMs: 500 })],
    ["an HTTP check of a URL", (port) => ({ http: `http://127.0.0.1:${port}/health`, intervalMs: 1_000 })],
    ["a TCP check", () => ({ tcp: true, intervalMs: 1_000, timeoutMs: 500 })],
  ])("lets Consul find out that an instance is dead by %s", async (_, check) => {
    const service = newService();
    const server = createServer((request, response) => response.writeHead(request.url === "/health" ? 200 : 404).end());
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    await using registry = open({ check: check(port) });
    const registrar = registry.registrar({ service, id: "i", host: "127.0.0.1", port });
    await registrar.register();
    expect(await passing(service)).toEqual(["i"]);
    const seen = follow(registry.instancer(service));
    await pause(2_500);
    await seen.shows(["i"]);
    server.close();
    server.closeAllConnections();
    await seen.shows([], 4_000);
  });

  it.each<ConsulCheck>([{}, { tcp: "127.0.0.1:1", intervalMs: 600_000 }])(
    "brings back what somebody else has deregistered: %j",
    async (check) => {
      const service = newService();
      await using registry = open({ check });
      const registrar = registry.registrar({ service, id: "i", host: "h", port: 80 });
      await registrar.register();
      await ask(consul.url, "/agent/service/deregister/i", { method: "PUT" });
      await until("it is gone", async () => (await passing(service)).length === 0);
      expect(await until("it is back", async () => (await passing(service)).length === 1, 10_000)).toBeLessThan(8_000);
      await registrar.deregister();
      await until("it is gone", async () => (await passing(service)).length === 0);
      await pause(6_000);
      expect(await passing(service)).toEqual([]); // and nothing brings it back then
    },
  );

  it("leaves no check of an earlier kind behind", async () => {
    const service = newService();
    const body = { ID: "i", Name: service, Port: 80, Check: { CheckID: "old", TTL: "1s", Status: "passing" } };
    await ask(consul.url, "/agent/service/register", { method: "PUT", body: JSON.stringify(body) });
    await using registry = open();
    await registry.registrar({ service, id: "i", host: "h", port: 80 }).register();
    const checks = await ask<object>(consul.url, "/agent/checks");
    expect(Object.keys(checks)).not.toContain("old");
    await pause(1_500);
    expect(await passing(service)).toEqual(["i"]);
  });

  it("costs Consul one blocking query per question, however many clients ask", async () => {
    const service = newService();
    await using proxy = await tcpProxy({ target: { host: consul.host, port: consul.port } });
    await using registry = open({ url: proxy.url });
    const seen = Array.from({ length: 200 }, () => follow(registry.instancer({ service, tags: ["a"] })));
    const other = follow(registry.instancer(service));
    await Promise.all([...seen, other].map((each) => each.shows([])));
    await pause(300);
    expect([proxy.connections, proxy.accepted]).toEqual([2, 2]);
  });

  it("ends a parked poll within 100 ms of close(), and leaves no socket", async () => {
    await using proxy = await tcpProxy({ target: { host: consul.host, port: consul.port } });
    const registry = open({ url: proxy.url });
    await Promise.all([1, 2, 3].map(() => follow(registry.instancer(newService())).shows([])));
    await registry.registrar({ service: newService(), host: "h", port: 80 }).register();
    await pause(300);
    expect(proxy.connections).toBe(4); // one is that of the registration, idle
    const startMs = performance.now();
    await registry.close();
    expect(performance.now() - startMs).toBeLessThan(100);
    await until("the other end has noticed", () => proxy.connections === 0, 100);
  });

  it("serves over IPv6", async () => {
    const service = newService();
    await using proxy = await tcpProxy({ target: { host: consul.host, port: consul.port }, host: "::1" });
    await using registry = open({ url: proxy.url });
    const registrar = registry.registrar({ service, host: "::1", port: 80 });
    await registrar.register();
    await follow(registry.instancer(service)).shows([registrar.instance.id]);
  });

  it("reads from its own datacenter by name, and says so when there is none of that name", async () => {
    const service = newService();
    await using registry = open({ datacenter: "dc1", stale: true });
    await registry.registrar({ service, id: "i", host: "h", port: 80 }).register();
    await follow(registry.instancer(service)).shows(["i"]);
    await using elsewhere = open({ datacenter: "mars" });
    const seen = follow(elsewhere.instancer(service));
    await until("it fails", () => seen.snapshot.state === "pending" && seen.snapshot.error !== undefined);
    expect(String((seen.snapshot as { error?: unknown }).error)).toContain("No path to datacenter");
  });

  it("says what Consul says about a namespace, where there are none", async () => {
    await using registry = open({ namespace: "team" });
    const registrar = registry.registrar({ service: newService(), host: "h", port: 80 });
    await expect(registrar.register()).rejects.toThrow(/answered 400: .*Namespaces are a Consul Enterprise feature/);
  });

  it("does not mind records that others write without a port", async () => {
    const service = newService();
    const put = (body: object) => ask(consul.url, "/catalog/register", { method: "PUT", body: JSON.stringify(body) });
    await put({ Node: "ext", Address: "10.0.0.9", Service: { ID: "no-port", Service: service } });
    await put({ Node: "ext", Address: "10.0.0.9", Service: { ID: "good", Service: service, Port: 80 } });
    await put({ Node: "ext2", Address: "10.0.0.8", Service: { ID: "good", Service: service, Port: 80 } });
    await using registry = open();
    const seen = follow(registry.instancer(service));
    await seen.shows(["good@10.0.0.8:80", "good@10.0.0.9:80"]);
    expect(seen.snapshot.instances.map(({ host, weight }) => [host, weight])).toEqual([
      ["10.0.0.8", 1],
      ["10.0.0.9", 1],
    ]);
  });
});
