import { type TestServer, serverSkipped, startEtcd } from "@rollcall/testing/servers";
import { type TcpProxy, seededRandom, tcpProxy } from "@rollcall/testing";
import { systemEnv } from "@rollcall/core";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { etcdRegistry } from "../src/index.ts";
import { closeAfterwards, newService, pause } from "../../testing/test/backend.ts";
import { type Gateway, gateway } from "./gateway.ts";

describe.skipIf(serverSkipped("etcd"))("an instance that is deregistered from etcd", () => {
  let etcd: TestServer;
  let past: Gateway;
  let proxy: TcpProxy;
  beforeAll(async () => {
    etcd = await startEtcd();
    past = gateway(etcd.url);
  });
  closeAfterwards(() => etcd?.close());
  beforeEach(async () => {
    proxy = await tcpProxy({ target: { host: etcd.host, port: etcd.port } });
  });
  afterEach(() => proxy.close());
  const random = seededRandom(20_260);

  /** The keys of a service that are left. */
  const left = async (service: string): Promise<number> => {
    const base64 = (text: string): string => Buffer.from(text).toString("base64");
    const range = {
      key: base64(`/services/${service}/`),
      range_end: base64(`/services/${service}0`),
      count_only: true,
    };
    return Number((await past.call("/v3/kv/range", range))["count"] ?? 0);
  };
  /** No key, and no lease that has keys. */
  const expectNothing = async (service: string): Promise<void> => {
    expect(await left(service)).toBe(0);
    const { leases = [] } = (await past.call("/v3/lease/leases", {})) as {
      leases?: readonly { readonly ID: string }[];
    };
    for (const { ID } of leases) {
      const { keys = [] } = (await past.call("/v3/lease/timetolive", { ID, keys: true })) as {
        keys?: readonly string[];
      };
      expect(keys).toEqual([]);
    }
  };
  /** Renewals, which are due every four seconds with the TTL below, come every five milliseconds. */
  const renewOften: typeof systemEnv.after = (delayMs, run, options) =>
    systemEnv.after(delayMs === 4_000 && options?.keepAlive === undefined ? 5 : delayMs, run, options);

  it("never comes back: 1,000 rounds against renewals, at random moments", async () => {
    const service = newService();
    await using registry = etcdRegistry({ url: proxy.url, ttlMs: 12_000, env: { after: renewOften } });
    const round = async (n: number): Promise<void> => {
      const registrar = registry.registrar({ service, id: `i${n % 10}-${n}`, host: "h", port: 80 });
      await registrar.register();
      await pause(random() * 30);
      await registrar.deregister();
      expect(registrar.registered).toBe(false);
    };
    for (let n = 0; n < 1_000; n += 10) await Promise.all(Array.from({ length: 10 }, (_, m) => round(n + m)));
    await pause(200);
    await expectNothing(service);
  });

  it("never comes back: 300 rounds that begin before register() is done, one id, one registrar", async () => {
    const service = newService();
    await using registry = etcdRegistry({ url: proxy.url, ttlMs: 12_000, env: { after: renewOften } });
    const registrar = registry.registrar({ service, id: "a", host: "h", port: 80 });
    for (let n = 0; n < 300; n++) {
      const registering = registrar.register().catch(() => undefined);
      await pause(random() * 8);
      await registrar.deregister();
      await registering;
      expect(await left(service)).toBe(0);
    }
    await pause(100);
    await expectNothing(service);
  });

  it("never comes back: 300 rounds whose caller gives up at a random moment", async () => {
    const service = newService();
    await using registry = etcdRegistry({ url: proxy.url });
    const round = async (n: number): Promise<void> => {
      const registrar = registry.registrar({ service, id: `i${n}`, host: "h", port: 80 });
      const caller = new AbortController();
      const reason = new Error("enough");
      const registering = registrar.register({ signal: caller.signal }).catch((error: unknown) => error);
      await pause(random() * 8);
      caller.abort(reason);
      const error = await registering;
      expect([undefined, reason]).toContain(error);
      if (error === undefined) await registrar.deregister();
    };
    for (let n = 0; n < 300; n += 10) await Promise.all(Array.from({ length: 10 }, (_, m) => round(n + m)));
    await pause(300);
    await expectNothing(service);
  });

  it("never comes back: 100 rounds over a network that breaks in the middle", async () => {
    const service = newService();
    await using registry = etcdRegistry({ url: proxy.url, ttlMs: 2_000 });
    for (let n = 0; n < 100; n++) {
      const registrar = registry.registrar({ service, id: `i${n}`, host: "h", port: 80 });
      const registering = registrar.register().catch(() => undefined);
      await pause(random() * 10);
      await proxy.cut();
      const deregistering = registrar.deregister().catch(() => undefined);
      await proxy.open();
      await Promise.all([registering, deregistering]);
      await registrar.close();
    }
    // What could not be revoked while the network was away ends with its TTL.
    await pause(3_500);
    await expectNothing(service);
  });
});
