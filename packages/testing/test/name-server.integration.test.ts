import { Resolver } from "node:dns/promises";
import { type NameServer, serverSkipped, startNameServer } from "@rollcall/testing/servers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

describe.skipIf(serverSkipped("knot"))("a name server for tests", () => {
  let names: NameServer;
  const resolver = new Resolver({ timeout: 2_000, tries: 1 });
  const ports = async (): Promise<number[]> =>
    (await resolver.resolveSrv("lorem.rollcall.test")).map(({ port }) => port).toSorted((a, b) => a - b);

  beforeAll(async () => {
    names = await startNameServer({ records: ["lorem SRV 0 1 8080 a", "a A 10.0.0.1"] });
    resolver.setServers([names.address]);
  });
  afterAll(() => names?.close());

  it("answers for its zone as soon as it is there", async () => {
    expect(await ports()).toEqual([8080]);
    expect(await resolver.resolve4("a.rollcall.test")).toEqual(["10.0.0.1"]);
  });

  it("answers with what was published, many times in a row", async () => {
    for (let port = 8081; port < 8090; port++) {
      await names.publish([`lorem SRV 0 1 ${port} a`]);
      expect(await ports()).toEqual([port]);
    }
    await names.publish([]);
    await expect(ports()).rejects.toMatchObject({ code: "ENOTFOUND" });
  });

  it("says what is wrong with a zone that it does not take", async () => {
    await expect(names.publish(["lorem SRV nonsense"])).rejects.toThrow(/did not take the zone.*parse/s);
    await names.publish(["lorem SRV 0 1 8080 a"]);
    expect(await ports()).toEqual([8080]);
  });

  it("has its zone again after it was killed, and what was published meanwhile", async () => {
    await names.server.kill();
    await expect(ports()).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await names.server.start();
    expect(await ports()).toEqual([8080]);
    await names.server.kill();
    await names.publish(["lorem SRV 0 1 8081 a"]);
    await names.server.start();
    expect(await ports()).toEqual([8081]);
  });

  it("answers SERVFAIL once it has lost its zone, until there is another one", async () => {
    await names.server.restart({ wipe: true });
    await expect(ports()).rejects.toMatchObject({ code: "ESERVFAIL" });
    await names.publish(["lorem SRV 0 1 8082 a"]);
    expect(await ports()).toEqual([8082]);
  });
});
