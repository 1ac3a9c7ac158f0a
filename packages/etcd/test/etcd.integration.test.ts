import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type Socket, connect } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TlsOptions, createServer as createTlsServer } from "node:tls";
import { channels, createInstance } from "@rollcall/core";
import { tcpProxy } from "@rollcall/testing";
import { type TestServer, serverSkipped, startEtcd } from "@rollcall/testing/servers";
import { Etcd3 } from "etcd3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EtcdApi, encodeInstance, keyOf } from "../src/client.ts";
import { type EtcdRegistryOptions, etcdRegistry } from "../src/index.ts";
import { closeAfterwards, follow, newService, pause, timed, until } from "../../testing/test/backend.ts";
import { type Gateway, gateway } from "./gateway.ts";

describe.skipIf(serverSkipped("etcd"))("an etcd registry", () => {
  let etcd: TestServer;
  let past: Gateway;
  beforeAll(async () => {
    etcd = await startEtcd({ faults: ["kill"] });
    past = gateway(etcd.url);
  });
  closeAfterwards(() => etcd?.close());
  const open = (options?: EtcdRegistryOptions) => etcdRegistry({ url: etcd.url, ...options });
  const seed = (service: string, id: string, to = past, prefix = "/services") =>
    to.put(keyOf(prefix, { service, id }), encodeInstance(createInstance({ service, id, host: "h", port: 80 })));
  const countBad = () => {
    const counts = { bad: 0, [Symbol.dispose]: () => unsubscribe() };
    const unsubscribe = channels.badRecord.subscribe(({ skipped }) => void (counts.bad += skipped));
    return counts;
  };

  describe("among foreign keys", () => {
    it("reads what go-kit writes, and counts what is no record", async () => {
      using counts = countBad();
      const service = newService();
      await past.put(Buffer.from(`/services/${service}/10.0.0.1:8080`), "10.0.0.1:8080");
      await past.put(Buffer.from(`/services/${service}/http`), "http://10.0.0.2:8080/lorem");
      await past.put(Buffer.from(`/services/${service}/`), ""); // a marker of a directory
      await past.put(Buffer.from(`/services/${service}/deeper/key`), "10.0.0.3:80");
      await past.put(Buffer.from(`/services/${service}/junk`), Buffer.from([0xff, 0x00]));
      await past.put(Buffer.from(`/services/${service}x/other`), "10.0.0.4:80");
      await past.put(Buffer.from(`/services/${service}`), "10.0.0.5:80");
      await using registry = open();
      const seen = follow(registry.instancer(service));
      await seen.shows(["10.0.0.1:8080", "http"]);
      expect(counts.bad).toBe(3);
      await past.put(Buffer.from(`/services/${service}/late`), "{");
      await until("it is counted", () => counts.bad === 4);
      expect(seen.snapshot.state).toBe("live");
    });

    it("is stale if nothing but junk is left, and pending with an error if there was nothing else", async () => {
      const service = newService();
      await seed(service, "a");
      await using registry = open();
      const seen = follow(registry.instancer(service));
      await seen.shows(["a"]);
      await past.put(keyOf("/services", { service, id: "a" }), "junk");
      await seen.becomes("stale");
      expect(seen.ids).toEqual(["a"]);
      await using other = open();
      const late = follow(other.instancer(service));
      await until("it says why", () => late.snapshot.state === "pending" && late.snapshot.error !== undefined);
      await seed(service, "b");
      await seen.shows(["b"]);
      await late.shows(["b"]);
    });

    it("sees an empty service under a wrong prefix", async () => {
      const service = newService();
      await seed(service, "a");
      await using registry = open({ prefix: "/wrong" });
      await follow(registry.instancer(service)).shows([]);
    });
  });

  it("takes back its own record only: of two with one id, the successor's stays", async () => {
    const service = newService();
    const init = { service, id: "a", host: "h", port: 80 };
    await using first = open({ ttlMs: 3_000 });
    await using second = open({ ttlMs: 3_000 });
    const [old, young] = [first.registrar(init), second.registrar({ ...init, weight: 2 })];
    await old.register();
    await young.register();
    await pause(1_500); // both have renewed
    expect([old.registered, young.registered]).toEqual([true, true]);
    await old.deregister();
    const seen = follow(second.instancer(service));
    await seen.shows(["a"]);
    expect(seen.snapshot.instances[0]?.weight).toBe(2);
    await young.deregister();
    await seen.shows([]);
  });

  it("serves over IPv6, by name, and by a URL without a scheme", async () => {
    await using proxy = await tcpProxy({ target: { host: etcd.host, port: etcd.port }, host: "::1" });
    const service = newService();
    await seed(service, "a");
    for (const url of [
      proxy.url,
      `[::1]:${proxy.port}`,
      `http://localhost:${etcd.port}`,
      `${etcd.host}:${etcd.port}`,
    ]) {
      await using registry = open({ url });
      expect(await follow(registry.instancer(service)).shows(["a"])).toBeLessThan(2_000);
    }
  });

  it("goes over to another host when one is killed", async () => {
    const [a, b] = [
      await tcpProxy({ target: { host: etcd.host, port: etcd.port } }),
      await tcpProxy({ target: { host: etcd.host, port: etcd.port } }),
    ];
    const service = newService();
    await using registry = etcdRegistry({ hosts: [a.url, b.url], ttlMs: 3_000 });
    const seen = follow(registry.instancer(service));
    const registrar = registry.registrar({ service, id: "a", host: "h", port: 80 });
    await registrar.register();
    await seen.shows(["a"]);
    seen.history.length = 0; // it began empty
    for (const each of [a, b, a, b]) {
      await each.cut();
      await pause(1_500);
      await seen.shows(["a"], 2_500);
      await until("it is registered", () => registrar.registered);
      await each.open();
    }
    expect(seen.neverEmpty).toBe(true);
    await registry.close();
    await Promise.all([a.close(), b.close()]);
  });

  it("lets a call be given up without harm to any other", async () => {
    await using proxy = await tcpProxy({ target: { host: etcd.host, port: etcd.port } });
    await using registry = open({ url: proxy.url });
    const service = newService();
    const seen = follow(registry.instancer(service));
    const registrar = registry.registrar({ service, id: "a", host: "h", port: 80 });
    await registrar.register();
    await seen.shows(["a"]);
    for (let n = 0; n < 20; n++) {
      const caller = new AbortController();
      const other = registry.registrar({ service: `${service}-other`, id: `i${n}`, host: "h", port: 80 });
      const registering = other.register({ signal: caller.signal }).catch((error: unknown) => error);
      const listing = registry.instancer(`${service}-${n}`);
      listing.subscribe(() => undefined);
      await pause(n / 4);
      caller.abort(new Error("enough"));
      await listing.close();
      await registering;
      await other.deregister();
    }
    expect(proxy.accepted).toBe(2);
    expect(registrar.registered).toBe(true);
    expect(seen.history.every(({ state }) => state === "live")).toBe(true);
  });

  it("catches up with more changes than etcd tells at once, in as many pieces as it takes", async () => {
    const service = newService();
    const client = new Etcd3({ hosts: etcd.url });
    const held = Promise.withResolvers<void>();
    const api: EtcdApi = {
      kv: client.kv,
      leaseClient: client.leaseClient,
      auth: client.auth,
      maintenance: client.maintenance,
      watchClient: { watch: (options) => held.promise.then(() => client.watchClient.watch(options)) },
    };
    await using registry = open({ url: undefined, client: api, timeoutMs: 30_000 });
    const seen = follow(registry.instancer(service));
    await seen.shows([]);
    // 1,000 revisions are one piece, and 2 MiB one fragment of it.
    const tags = Array.from({ length: 40 }, (_, n) => `${n}`.padStart(100, "x"));
    for (let n = 0; n < 2_500; n += 100) {
      const batch = Array.from({ length: 100 }, (_, m) => `i${n + m}`);
      await Promise.all(
        batch.map((id) =>
          past.put(
            keyOf("/services", { service, id }),
            encodeInstance(createInstance({ service, id, host: "h", port: 80, tags })),
          ),
        ),
      );
    }
    held.resolve();
    await until("all are there", () => seen.ids.length === 2_500, 10_000);
    await registry.close();
    client.close();
  });

  describe("at scale", () => {
    it("watches 1,000 services over two connections and one stream, and sees a change within a second", async () => {
      await using proxy = await tcpProxy({ target: { host: etcd.host, port: etcd.port } });
      const warnings: unknown[] = [];
      const onWarning = (warning: unknown): void => void warnings.push(warning);
      process.on("warning", onWarning);
      await using registry = open({ url: proxy.url });
      const service = newService();
      const registrar = registry.registrar({ service: `${service}-7`, id: "a", host: "h", port: 80 });
      const startMs = performance.now();
      const all = Array.from({ length: 1_000 }, (_, n) => follow(registry.instancer(`${service}-${n}`)));
      await until("all are live", () => all.every(({ snapshot }) => snapshot.state === "live"), 15_000);
      expect(performance.now() - startMs).toBeLessThan(10_000);
      await registrar.register();
      expect(await all[7]?.shows(["a"])).toBeLessThan(1_000);
      await seed(`${service}-999`, "b");
      expect(await all[999]?.shows(["b"])).toBeLessThan(1_000);
      expect([proxy.accepted, proxy.connections]).toEqual([2, 2]);
      await proxy.cut();
      await until("all are stale", () => all.every(({ snapshot }) => snapshot.state === "stale"));
      await proxy.open();
      await until("all are live again", () => all.every(({ snapshot }) => snapshot.state === "live"), 5_000);
      await registry.close();
      expect(warnings).toEqual([]);
      process.off("warning", onWarning);
    });

    it("lists 20,000 instances, which is more than gRPC takes by default", async () => {
      const service = newService();
      const metadata = { note: "x".repeat(200) };
      for (let n = 0; n < 20_000; n += 100) {
        const success = Array.from({ length: 100 }, (_, m) => {
          const instance = createInstance({ service, id: `i${n + m}`, host: "h", port: 80, metadata });
          return {
            requestPut: {
              key: keyOf("/services", instance).toString("base64"),
              value: encodeInstance(instance).toString("base64"),
            },
          };
        });
        await past.call("/v3/kv/txn", { success });
      }
      await using registry = open();
      const seen = follow(registry.instancer(service));
      await until("all are there", () => seen.ids.length === 20_000, 5_000);
      await past.remove(keyOf("/services", { service, id: "i7" }));
      await until("one is gone", () => seen.ids.length === 19_999, 1_000);
    });

    it("tells etcd of each watch that ends, and holds nothing of 3,000 that came and went", async () => {
      await using registry = open();
      const watchers = async (): Promise<number> => {
        const metrics = await (await fetch(`${etcd.url}/metrics`)).text();
        return Number(/^etcd_debugging_mvcc_watcher_total (\d+)/m.exec(metrics)?.[1]);
      };
      const service = newService();
      await follow(registry.instancer(service)).shows([]);
      await until("others are gone", async () => (await watchers()) === 1);
      const round = async (): Promise<number> => {
        for (let n = 0; n < 1_000; n += 50) {
          await Promise.all(
            Array.from({ length: 50 }, async (_, m) => {
              await using instancer = registry.instancer(`${service}-${n + m}`);
              await follow(instancer).shows([]);
            }),
          );
        }
        globalThis.gc?.();
        return process.memoryUsage().heapUsed;
      };
      await round();
      const before = await round();
      const after = await round();
      await until("etcd has forgotten them", async () => (await watchers()) === 1);
      expect(after - before).toBeLessThan(globalThis.gc === undefined ? 64e6 : 1e6);
    });
  });

  describe("over TLS", () => {
    const folder = mkdtempSync(join(tmpdir(), "rollcall-tls-"));
    const file = (name: string): string => join(folder, name);
    const pem = (name: string): string => readFileSync(file(name), "utf8");
    const openssl = (...args: string[]): void => void execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
    const certify = (name: string, extension: string): void => {
      writeFileSync(file(`${name}.ext`), extension);
      openssl(
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        `${name}.key`,
        "-out",
        `${name}.csr`,
        "-subj",
        `/CN=${name}`,
      );
      openssl(
        "x509",
        "-req",
        "-in",
        `${name}.csr`,
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-out",
        `${name}.pem`,
        "-extfile",
        `${name}.ext`,
      );
    };
    const closers: (() => void)[] = [];
    /** Speaks TLS to clients and plain text to etcd. */
    const terminator = async (options: TlsOptions) => {
      const sockets = new Set<Socket>();
      const server = createTlsServer({ ...options, ALPNProtocols: ["h2"] }, (socket) => {
        const inner = connect({ host: etcd.host, port: etcd.port });
        socket.pipe(inner).pipe(socket);
        for (const each of [socket, inner]) each.on("error", () => undefined);
        inner.on("close", () => socket.destroy());
        socket.on("close", () => inner.destroy());
      });
      server.on("connection", (socket: Socket) => {
        sockets.add(socket);
        socket.on("close", () => sockets.delete(socket)).on("error", () => undefined);
      });
      server.on("tlsClientError", () => undefined);
      await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", () => resolve()));
      closers.push(() => {
        for (const socket of sockets) socket.destroy();
        server.close();
      });
      return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, connections: () => sockets.size };
    };
    type Terminator = Awaited<ReturnType<typeof terminator>>;
    let plain: Terminator;
    let mutual: Terminator;
    let named: Terminator;

    beforeAll(async () => {
      for (const ca of ["ca", "other-ca"]) {
        openssl(
          "req",
          "-x509",
          "-newkey",
          "rsa:2048",
          "-nodes",
          "-keyout",
          `${ca}.key`,
          "-out",
          `${ca}.pem`,
          "-days",
          "2",
          "-subj",
          `/CN=${ca}`,
        );
      }
      certify("server", "subjectAltName=IP:127.0.0.1");
      certify("named", "subjectAltName=DNS:etcd.internal");
      certify("client", "extendedKeyUsage=clientAuth");
      const own = { cert: pem("server.pem"), key: pem("server.key") };
      plain = await terminator(own);
      mutual = await terminator({ ...own, ca: pem("ca.pem"), requestCert: true, rejectUnauthorized: true });
      named = await terminator({ cert: pem("named.pem"), key: pem("named.key") });
    });
    afterAll(() => {
      for (const close of closers) close();
      rmSync(folder, { recursive: true });
    });

    it.each<[string, () => EtcdRegistryOptions]>([
      ["with the right authority", () => ({ url: plain.url, tls: { ca: pem("ca.pem") } })],
      [
        "with a certificate of its own",
        () => ({
          url: mutual.url,
          tls: { ca: Buffer.from(pem("ca.pem")), cert: pem("client.pem"), key: pem("client.key") },
        }),
      ],
      [
        "with the name that the certificate is for",
        () => ({ url: named.url, tls: { ca: pem("ca.pem"), servername: "etcd.internal" } }),
      ],
      ["without a look at the certificate", () => ({ url: named.url, tls: { rejectUnauthorized: false } })],
    ])("watches and registers %s, and leaves no connection", async (_, options) => {
      const service = newService();
      const registry = etcdRegistry(options());
      const seen = follow(registry.instancer(service));
      await registry.registrar({ service, id: "a", host: "h", port: 80 }).register();
      await seen.shows(["a"]);
      expect(plain.connections() + mutual.connections() + named.connections()).toBe(2);
      await registry.close();
      await until(
        "no connection is left",
        () => plain.connections() + mutual.connections() + named.connections() === 0,
        500,
      );
    });

    it.each<[string, () => EtcdRegistryOptions, RegExp]>([
      ["without an authority", () => ({ url: plain.url }), /unable to (verify|get local issuer)/],
      [
        "with the wrong authority",
        () => ({ url: plain.url, tls: { ca: pem("other-ca.pem") } }),
        /unable to (verify|get local issuer)|self-signed|signature/,
      ],
      [
        "with a certificate for another name",
        () => ({ url: named.url, tls: { ca: pem("ca.pem") } }),
        /altnames|does not match/,
      ],
      [
        "without the certificate that is demanded",
        () => ({ url: mutual.url, tls: { ca: pem("ca.pem") } }),
        /certificate required|handshake|UNAVAILABLE/,
      ],
      [
        "speaking plain text",
        () => ({ url: plain.url.replace("https", "http"), timeoutMs: 1_000 }),
        /UNAVAILABLE|timed out/,
      ],
      [
        "speaking TLS to plain text",
        () => ({ url: etcd.url.replace("http", "https"), timeoutMs: 1_000 }),
        /wrong version number|UNAVAILABLE|timed out/,
      ],
    ])("fails in time %s, and says why", async (_, options, message) => {
      const registry = etcdRegistry(options());
      const error = await registry
        .registrar({ service: newService(), host: "h", port: 80 })
        .register()
        .catch((caught: unknown) => caught);
      expect(String(error)).toMatch(message);
      expect(await timed(registry.close())).toBeLessThan(1_000);
      await until(
        "no connection is left",
        () => plain.connections() + mutual.connections() + named.connections() === 0,
        500,
      );
    });
  });

  describe("with users and passwords", () => {
    let guarded: TestServer;
    let root: Gateway;
    beforeAll(async () => {
      guarded = await startEtcd({ args: ["--auth-token-ttl=2"] });
      root = await gateway(guarded.url).enableAuth({ lorem: ["/services/lorem"] });
    });
    closeAfterwards(() => guarded?.close());
    const as = (username: string, password = username, more: EtcdRegistryOptions = {}) =>
      etcdRegistry({ url: guarded.url, username, password, ...more });

    it("watches and registers what the user may, and is refused the rest", async () => {
      await using registry = as("lorem");
      const seen = follow(registry.instancer("lorem"));
      const registrar = registry.registrar({ service: "lorem", id: "a", host: "h", port: 80 });
      await registrar.register();
      await seen.shows(["a"]);
      const refused = registry.registrar({ service: "other", host: "h", port: 80 });
      await expect(refused.register()).rejects.toMatchObject({
        name: "EtcdError",
        code: 7,
        message: expect.stringContaining("permission denied"),
      });
      const other = follow(registry.instancer("other"));
      await until("it says why", () => other.snapshot.state === "pending" && other.snapshot.error !== undefined);
      expect([seen.snapshot.state, registrar.registered]).toEqual(["live", true]);
      await registrar.deregister();
      await seen.shows([]);
    });

    it.each<[string, () => EtcdRegistryOptions, RegExp]>([
      [
        "a wrong password",
        () => ({ username: "lorem", password: "wrong" }),
        /authentication failed, invalid user ID or password/,
      ],
      [
        "an unknown user",
        () => ({ username: "nobody", password: "x" }),
        /authentication failed, invalid user ID or password/,
      ],
      ["no user at all", () => ({}), /user name is empty/],
    ])("says at once what is wrong with %s, and does not storm etcd", async (_, options, message) => {
      await using proxy = await tcpProxy({ target: { host: guarded.host, port: guarded.port } });
      await using registry = etcdRegistry({ url: proxy.url, ...options() });
      const seen = follow(registry.instancer("lorem"));
      const registrar = registry.registrar({ service: "lorem", host: "h", port: 80 });
      const startMs = performance.now();
      await expect(registrar.register()).rejects.toThrow(message);
      expect(performance.now() - startMs).toBeLessThan(2_000);
      await until(
        "the watch says it too",
        () => seen.snapshot.state === "pending" && message.test(String(seen.snapshot.error)),
      );
      const { accepted } = proxy;
      await pause(5_000);
      expect(proxy.accepted - accepted).toBeLessThan(5 * 4);
    });

    it("is refused when no user is needed", async () => {
      await using registry = open({ username: "lorem", password: "lorem" });
      await expect(registry.registrar({ service: "lorem", host: "h", port: 80 }).register()).rejects.toThrow(
        /authentication is not enabled/,
      );
    });

    it("is stale within the time of a list when the permission is lost, and well when it is given back", async () => {
      await using registry = as("lorem", "lorem", { relistMs: 1_000, ttlMs: 3_000 });
      const seen = follow(registry.instancer("lorem"));
      const registrar = registry.registrar({ service: "lorem", id: "a", host: "h", port: 80 });
      await registrar.register();
      await seen.shows(["a"]);
      await root.permit("lorem", "/services/lorem", false);
      expect(await seen.becomes("stale")).toBeLessThan(1_500);
      await until("the registrar knows it too", () => !registrar.registered);
      expect(seen.ids).toEqual(["a"]);
      await root.permit("lorem", "/services/lorem", true);
      await seen.shows(["a"], 3_000);
      await until("it is registered again", () => registrar.registered, 3_000);
    });

    it("gets new tokens when etcd forgets the old ones, and watches on with both", async () => {
      await using proxy = await tcpProxy({ target: { host: guarded.host, port: guarded.port } });
      await using registry = as("lorem", "lorem", { url: proxy.url, ttlMs: 30_000 });
      const before = follow(registry.instancer("lorem"));
      const registrar = registry.registrar({ service: "lorem", id: "b", host: "h", port: 80 });
      await registrar.register();
      await before.shows(["b"]);
      await pause(4_000); // a token that nobody uses for two seconds is forgotten
      const after = follow(registry.instancer({ service: "lorem", tags: [], passingOnly: false }));
      await after.shows(["b"], 1_000);
      await seed("lorem", "c", root);
      await before.shows(["b", "c"], 1_000);
      await after.shows(["b", "c"], 1_000);
      await pause(4_000);
      expect(registrar.registered).toBe(true);
      await registrar.deregister();
      await before.shows(["c"], 1_000);
      expect([...before.history, ...after.history].every(({ state }) => state === "live")).toBe(true);
      expect(proxy.accepted).toBe(2);
    });
  });
});
