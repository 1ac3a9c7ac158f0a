import dns from "node:dns";
import { setTimeout as delay } from "node:timers/promises";
import {
  address,
  channels,
  createClient,
  type Instancer,
  priority,
  type Registry,
  type Snapshot,
  weightedRandom,
} from "@rollcall/core";
import { follow, type Follower } from "@rollcall/testing/conformance";
import { type NameServer, serverSkipped, startNameServer } from "@rollcall/testing/servers";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type DnsRegistryOptions, dnsRegistry } from "../src/index.ts";
import { type NameRelay, nameRelay } from "./name-relay.ts";
import { openSockets } from "./open-sockets.ts";

const LOREM = ["lorem SRV 0 1 8080 a", "lorem SRV 0 3 8081 b", "a A 10.0.0.1", "b A 10.0.0.2"];
const INTERVAL_MS = 100;
const SOON_MS = 5_000;

describe.skipIf(serverSkipped("knot"))("against a real name server", () => {
  let names: NameServer;
  let relay: NameRelay;
  let registries: Registry[] = [];

  beforeAll(async () => {
    names = await startNameServer();
    relay = await nameRelay(names.server);
  });
  afterAll(async () => {
    await relay?.close();
    await names?.close();
  });
  beforeEach(() => names.publish(LOREM));
  afterEach(async () => {
    await Promise.all(registries.map((registry) => registry.close()));
    registries = [];
    relay.spoil = undefined;
    await relay.tcp.open();
    await names.server.thaw();
    await names.server.start();
  });

  function open(options: DnsRegistryOptions = {}): Registry {
    const registry = dnsRegistry({
      servers: [relay.address],
      name: "{service}.rollcall.test",
      intervalMs: INTERVAL_MS,
      timeoutMs: 500,
      ...options,
    });
    registries.push(registry);
    return registry;
  }
  const watch = (options: DnsRegistryOptions = {}, service = "lorem"): Follower =>
    follow(open(options).instancer(service));
  const places = ({ instances }: Snapshot): readonly string[] => instances.map(address);
  const live = (follower: Follower): Promise<Snapshot> =>
    follower.until("live", SOON_MS, ({ state }) => state === "live");
  const stale = (follower: Follower): Promise<Snapshot> =>
    follower.until("stale", SOON_MS, ({ state }) => state === "stale");
  const both = (follower: Follower): Promise<Snapshot> =>
    follower.until("both", SOON_MS, (snapshot) => snapshot.state === "live" && snapshot.instances.length === 2);
  const BOTH = ["10.0.0.1:8080", "10.0.0.2:8081"];

  /** It was stale, with what was there before, for as long as it lasted, and is as it was afterwards. */
  async function assertKept(follower: Follower, begin: () => unknown, end: () => unknown, error: RegExp) {
    await both(follower);
    const from = follower.told.length;
    await begin();
    const snapshot = await stale(follower);
    expect(places(snapshot)).toEqual(BOTH);
    expect(String("error" in snapshot && snapshot.error)).toMatch(error);
    await delay(3 * INTERVAL_MS);
    expect(follower.instancer.snapshot.state).toBe("stale");
    await end();
    await both(follower);
    expect(follower.told.slice(from).map(places)).toEqual([BOTH, BOTH]);
  }

  describe("reading", () => {
    it("makes an instance of each SRV record, with the address, the port, and the weight", async () => {
      const { instances } = await live(watch());
      expect(instances).toEqual([
        {
          id: "a.rollcall.test:8080",
          service: "lorem",
          host: "10.0.0.1",
          port: 8080,
          weight: 1,
          tags: [],
          metadata: { target: "a.rollcall.test", priority: "0" },
        },
        expect.objectContaining({ id: "b.rollcall.test:8081", host: "10.0.0.2", port: 8081, weight: 3 }),
      ]);
    });

    it("sees what is changed in the zone", async () => {
      const follower = watch();
      await both(follower);
      await names.publish([...LOREM, "lorem SRV 0 1 8082 c", "c A 10.0.0.3"]);
      await follower.until("the new one", SOON_MS, ({ instances }) => instances.length === 3);
      await names.publish(["lorem SRV 0 1 8082 c", "c A 10.0.0.3"]);
      const last = await follower.until("it alone", SOON_MS, ({ instances }) => instances.length === 1);
      expect(places(last)).toEqual(["10.0.0.3:8082"]);
      expect(follower.told.map(({ state }) => state)).toEqual(["live", "live", "live"]);
    });

    it("reads addresses, with a port of its own", async () => {
      await names.publish(["web A 10.0.0.1", "web A 10.0.0.2", "web AAAA fd00::1"]);
      expect(places(await live(watch({ port: 443 }, "web")))).toEqual(["10.0.0.1:443", "10.0.0.2:443"]);
      expect(places(await live(watch({ port: 443, family: 6 }, "web")))).toEqual(["[fd00::1]:443"]);
    });

    it("takes IPv6 where a target has nothing else, and the target's name where it has no address at all", async () => {
      await names.publish(["mixed SRV 0 1 80 six", "six AAAA fd00::6"]);
      expect(places(await live(watch({}, "mixed")))).toEqual(["[fd00::6]:80"]);
      await names.publish(["mixed SRV 0 1 80 elsewhere.example."]);
      expect(places(await live(watch({}, "mixed")))).toEqual(["elsewhere.example:80"]);
    });

    it("follows an alias", async () => {
      await names.publish([...LOREM, "other CNAME another", "another CNAME lorem"]);
      expect(places(await live(watch({}, "other")))).toEqual(BOTH);
    });

    it("takes only the first priority, or leaves the choice to the policy", async () => {
      await names.publish([...LOREM, "lorem SRV 1 9 8082 c", "c A 10.0.0.3"]);
      expect(places(await live(watch()))).toEqual(BOTH);
      const client = createClient({
        instancer: open({ priorities: "all" }).instancer("lorem"),
        factory: address,
        policy: priority(weightedRandom()),
      });
      await client.ready();
      expect(client.endpoints).toHaveLength(3);
      const calls = { "10.0.0.1:8080": 0, "10.0.0.2:8081": 0, "10.0.0.3:8082": 0 };
      for (let call = 0; call < 400; call++) calls[(await client.call((place) => place)) as keyof typeof calls]++;
      expect(calls["10.0.0.3:8082"]).toBe(0);
      expect(calls["10.0.0.2:8081"]).toBeGreaterThan(2 * calls["10.0.0.1:8080"]);
      await names.publish(["lorem SRV 1 9 8082 c", "c A 10.0.0.3"]);
      await expect.poll(() => client.endpoints.length, { timeout: SOON_MS }).toBe(1);
      expect(await client.call((place) => place)).toBe("10.0.0.3:8082");
      await client.close();
    });
  });

  describe("asking", () => {
    it.each([
      ["at most once per interval, if the TTL is 0", 0, INTERVAL_MS],
      ["not before the TTL is over", 1, 1_000],
    ])("asks %s, for 200 clients of one name", async (_, ttl, spacingMs) => {
      await names.publish(LOREM.map((line) => line.replace(/^\S+/, `$& ${ttl}`)));
      const registry = open();
      const instancers = Array.from({ length: 200 }, (_each, index): Instancer => {
        return registry.instancer({ service: "lorem", passingOnly: index % 2 === 0 });
      });
      const from = relay.asked.length;
      const startedMs = performance.now();
      await Promise.all(instancers.map((instancer) => live(follow(instancer))));
      await delay(2_500);
      assertPaced(relay.asked.length - from, performance.now() - startedMs, spacingMs);
    });

    it("asks at most once per interval also while the server cannot answer", async () => {
      await names.server.restart({ wipe: true });
      const registry = open({ intervalMs: 400 });
      const from = relay.asked.length;
      const startedMs = performance.now();
      const followers = Array.from({ length: 200 }, () => follow(registry.instancer("lorem")));
      await delay(2_500);
      // Core waits, too, for up to two seconds.
      assertPaced(relay.asked.length - from, performance.now() - startedMs, 400, 0.2);
      expect(followers.every(({ instancer }) => instancer.snapshot.state === "pending")).toBe(true);
    });

    it("reads by TCP what does not fit into a datagram", async () => {
      const many = Array.from({ length: 100 }, (_, index) => index + 1);
      await names.publish(many.flatMap((n) => [`many SRV 0 1 80 host-${n}`, `host-${n} A 10.0.1.${n}`]));
      const follower = watch({}, "many");
      const { instances } = await follower.until("all", SOON_MS, (snapshot) => snapshot.instances.length === 100);
      expect(instances.every(({ host }) => host.startsWith("10.0.1."))).toBe(true);
      expect(relay.tcp.accepted).toBeGreaterThan(0);
      await delay(5 * INTERVAL_MS);
      expect(follower.told).toHaveLength(1);
    });

    it("asks by TCP at once if told so", async () => {
      const from = relay.asked.length;
      expect(places(await live(watch({ transport: "tcp" })))).toEqual(BOTH);
      expect(relay.asked).toHaveLength(from);
    });

    it("asks the servers of node:dns if it is given none, and servers by their names", async () => {
      const before = dns.getServers();
      dns.setServers([names.address]);
      try {
        expect(places(await live(watch({ servers: undefined })))).toEqual(BOTH);
      } finally {
        dns.setServers(before);
      }
      const servers = [names.address.replace("127.0.0.1", "localhost")];
      for (const transport of ["udp", "tcp"] as const) {
        expect(places(await live(watch({ servers, transport })))).toEqual(BOTH);
      }
    });

    it.each(["udp", "tcp"] as const)(
      "asks the next server if one has a name that nobody knows, by %s",
      async (transport) => {
        const servers = ["no-such-host.invalid", names.address];
        expect(places(await live(watch({ servers, transport })))).toEqual(BOTH);
      },
    );

    it("asks the next server if one is dead, silent or cannot answer", async () => {
      const lost = await startNameServer();
      await lost.server.restart({ wipe: true });
      const silent = await nameRelay(names.server);
      silent.spoil = () => [];
      const servers = ["127.0.0.1:9", silent.address, lost.address, relay.address];
      const follower = watch({ servers, timeoutMs: 200 });
      expect(places(await live(follower))).toEqual(BOTH);
      const asked = silent.asked.length;
      await delay(5 * INTERVAL_MS);
      expect(silent.asked, "the one that answered is asked first from then on").toHaveLength(asked);
      await silent.close();
      await lost.close();
    });
  });

  describe("failures: the last good set is kept", () => {
    it("while the server is down", () =>
      assertKept(
        watch({ servers: [names.address] }),
        () => names.server.kill(),
        () => names.server.start(),
        /ECONNREFUSED/,
      ));

    it("while it hangs", () =>
      assertKept(
        watch(),
        () => names.server.freeze(),
        () => names.server.thaw(),
        /TimeoutError: .*SRV lorem/,
      ));

    it("while it answers SERVFAIL", () =>
      assertKept(
        watch(),
        () => names.server.restart({ wipe: true }),
        () => names.publish(LOREM),
        /SERVFAIL/,
      ));

    it("while the answer is truncated and there is no way by TCP", () =>
      assertKept(
        watch(),
        async () => {
          await relay.tcp.cut();
          relay.spoil = (answer) => [withFlags(answer, 0x0200)];
        },
        () => relay.tcp.open(),
        /ECONNREFUSED/,
      ));

    it("while answers by TCP end in their middle", () =>
      assertKept(
        watch({ transport: "tcp" }),
        () => relay.tcp.truncate(20),
        () => relay.tcp.open(),
        /ended before the answer did/,
      ));

    it("while nobody answers by TCP", () =>
      assertKept(
        watch({ transport: "tcp" }),
        () => relay.tcp.hole(),
        () => relay.tcp.open(),
        /TimeoutError/,
      ));

    it.each<[string, (answer: Buffer) => readonly Buffer[], RegExp]>([
      ["bytes that are no message", (answer) => [Buffer.concat([answer.subarray(0, 2), Buffer.alloc(60, 0xff)])], /./],
      ["half a message", (answer) => [answer.subarray(0, answer.length / 2)], /cannot be read/],
      ["a header alone", (answer) => [answer.subarray(0, 11)], /cannot be read/],
      ["the question itself", (answer) => [withFlags(answer, 0, 0x8000)], /no answer/],
      ["an answer to another question", (answer) => [replace(answer, "lorem", "ipsum")], /no answer/],
      ["another code", (answer) => [withFlags(answer, 5)], /REFUSED/],
      ["nothing but answers to others", (answer) => [forged(answer), forged(answer)], /TimeoutError/],
    ])("while it sends %s", (_, spoil, error) =>
      assertKept(
        watch(),
        () => (relay.spoil = spoil),
        () => (relay.spoil = undefined),
        error,
      ),
    );

    it("while all of its records have port 0, which are reported", async () => {
      const skipped: number[] = [];
      const unsubscribe = channels.badRecord.subscribe((message) => skipped.push(message.skipped));
      const zeros = LOREM.map((line) => line.replace(/808\d/, "0"));
      await assertKept(
        watch(),
        () => names.publish(zeros),
        () => names.publish(LOREM),
        /none of 2 .* port/,
      );
      unsubscribe();
      expect(new Set(skipped)).toEqual(new Set([2]));
    });

    it("leaves out a record with port 0 beside good ones", async () => {
      await names.publish([...LOREM, "lorem SRV 0 1 0 a"]);
      expect(places(await live(watch()))).toEqual(BOTH);
    });

    it("does not take a forged answer that comes before the right one", async () => {
      relay.spoil = (answer) => [forged(answer), forged(answer), answer];
      expect(places(await live(watch()))).toEqual(BOTH);
    });
  });

  describe("negative answers", () => {
    it.each([
      ["the name does not exist", ["other A 10.0.0.1"]],
      ["the name has no such records", ["lorem A 10.0.0.1"]],
      ["its only record says that it is not available", ["lorem SRV 0 0 0 ."]],
    ])("are an empty set: %s", async (_, records) => {
      await names.publish(records);
      const snapshot = await live(watch());
      expect(snapshot.instances).toEqual([]);
    });

    it("are not believed at once after a full set, and not at all if it comes back", async () => {
      const held = Promise.withResolvers<void>();
      const unsubscribe = channels.emptyHeld.subscribe(() => held.resolve());
      const follower = watch({ emptyGraceMs: 4_000 });
      await both(follower);
      await names.publish([]);
      await held.promise;
      unsubscribe();
      await names.publish(LOREM);
      await delay(5_000);
      expect(follower.told.map(places)).toEqual([BOTH]);
    });

    it("are believed after a while", async () => {
      const follower = watch({ emptyGraceMs: 1_000 });
      await both(follower);
      await names.publish([]);
      const empty = await follower.until("empty", SOON_MS, ({ instances }) => instances.length === 0);
      expect(empty.state).toBe("live");
      await names.publish(LOREM);
      await both(follower);
    });

    it("are none if the server refers to others", async () => {
      await names.publish(["sub NS ns.elsewhere.example."]);
      const follower = watch({}, "lorem.sub");
      const snapshot = await follower.until("an error", SOON_MS, (each) => "error" in each && each.error !== undefined);
      expect(snapshot).toMatchObject({
        state: "pending",
        error: { message: expect.stringContaining("refers to others") },
      });
    });
  });

  describe("the end", () => {
    it("leaves no socket, also when it is closed while it asks", async () => {
      for (const transport of ["udp", "tcp"] as const) {
        const before = openSockets();
        const calm = open({ servers: [names.address], transport });
        await live(follow(calm.instancer("lorem")));
        await names.server.freeze();
        const busy = open({ servers: [names.address], transport, timeoutMs: 60_000 });
        follow(busy.instancer("lorem"));
        await expect.poll(openSockets).toBeGreaterThan(before);
        const startedMs = performance.now();
        await Promise.all([calm.close(), busy.close()]);
        expect(performance.now() - startedMs).toBeLessThan(100);
        await expect.poll(openSockets).toBe(before);
        await names.server.thaw();
      }
    });

    it("lets go of its sockets when the last listener leaves, though the registry stays", async () => {
      const before = openSockets();
      await names.server.freeze();
      const instancer = open({ servers: [names.address], timeoutMs: 60_000 }).instancer("lorem");
      const leave = instancer.subscribe(() => undefined);
      await expect.poll(openSockets).toBeGreaterThan(before);
      leave();
      await expect.poll(openSockets).toBe(before);
    });
  });
});

/** Once per interval at most, and not much less: in a time, not between two datagrams, which a busy machine may delay. */
function assertPaced(asked: number, elapsedMs: number, spacingMs: number, least = 0.5): void {
  expect(asked).toBeLessThanOrEqual(elapsedMs / spacingMs + 1);
  expect(asked).toBeGreaterThanOrEqual((elapsedMs / spacingMs) * least);
}

/** Sets and clears bits of the header's flags. */
function withFlags(message: Buffer, set: number, clear = 0): Buffer {
  const changed = Buffer.from(message);
  changed.writeUInt16BE((message.readUInt16BE(2) | set) & ~clear, 2);
  return changed;
}

function replace(message: Buffer, from: string, to: string): Buffer {
  return Buffer.from(message.toString("latin1").replaceAll(from, to), "latin1");
}

/** With another id. */
function forged(message: Buffer): Buffer {
  const changed = Buffer.from(message);
  changed.writeUInt16BE((message.readUInt16BE() + 1) % 2 ** 16);
  return replace(changed, "\x0a\0\0", "\x7f\0\0");
}
