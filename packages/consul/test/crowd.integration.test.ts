import { once } from "node:events";
import { type Socket, connect } from "node:net";
import type { Instancer } from "@rollcall/core";
import { type TcpProxy, tcpProxy } from "@rollcall/testing";
import { type TestServer, serverSkipped, startConsul } from "@rollcall/testing/servers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { consulRegistry } from "../src/index.ts";
import { follow, newService, pause, until } from "../../testing/test/backend.ts";
import { ask } from "./consul.ts";

const SERVICES = 1_000;
/** What a registry takes for announcing, and what a test sees of connections that are just being closed. */
const A_HANDFUL = 12;
const isLive = ({ snapshot }: Instancer) => snapshot.state === "live";

describe.skipIf(serverSkipped("consul"))("a Consul with its limit of 200 connections from one address", () => {
  let consul: TestServer;
  let proxy: TcpProxy;
  beforeAll(async () => {
    consul = await startConsul({ keepData: false });
    proxy = await tcpProxy({ target: { host: consul.host, port: consul.port } });
    for (let n = 0; n < SERVICES; n++) await add(n, "first");
  });
  afterAll(async () => {
    await proxy?.close();
    await consul?.close();
  });

  const nameOf = (n: number) => `crowd-${n}`;
  /** Writes an instance of the n-th service, as another tool would. */
  const add = (n: number, id: string) =>
    ask(consul.url, "/catalog/register", {
      method: "PUT",
      body: JSON.stringify({
        Node: `node-${n % 10}`,
        Address: "10.0.0.1",
        SkipNodeUpdate: n >= 10,
        Service: { ID: `${nameOf(n)}-${id}`, Service: nameOf(n), Port: 80 },
      }),
    });
  /** Looks again and again, past the proxy, whether the instance is listed as passing; resolves with how often it was not. */
  const keepLooking = async (service: string, signal: AbortSignal): Promise<number> => {
    let missing = 0;
    while (!signal.aborted) {
      const entries = await ask<readonly unknown[]>(consul.url, `/health/service/${service}?passing`);
      if (entries.length === 0) missing++;
      await pause(100);
    }
    return missing;
  };

  it("is enough for 1,000 watches of one registry, whose own registration lives on", async () => {
    const registry = consulRegistry({ url: proxy.url, check: { ttlMs: 3_000 } });
    const own = newService();
    await registry.registrar({ service: own, host: "10.0.0.1", port: 80 }).register();
    const done = new AbortController();
    const looking = keepLooking(own, done.signal);
    let mostConnections = 0;
    const counting = setInterval(() => (mostConnections = Math.max(mostConnections, proxy.connections)), 10);

    const instancers = Array.from({ length: SERVICES }, (_, n) => registry.instancer(nameOf(n)));
    const states = new Set<string>();
    for (const instancer of instancers) instancer.subscribe(() => states.add(instancer.snapshot.state));
    await until("all are live", () => instancers.every(isLive), 10_000);
    await pause(3_000);

    const seen = (n: number) => until(`${n} is seen`, () => instancers[n]?.snapshot.instances.length === 2, 10_000);
    for (let n = 3; n < SERVICES; n += 100) {
      await add(n, "second");
      expect(await seen(n)).toBeLessThan(4_000);
    }
    const many = Array.from({ length: 100 }, (_, n) => 10 * n + 5);
    for (const n of many) await add(n, "second"); // one by one: these connections count too
    expect(Math.max(...(await Promise.all(many.map(seen))))).toBeLessThan(5_000);

    // A watch that comes now has to wait for its turn once.
    const late = follow(registry.instancer({ service: nameOf(0), passingOnly: false }));
    await late.shows([`${nameOf(0)}-first`], 4_000);

    done.abort();
    expect(await looking).toBe(0);
    clearInterval(counting);
    expect(mostConnections).toBeLessThanOrEqual(100 + A_HANDFUL);
    expect([...states]).toEqual(["live"]);
    const startMs = performance.now();
    await registry.close();
    expect(performance.now() - startMs).toBeLessThan(1_000);
    await until("no connection is left", () => proxy.connections === 0, 1_000);
    expect(await ask(consul.url, `/health/service/${own}`)).toEqual([]);
  });

  it("is enough for many watches that come while others have long polls, and that leave again", async () => {
    await using registry = consulRegistry({ url: proxy.url });
    const [first, more] = [instancersOf(0, 100), instancersOf(100, 400)];
    function instancersOf(from: number, to: number) {
      return Array.from({ length: to - from }, (_, n) => registry.instancer(nameOf(from + n)));
    }
    const follows = (instancers: readonly Instancer[]) =>
      instancers.map((each) => each.subscribe(() => expect(isLive(each)).toBe(true)));
    follows(first);
    await until("the first are live", () => first.every(isLive));
    await pause(500); // now they wait for changes
    const leave = follows(more);
    await until("all are live", () => more.every(isLive), 5_000);
    await add(399, "third");
    await until("it is seen", () => more.at(-1)?.snapshot.instances.length === 2, 4_000);
    for (const each of leave) each();
    await add(0, "third");
    await until("that is seen", () => first[0]?.snapshot.instances.length === 2, 4_000);
    expect(proxy.connections).toBeLessThanOrEqual(100 + A_HANDFUL);
  });

  it("may be used up by others: one clear error, the heartbeats get through, and all is well when they leave", async () => {
    await using registry = consulRegistry({ url: consul.url, check: { ttlMs: 3_000 } });
    const own = newService();
    await registry.registrar({ service: own, host: "10.0.0.1", port: 80 }).register();
    const done = new AbortController();
    const looking = keepLooking(own, done.signal);
    await pause(200); // it has its connection, and keeps it

    const others = new Set<Socket>();
    let refused = false;
    while (!refused) {
      const socket = connect(consul.port, consul.host);
      socket.on("error", () => undefined);
      others.add(socket);
      socket.once("close", () => {
        others.delete(socket);
        refused = true;
      });
      await once(socket, "connect");
      if (others.size > 300) expect.unreachable("nobody was refused");
      await pause(1);
    }
    const seen = follow(registry.instancer(nameOf(1)));
    await until("it fails", () => seen.snapshot.state === "pending" && seen.snapshot.error !== undefined);
    const { error } = seen.snapshot as { readonly error?: Error };
    expect(error?.message).toContain("limits.http_max_conns_per_client");
    expect(error?.message).toContain("maxConnections");
    await pause(6_000);

    for (const socket of others) socket.destroy();
    await seen.shows([`${nameOf(1)}-first`], 4_000);
    done.abort();
    expect(await looking).toBe(0);
  });

  it("is not touched by a registry that may have less", async () => {
    await using limited = await startConsul({
      keepData: false,
      args: ["-hcl=limits { http_max_conns_per_client = 6 }"],
    });
    await using registry = consulRegistry({ url: limited.url, maxConnections: 3 });
    const clients = Array.from({ length: 20 }, () => follow(registry.instancer(newService())));
    const registrar = registry.registrar({ service: newService(), host: "h", port: 80 });
    await Promise.all([registrar.register(), ...clients.map((client) => client.shows([]))]);
    await pause(4_000);
    expect(new Set(clients.flatMap(({ history }) => history.map(({ state }) => state)))).toEqual(new Set(["live"]));
  });
});
