import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { InvalidOptionError } from "@rollcall/core";
import { Etcd3 } from "etcd3";
import { describe, expect, it } from "vitest";
import { WELL, fakeEtcd } from "../test/fake-etcd.ts";
import { type EtcdRegistryOptions, etcdRegistry } from "./registry.ts";

const PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";

describe("the options of etcdRegistry", () => {
  it.each<[string, unknown, string]>([
    ["no options object", null, "options"],
    ["an unknown option", { endpoints: ["h:2379"] }, "endpoints"],
    ["a url that is none", { url: "etcd" }, "url"],
    ["a url of another protocol", { url: "ftp://h:2379" }, "url"],
    ["a url that cannot be parsed", { url: "http://h:99999" }, "url"],
    ["a url with a path", { url: "http://h/v3" }, "url"],
    ["a url with a query", { url: "http://h/?a" }, "url"],
    ["a url with a user", { url: "http://lorem:secret@h" }, "url"],
    ["a url with nothing but a password", { url: "http://:secret@h" }, "url"],
    ["no hosts", { hosts: [] }, "hosts"],
    ["hosts that are a string", { hosts: "h:2379" }, "hosts"],
    ["a host that is none", { hosts: ["http://h", 5] }, "hosts.1"],
    ["a hole in the hosts", { hosts: [, "http://h"] }, "hosts.0"], // oxlint-disable-line no-sparse-arrays
    ["hosts beside a url", { url: "http://h", hosts: ["http://h"] }, "hosts"],
    ["hosts of two protocols", { hosts: ["http://h", "https://h"] }, "hosts"],
    ["an empty prefix", { prefix: "" }, "prefix"],
    ["a prefix of slashes", { prefix: "//" }, "prefix"],
    ["a prefix that is a number", { prefix: 5 }, "prefix"],
    ["a user without a password", { username: "lorem" }, "password"],
    ["a password without a user", { password: "secret" }, "username"],
    ["an empty user", { username: "", password: "secret" }, "username"],
    ["tls without https", { url: "http://h", tls: {} }, "tls"],
    ["tls without a url", { tls: {} }, "tls"],
    ["an unknown tls option", { url: "https://h", tls: { cafile: "x" } }, "tls.cafile"],
    ["a ca that is the name of a file", { url: "https://h", tls: { ca: "/etc/ssl/ca.pem" } }, "tls.ca"],
    ["a key that is the name of a file", { url: "https://h", tls: { cert: PEM, key: "key.pem" } }, "tls.key"],
    ["a cert without a key", { url: "https://h", tls: { cert: PEM } }, "tls.key"],
    ["a key without a cert", { url: "https://h", tls: { key: PEM } }, "tls.cert"],
    ["a cert and a key that are none", { url: "https://h", tls: { cert: PEM, key: PEM } }, "tls"],
    ["a TTL below a second", { ttlMs: 999 }, "ttlMs"],
    ["a TTL that is a string", { ttlMs: "30s" }, "ttlMs"],
    ["an endless TTL", { ttlMs: Infinity }, "ttlMs"],
    ["a time-out of 0", { timeoutMs: 0 }, "timeoutMs"],
    ["a time-out that is not a number", { timeoutMs: Number.NaN }, "timeoutMs"],
    ["lists below a second", { relistMs: 999 }, "relistMs"],
    ["a client that is none", { client: {} }, "client"],
    ["a client that is half", { client: { kv: {}, leaseClient: {} } }, "client"],
    ["a client beside a url", { url: "http://h", client: new Etcd3() }, "url"],
    ["a client beside a user", { username: "a", password: "b", client: new Etcd3() }, "username"],
    ["an env that is none", { env: { now: 5 } }, "env"],
  ])("refuse %s, saying what was wrong and what would be right", (_, options, path) => {
    try {
      etcdRegistry(options as EtcdRegistryOptions);
      expect.unreachable("it was taken");
    } catch (error) {
      expect(error).toBeInstanceOf(InvalidOptionError);
      expect(error).toMatchObject({ code: "INVALID_OPTION", path, expected: expect.stringMatching(/./) });
    }
  });

  it.each<[string, EtcdRegistryOptions]>([
    ["nothing", {}],
    ["name:port", { url: "etcd.internal:2379" }],
    ["IPv6", { url: "http://[::1]:2379" }],
    ["a URL", { url: new URL("https://etcd.internal") }],
    ["several hosts, as in ETCD_ENDPOINTS", { hosts: ["a:2379", "b:2379", new URL("http://c")] }],
    ["a prefix with slashes around it", { prefix: "/my/services/" }],
    ["a client", { client: new Etcd3() }],
    [
      "undefined for everything",
      { url: undefined, hosts: undefined, prefix: undefined, tls: undefined, client: undefined },
    ],
  ])("may be %s; nothing connects, and they are not changed", async (_, options) => {
    const before = { ...options };
    await using registry = etcdRegistry(Object.freeze(options));
    expect(registry.name).toBe("etcd");
    expect(options).toEqual(before);
  });
});

describe("an etcd registry", () => {
  it("connects only when something is watched or registered", async () => {
    let dials = 0;
    const server = createServer((socket) => {
      dials++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", () => resolve()));
    const { port } = server.address() as AddressInfo;
    await using registry = etcdRegistry({ url: `127.0.0.1:${port}` });
    const instancer = registry.instancer("lorem");
    const registrar = registry.registrar({ service: "lorem", host: "h", port: 80 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(dials).toBe(0);
    instancer.subscribe(() => undefined);
    await expect(registrar.register()).rejects.toThrow("etcd: asking");
    expect(dials).toBeGreaterThan(0);
    server.close();
  });

  it("takes the slashes at the end of a prefix for none", async () => {
    await using fake = await fakeEtcd(WELL);
    await using registry = etcdRegistry({ url: fake.host, prefix: "my/services//" });
    registry.instancer("lorem").subscribe(() => undefined);
    expect(String((await fake.call("Range")).request["key"])).toBe("my/services/lorem/");
  });

  it("asks a given client's etcd, and does not close the client", async () => {
    await using fake = await fakeEtcd(WELL);
    const client = new Etcd3({ hosts: fake.host });
    const registry = etcdRegistry({ client });
    registry.instancer("lorem").subscribe(() => undefined);
    await fake.stream();
    await registry.registrar({ service: "lorem", host: "h", port: 80 }).register();
    await registry.close();
    while (!(await fake.stream()).ended) await new Promise((resolve) => setTimeout(resolve, 5));
    expect((await client.kv.range({ key: Buffer.from("k") })).kvs).toEqual([]);
    client.close();
  });
});
