import { address, type Snapshot } from "@rollcall/core";
import { freePort } from "@rollcall/testing";
import { follow } from "@rollcall/testing/conformance";
import { serverSkipped, startConsul, type TestServer } from "@rollcall/testing/servers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DnsRegistryOptions, dnsRegistry } from "../src/index.ts";

const SOON_MS = 10_000;
const COPIES = 40;

describe.skipIf(serverSkipped("consul"))("against Consul's DNS", () => {
  let consul: TestServer;
  let options: DnsRegistryOptions;
  const all = Array.from({ length: COPIES }, (_, index) => `10.0.0.${index + 1}:8080`).toSorted();
  const call = (path: string, body?: unknown): Promise<Response> =>
    fetch(`${consul.url}/v1${path}`, { method: "PUT", body: JSON.stringify(body) });
  const register = (name: string, host: number, tags: readonly string[] = []): Promise<Response> =>
    call("/agent/service/register", {
      ID: `${name}-${host}`,
      Name: name,
      Address: `10.0.0.${host}`,
      Port: 8080,
      Tags: tags,
      Weights: { Passing: host, Warning: 1 },
    });
  const places = ({ instances }: Snapshot): readonly string[] => instances.map(address).toSorted();

  beforeAll(async () => {
    const dnsPort = await freePort();
    consul = await startConsul({ faults: ["kill"], dnsPort });
    options = {
      servers: [`127.0.0.1:${dnsPort}`],
      name: "{service}.service.consul",
      transport: "tcp",
      intervalMs: 200,
    };
    for (let host = 1; host <= COPIES; host++) await register("lorem", host, host <= 2 ? ["canary"] : []);
  });
  afterAll(() => consul?.close());

  it("finds all instances by TCP, with their weights, and follows what comes and goes", async () => {
    await using registry = dnsRegistry(options);
    const follower = follow(registry.instancer("lorem"));
    const found = await follower.until("all", SOON_MS, ({ instances }) => instances.length === COPIES);
    expect(places(found)).toEqual(all);
    expect(found.instances.every(({ host, weight }) => host === `10.0.0.${weight}`)).toBe(true);
    await call("/agent/service/deregister/lorem-40");
    await follower.until("one less", SOON_MS, ({ instances }) => instances.length === COPIES - 1);
    await register("lorem", 40);
    await follower.until("one more", SOON_MS, ({ instances }) => instances.length === COPIES);
  });

  it("finds only some of them by UDP, as Consul shortens answers without saying so", async () => {
    await using registry = dnsRegistry({ ...options, transport: "udp" });
    const follower = follow(registry.instancer("lorem"));
    const { instances } = await follower.until("some", SOON_MS, ({ state }) => state === "live");
    expect(instances.length).toBeLessThan(COPIES);
  });

  it("finds those with a tag, by a name that is made of it", async () => {
    const name: DnsRegistryOptions["name"] = ({ service, tags }) => [...tags, service, "service.consul"].join(".");
    await using registry = dnsRegistry({ ...options, name });
    const follower = follow(registry.instancer({ service: "lorem", tags: ["canary"] }));
    const { instances } = await follower.until("the tagged", SOON_MS, ({ state }) => state === "live");
    expect(instances.map(({ host, tags }) => [host, tags])).toEqual([
      ["10.0.0.1", ["canary"]],
      ["10.0.0.2", ["canary"]],
    ]);
  });

  it("takes a service that nobody registered for empty", async () => {
    await using registry = dnsRegistry(options);
    const follower = follow(registry.instancer("nobody"));
    const { instances } = await follower.until("live", SOON_MS, ({ state }) => state === "live");
    expect(instances).toEqual([]);
  });

  it("keeps the last good set while Consul is down, and never takes it for empty when it is back", async () => {
    await using registry = dnsRegistry(options);
    const follower = follow(registry.instancer("lorem"));
    await follower.until("all", SOON_MS, ({ instances }) => instances.length === COPIES);
    await consul.kill();
    const stale = await follower.until("stale", SOON_MS, ({ state }) => state === "stale");
    expect(places(stale)).toEqual(all);
    await consul.start();
    await follower.until("live again", SOON_MS, ({ state }) => state === "live");
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    expect(follower.told.map((snapshot) => snapshot.instances.length)).toEqual(follower.told.map(() => COPIES));
  });
});
