import { channels } from "@rollcall/core";
import { type TcpProxy, tcpProxy } from "@rollcall/testing";
import { type TestServer, serverSkipped, startZookeeper } from "@rollcall/testing/servers";
import { ACL, CreateMode, Id, Permission } from "node-zookeeper-client";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { nodeName } from "../src/client.ts";
import { ZooKeeperError, type ZooKeeperRegistryOptions, zookeeperRegistry } from "../src/index.ts";
import { type Past, past } from "./past.ts";
import { closeAfterwards, follow, newService, pause, run, until } from "../../testing/test/backend.ts";

const SESSION_MS = 4_000;

describe.skipIf(serverSkipped("zookeeper"))("a registry on a real ZooKeeper", () => {
  let zookeeper: TestServer;
  let proxy: TcpProxy;
  let other: Past;
  let service: string;
  const opened: { close(): Promise<void> }[] = [];
  const keep = <T extends { close(): Promise<void> }>(closable: T): T => {
    opened.push(closable);
    return closable;
  };
  const direct = (): string => `${zookeeper.host}:${zookeeper.port}`;
  /** Not where there are faults: it does not survive them, and may take the process along. */
  const withOther = (): void =>
    beforeEach(async () => {
      other = keep(await past(direct()));
    });
  const open = (options: ZooKeeperRegistryOptions = {}) =>
    keep(
      zookeeperRegistry({
        ...(options.hosts === undefined ? { url: `127.0.0.1:${proxy.port}` } : {}),
        sessionTimeoutMs: SESSION_MS,
        ...options,
      }),
    );
  /** The names of all nodes of the service, as of now: over a connection of its own, whatever happened to others. */
  const nodes = async (): Promise<readonly string[]> => {
    for (;;) {
      const fresh = await past(direct());
      // While ZooKeeper comes and goes, so does this connection.
      const names = await fresh.children(`/services/${nodeName(service)}`).catch(() => undefined);
      await fresh.close();
      if (names !== undefined) return names.toSorted();
    }
  };
  const instance = (id: string, more: object = {}) => ({ service, host: "h", port: 80, id, ...more });

  beforeAll(async () => {
    zookeeper = await startZookeeper({ faults: ["kill", "freeze", "wipe"] });
  });
  closeAfterwards(() => zookeeper?.close());
  beforeEach(async () => {
    await zookeeper.thaw();
    await zookeeper.start();
    proxy = keep(await tcpProxy({ target: { host: zookeeper.host, port: zookeeper.port } }));
    service = newService();
  });
  afterEach(async () => {
    await zookeeper.thaw();
    await zookeeper.start();
    for (const each of opened.splice(0).toReversed()) await each.close();
  });

  describe("reads", () => {
    withOther();

    it("what others write and change: ours, go-kit's and Curator's, each child and its data", async () => {
      const seen = follow(open().instancer(service));
      await seen.shows([]);
      const path = `/services/${service}`;
      await other.put(`${path}/_c_0f-0000000001`, "10.0.0.1:80", CreateMode.EPHEMERAL);
      await other.put(`${path}/6d1c`, JSON.stringify({ name: service, id: "6d1c", address: "10.0.0.2", port: 80 }));
      await other.put(`${path}/x`, JSON.stringify({ host: "10.0.0.3", port: 80, id: "ours", weight: 2 }));
      await seen.shows(["_c_0f-0000000001", "6d1c", "ours"]);
      await other.change(`${path}/x`, JSON.stringify({ host: "10.0.0.3", port: 80, id: "ours", weight: 3 }));
      await until("the new weight is seen", () => seen.snapshot.instances[2]?.weight === 3);
      await other.change(`${path}/6d1c`, JSON.stringify({ name: service, address: "h", port: 80, enabled: false }));
      await seen.shows(["_c_0f-0000000001", "ours"]);
      await other.remove(`${path}/x`);
      await seen.shows(["_c_0f-0000000001"]);
    });

    it("a service that is made, removed and made again while it is watched", async () => {
      const seen = follow(open().instancer(service));
      await seen.shows([]);
      const path = `/services/${service}`;
      for (const id of ["a", "b"]) {
        await other.put(`${path}/${id}`, "10.0.0.1:80");
        await seen.shows([id]);
        await other.remove(`${path}/${id}`);
        await other.remove(path);
        await seen.shows([]);
      }
    });

    it("the good ones among bad ones, which are reported, and takes nothing but junk for an error", async () => {
      const reports: { skipped: number; record: unknown }[] = [];
      const unsubscribe = channels.badRecord.subscribe(({ skipped, errors }) => {
        reports.push({ skipped, record: errors[0]?.record });
      });
      const path = `/services/${service}`;
      await other.put(`${path}/bad`, "junk");
      await other.put(`${path}/marker`, "");
      await other.put(`${path}/good`, "10.0.0.1:80");
      const seen = follow(open().instancer(service));
      await seen.shows(["good"]);
      expect(reports).toEqual([{ skipped: 1, record: `${path}/bad` }]);
      await other.remove(`${path}/good`);
      await seen.becomes("stale");
      expect(seen.ids).toEqual(["good"]);
      await other.put(`${path}/good`, "10.0.0.2:80");
      await seen.shows(["good"]);
      unsubscribe();
    });

    it("thousands of changes, and ends with the last of them", async () => {
      const path = `/services/${service}`;
      await other.put(`${path}/a`, "10.0.0.1:1");
      const seen = follow(open().instancer(service));
      await seen.shows(["a"]);
      for (let port = 2; port <= 1_000; port++) await other.change(`${path}/a`, `10.0.0.1:${port}`);
      await until("the last one is seen", () => seen.snapshot.instances[0]?.port === 1_000);
    });
  });

  describe("announces", () => {
    withOther();

    it("with one ephemeral node, which goes with its registration and nothing else", async () => {
      const registry = open();
      const [mine, twin] = [registry, open()].map((each) => each.registrar(instance("a")));
      await mine?.register();
      const [name = ""] = await nodes();
      const path = `/services/${service}/${name}`;
      expect(name).toMatch(/^a-[0-9a-f-]{36}$/);
      expect((await other.get(path))?.stat.ephemeralOwner.equals(Buffer.alloc(8))).toBe(false);
      expect(JSON.parse((await other.get(path))?.data ?? "")).toMatchObject({
        id: "a",
        host: "h",
        port: 80,
        weight: 1,
      });
      await other.put(`/services/${service}/theirs`, "10.0.0.9:80");
      await twin?.register();
      expect(await nodes()).toHaveLength(3);
      await mine?.deregister();
      expect(await other.get(path)).toBeUndefined();
      expect(await nodes()).toHaveLength(2);
      await mine?.deregister();
      expect(await nodes()).toHaveLength(2);
    });

    it("so that the newest of several of the same id counts", async () => {
      const seen = follow(open().instancer(service));
      const [older, newer] = [1, 2].map((weight) => open().registrar(instance("a", { weight })));
      await older?.register();
      await newer?.register();
      await until("the newer one counts", () => seen.snapshot.instances[0]?.weight === 2);
      expect(seen.ids).toEqual(["a"]);
      await newer?.close();
      await until("the older one counts", () => seen.snapshot.instances[0]?.weight === 1);
    });

    it("names that ZooKeeper does not take", async () => {
      const registry = open();
      service = "team/lorem/😀\u0001";
      const seen = follow(registry.instancer(service));
      await registry.registrar(instance("../a/😀")).register();
      await seen.shows(["../a/😀"]);
    });

    it("many over one connection, and watches many over another", async () => {
      const registry = open();
      const all = Array.from({ length: 50 }, (_, n) => registry.registrar(instance(`a-${n}`, { port: n + 1 })));
      await Promise.all(all.map((each) => each.register()));
      const seen = Array.from({ length: 50 }, (_, n) =>
        follow(registry.instancer({ service, tags: n > 0 ? [`t${n}`] : [] })),
      );
      await until("all are seen", () => seen[0]?.ids.length === 50);
      expect(proxy.connections).toBe(2);
    });

    it("again what somebody has changed, without a gap, and what somebody has removed", async () => {
      const registry = open();
      const seen = follow(registry.instancer(service));
      await registry.registrar(instance("a")).register();
      await seen.shows(["a"]);
      seen.history.length = 0;
      const [name] = await nodes();
      await other.change(`/services/${service}/${name}`, "10.0.0.6:666");
      const isNew = async (old: unknown): Promise<boolean> => {
        const now = await nodes();
        return now.length === 1 && now[0] !== old;
      };
      await until("there is another node", () => isNew(name));
      await seen.shows(["a"]);
      expect(seen.neverEmpty).toBe(true);
      const [next] = await nodes();
      await other.remove(`/services/${service}/${next}`);
      await until("it is there again", () => isNew(next));
    });

    it("again what somebody has emptied, over the same connection", async () => {
      const registry = open();
      await registry.registrar(instance("a")).register();
      const [name] = await nodes();
      const path = `/services/${service}/${name}`;
      // Of the client's own ways only this one takes null, which is not the same as nothing.
      await new Promise((resolve) => other.client.transaction().setData(path, null, -1).commit(resolve));
      await until("there is another node", async () => {
        const now = await nodes();
        return now.length === 1 && now[0] !== name;
      });
      expect(proxy.connections).toBe(1);
    });

    it("nothing that is too big, and says so", async () => {
      const registrar = open().registrar(instance("a", { metadata: { x: "x".repeat(1_100_000) } }));
      await expect(registrar.register()).rejects.toThrow(/1048576/);
    });
  });

  describe("with credentials", () => {
    withOther();

    const user = (name: string) => ({ username: name, password: `${name}:secret`, root: "/guarded" });

    it("lets everybody read, and nobody else write", async () => {
      await open(user("ada")).registrar(instance("a")).register();
      const seen = follow(open({ root: "/guarded" }).instancer(service));
      await seen.shows(["a"]);
      const [name] = await other.children(`/guarded/${service}`);
      await expect(other.change(`/guarded/${service}/${name}`, "x")).rejects.toMatchObject({ code: -102 });
      const refused = open(user("bob")).registrar(instance("b"));
      const error = await refused.register().catch((each: unknown) => each);
      expect(error).toBeInstanceOf(ZooKeeperError);
      expect(error).toMatchObject({ code: -102 });
      await refused.close();
      const mine = keep(await past(direct(), "ada:ada:secret"));
      await mine.change(`/guarded/${service}/${name}`, "10.0.0.1:80");
    });

    it("sees what happened while it had no right to read, when it has it again", async () => {
      const registry = open({ ...user("ada"), relistMs: 1_000 });
      await registry.registrar(instance("a")).register();
      const seen = follow(open({ root: "/guarded", relistMs: 1_000 }).instancer(service));
      await seen.shows(["a"]);
      const mine = keep(await past(direct(), "ada:ada:secret"));
      const allow = (...acl: ACL[]) =>
        new Promise((resolve) =>
          mine.client.setACL(`/guarded/${service}`, [new ACL(Permission.ALL, new Id("auth", "")), ...acl], resolve),
        );
      await allow();
      await registry.registrar(instance("b")).register();
      await seen.becomes("stale", 2_000);
      expect(seen.snapshot).toMatchObject({ error: { code: -102 }, instances: [{ id: "a" }] });
      await allow(new ACL(Permission.READ, new Id("world", "anyone")));
      await seen.shows(["a", "b"], 4_000);
    });

    it("makes what it makes with the given rights", async () => {
      const acl = [
        { scheme: "auth", id: "", permissions: "cdrwa" },
        { scheme: "world", id: "anyone", permissions: "c" },
      ] as const;
      await open({ ...user("ada"), root: "/secret", acl })
        .registrar(instance("a"))
        .register();
      const blind = follow(open({ root: "/secret" }).instancer(service));
      await until("it may not look", () => blind.snapshot.state === "pending" && blind.snapshot.error !== undefined);
      expect(blind.snapshot).toMatchObject({ error: { code: -102 } });
      const seen = follow(open({ ...user("ada"), root: "/secret" }).instancer(service));
      await seen.shows(["a"]);
    });
  });

  describe("with several hosts", () => {
    it.each(["cut", "hole"] as const)(
      "takes the living one when the other is %s, at the start and later",
      async (fault) => {
        const second = keep(await tcpProxy({ target: { host: zookeeper.host, port: zookeeper.port } }));
        const hosts = [`127.0.0.1:${proxy.port}`, `127.0.0.1:${second.port}`];
        await second[fault]();
        const registry = open({ hosts, timeoutMs: 3_000 });
        const seen = follow(registry.instancer(service));
        const registrar = registry.registrar(instance("a"));
        await registrar.register();
        await seen.shows(["a"]);
        const names = await nodes();
        await second.open();
        await proxy[fault]();
        await seen.becomes("stale", 10_000);
        await seen.shows(["a"], 10_000);
        await until("it is registered", () => registrar.registered, 10_000);
        if (fault === "cut") expect(await nodes()).toEqual(names);
        expect(seen.neverEmpty || seen.history[0]?.instances.length === 0).toBe(true);
      },
    );

    it("speaks to an IPv6 address", async () => {
      const six = keep(await tcpProxy({ target: { host: zookeeper.host, port: zookeeper.port }, host: "::1" }));
      const seen = follow(open({ hosts: [`[::1]:${six.port}`] }).instancer(service));
      await seen.shows([]);
    });
  });

  describe("when something fails", () => {
    const announced = async () => {
      const registry = open();
      const seen = follow(registry.instancer(service));
      const registrar = registry.registrar(instance("a"));
      await registrar.register();
      await seen.shows(["a"]);
      seen.history.length = 0;
      return { registry, seen, registrar, names: await nodes() };
    };

    it("keeps its node over a network that is cut for less than the session's time-out", async () => {
      const { seen, registrar, names } = await announced();
      await proxy.cut();
      await seen.becomes("stale", 1_000);
      await pause(1_500);
      await proxy.open();
      await seen.shows(["a"]);
      await until("it is registered", () => registrar.registered);
      expect(await nodes()).toEqual(names);
      expect(seen.neverEmpty).toBe(true);
    });

    it("keeps its node over a ZooKeeper that is killed and comes back", async () => {
      const { seen, registrar, names } = await announced();
      await zookeeper.kill();
      await seen.becomes("stale", 1_000);
      await pause(1_000);
      await zookeeper.start();
      await seen.shows(["a"]);
      await until("it is registered", () => registrar.registered);
      expect(await nodes()).toEqual(names);
      expect(seen.neverEmpty).toBe(true);
    });

    it("is back after a ZooKeeper that stood still for two session time-outs", async () => {
      const { seen, registrar } = await announced();
      await zookeeper.freeze();
      await seen.becomes("stale", 2 * SESSION_MS);
      await pause(2 * SESSION_MS);
      await zookeeper.thaw();
      await until("it is registered, once", async () => registrar.registered && (await nodes()).length === 1, 15_000);
      await seen.shows(["a"], 3_000);
      expect(seen.neverEmpty).toBe(true);
    });

    it("is back after a ZooKeeper that forgot everything", async () => {
      const { seen, registrar } = await announced();
      await zookeeper.restart({ wipe: true });
      await until("it is registered, once", async () => registrar.registered && (await nodes()).length === 1, 15_000);
      await seen.shows(["a"], 3_000);
      expect(seen.neverEmpty).toBe(true);
    });

    it("leaves nothing of a registration that was given up while nobody answered", async () => {
      const { registry } = await announced();
      const late = registry.registrar(instance("late"));
      const gaveUp = new AbortController();
      await proxy.hole();
      const registering = late.register({ signal: gaveUp.signal });
      await pause(200);
      gaveUp.abort(new Error("enough"));
      await expect(registering).rejects.toThrow("enough");
      await proxy.open();
      await pause(500);
      expect(await nodes()).toEqual([expect.stringMatching(/^a-/)]);
    });

    it("takes back later what it could not take back at once, although its session lives on", async () => {
      const { registry, names } = await announced();
      const second = registry.registrar(instance("b"));
      await second.register();
      await proxy.hole();
      const deregistering = second.deregister();
      await expect(deregistering).rejects.toThrow();
      await proxy.cut();
      await proxy.open();
      await until("it is gone", async () => String(await nodes()) === String(names), 10_000);
    });

    describe.each([
      ["is well", async () => undefined],
      ["was killed", () => zookeeper.kill()],
      ["is frozen", () => zookeeper.freeze()],
      ["cannot be reached", () => proxy.hole()],
    ])("in a process of its own, and ZooKeeper %s", (_, fault) => {
      const using = (): string => `
        import { zookeeperRegistry } from "@rollcall/zookeeper";
        const registry = zookeeperRegistry({ url: "127.0.0.1:${proxy.port}" });
        registry.instancer("lorem").subscribe(() => undefined);
        const registrar = registry.registrar({ service: "lorem", host: "h", port: 80 });`;
      const onFault = (line: string): unknown => line === "fault" && fault();

      it("closes soon, and lets the process end, in the middle of everything", async () => {
        const ending = await run(
          `${using()} await registrar.register(); say("fault"); await pause(300);
          void registry.registrar({ service: "lorem", host: "h", port: 81 }).register();
          registry.instancer("other").subscribe(() => undefined);
          const startMs = performance.now();
          await registry.close();
          say("closed " + Math.round(performance.now() - startMs));`,
          onFault,
        );
        expect(ending).toMatchObject({ code: 0, stderr: "", stdout: expect.stringMatching(/^fault\nclosed \d+\n$/) });
        expect(Number(/closed (\d+)/.exec(ending.stdout)?.[1])).toBeLessThan(3_000);
        expect(ending.lingeredMs).toBeLessThan(500);
      });

      it("closes soon while it connects", async () => {
        await fault();
        const ending = await run(`${using()} void registrar.register(); await pause(50); await registry.close();`);
        expect(ending).toMatchObject({ code: 0, stdout: "", stderr: "" });
      });

      it("lets the process end although nobody closes it", async () => {
        const ending = await run(
          `${using()} await registrar.register(); say("fault"); await pause(500); say("done");`,
          onFault,
        );
        expect(ending).toMatchObject({ code: 0, stderr: "", stdout: "fault\ndone\n" });
        expect(ending.lingeredMs).toBeLessThan(1_500);
      });
    });
  });
});
