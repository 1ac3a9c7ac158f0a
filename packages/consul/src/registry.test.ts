import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Instancer, createClient } from "@rollcall/core";
import Consul from "consul";
import { afterAll, describe, expect, it } from "vitest";
import { type Reply, answer, fakeConsul, record } from "../test/fake-consul.ts";
import type { ConsulApi } from "./client.ts";
import { type ConsulRegistryOptions, consulRegistry } from "./registry.ts";

/** Resolves with the snapshot when it is no longer pending without an error. */
const answered = (instancer: Instancer): Promise<Instancer["snapshot"]> =>
  new Promise((resolve) => {
    const look = (): void => {
      const { snapshot } = instancer;
      if (snapshot.state !== "pending" || snapshot.error !== undefined) resolve(snapshot);
    };
    instancer.subscribe(look);
    look();
  });
/** Answers the first poll of a watch, and parks all others. */
const parks: Reply = (request, response) => {
  if (!request.query.has("index")) answer(response, 7, [record(80)]);
};
const ofThree = ["a", "b", "c"];

describe("the options of consulRegistry", () => {
  it.each<[string, unknown, string]>([
    ["no options object", null, "options"],
    ["an unknown option", { adress: "x" }, "adress"],
    ["a url that is none", { url: "localhost:8500" }, "url"],
    ["a url of another protocol", { url: "ftp://h" }, "url"],
    ["a url that cannot be parsed", { url: "http://h:99999" }, "url"],
    ["a url with a query", { url: "http://h/?token=x" }, "url"],
    ["an empty token", { token: "" }, "token"],
    ["a token that is a number", { token: 5 }, "token"],
    ["an empty datacenter", { datacenter: " " }, "datacenter"],
    ["an empty namespace", { namespace: "" }, "namespace"],
    ["a wait below a second", { waitMs: 999 }, "waitMs"],
    ["a wait above Consul's ten minutes", { waitMs: 600_001 }, "waitMs"],
    ["a negative time-out", { timeoutMs: -1 }, "timeoutMs"],
    ["a time-out that is not a number", { timeoutMs: Number.NaN }, "timeoutMs"],
    ["no connection at all", { maxConnections: 0 }, "maxConnections"],
    ["half a connection", { maxConnections: 1.5 }, "maxConnections"],
    ["an endless time-out", { timeoutMs: Infinity }, "timeoutMs"],
    ["a negative TTL", { check: { ttlMs: -1 } }, "check.ttlMs"],
    ["an unknown kind of check", { check: { grpc: "x" } }, "check.grpc"],
    ["less than Consul's minute", { deregisterCriticalAfterMs: 10_000 }, "deregisterCriticalAfterMs"],
    ["a key that Consul does not take", { zoneKey: "a.b" }, "zoneKey"],
    ["a stale that is a string", { stale: "yes" }, "stale"],
    ["a limit of 0", { maxAnswerBytes: 0 }, "maxAnswerBytes"],
    ["tls without https", { url: "http://h", tls: {} }, "tls"],
    ["tls without a url", { tls: {} }, "tls"],
    ["an unknown tls option", { url: "https://h", tls: { cafile: "x" } }, "tls.cafile"],
    ["a ca that is a number", { url: "https://h", tls: { ca: 5 } }, "tls.ca"],
    ["a list of cas with a number", { url: "https://h", tls: { ca: [Buffer.from("x"), 5] } }, "tls.ca"],
    ["a cert that is the name of a file", { url: "https://h", tls: { cert: "/etc/ssl/cert.pem" } }, "tls.cert"],
    ["a key that is the name of a file", { url: "https://h", tls: { key: "key.pem" } }, "tls.key"],
    ["a client that is none", { client: {} }, "client"],
    ["a client beside a url", { url: "http://h", client: new Consul() }, "url"],
    ["an env that is none", { env: { now: 5 } }, "env"],
  ])("refuse %s", (_, options, path) => {
    expect(() => consulRegistry(options as ConsulRegistryOptions)).toThrow(
      expect.objectContaining({ name: "InvalidOptionError", code: "INVALID_OPTION", path }),
    );
  });

  it("are not changed, and may all be undefined", async () => {
    const options = Object.freeze({
      url: "http://h",
      tls: undefined,
      check: Object.freeze({ ttlMs: undefined }),
      client: undefined,
    });
    await using registry = consulRegistry(options);
    expect(registry.name).toBe("consul");
    await using byDefault = consulRegistry();
    expect(byDefault.name).toBe("consul");
  });

  it("refuse services and instances that Consul cannot hold, when they are asked for", async () => {
    await using registry = consulRegistry();
    const invalid = (path: string) => expect.objectContaining({ code: "INVALID_OPTION", path });
    expect(() => registry.instancer("..")).toThrow(invalid("service"));
    expect(() => registry.instancer("")).toThrow(invalid("service"));
    const instance = { service: "lorem", host: "h", port: 80 };
    expect(() => registry.registrar({ ...instance, port: 0 })).toThrow(invalid("port"));
    expect(() => registry.registrar({ ...instance, metadata: { "a.b": "" } })).toThrow(invalid("metadata.a.b"));
    expect(() => registry.registrar({ ...instance, service: "a//b" })).toThrow(invalid("service"));
  });
});

describe("how consulRegistry connects", () => {
  it("does nothing before somebody listens or registers", async () => {
    await using fake = await fakeConsul(parks);
    await using registry = consulRegistry({ url: fake.url });
    registry.instancer("lorem");
    registry.registrar({ service: "lorem", host: "h", port: 80 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([fake.requests.length, fake.connections]).toEqual([0, 0]);
  });

  it.each([
    ["", "/v1/health/service/lorem"],
    ["/", "/v1/health/service/lorem"],
    ["/v1", "/v1/health/service/lorem"],
    ["/v1/", "/v1/health/service/lorem"],
    ["/consul/", "/consul/v1/health/service/lorem"],
  ])("adds /v1 to the path %j of its url", async (path, expected) => {
    await using fake = await fakeConsul(parks);
    await using registry = consulRegistry({ url: `${fake.url}${path}`, token: "secret", namespace: "team" });
    await answered(registry.instancer("lorem"));
    const [request] = fake.requests;
    expect([request?.path, request?.headers["x-consul-token"], request?.query.get("ns")]).toEqual([
      expected,
      "secret",
      "team",
    ]);
  });

  it("connects to an IPv6 address", async () => {
    await using fake = await fakeConsul(parks, { host: "::1" });
    await using registry = consulRegistry({ url: fake.url });
    expect(await answered(registry.instancer("lorem"))).toMatchObject({ state: "live" });
    expect(fake.requests[0]?.headers.host).toBe(new URL(fake.url).host);
  });

  it("sends the user of its url", async () => {
    await using fake = await fakeConsul(parks);
    await using registry = consulRegistry({ url: fake.url.replace("//", "//me:p%40ss@") });
    await answered(registry.instancer("lorem"));
    expect(fake.requests[0]?.headers.authorization).toBe(`Basic ${btoa("me:p@ss")}`);
  });

  it("shares one watch among all that ask the same", async () => {
    await using fake = await fakeConsul(parks);
    await using registry = consulRegistry({ url: fake.url });
    const instancers = Array.from({ length: 100 }, (_, n) =>
      registry.instancer({ service: "lorem", tags: n % 2 === 0 ? ["a", "b"] : ["b", "a", "b"] }),
    );
    await Promise.all(instancers.map(answered));
    await fake.request(2);
    expect([fake.requests.length, fake.connections]).toEqual([2, 1]);
  });

  it("feeds a client", async () => {
    await using fake = await fakeConsul(parks);
    await using registry = consulRegistry({ url: fake.url });
    await using client = createClient({ instancer: registry.instancer("lorem"), factory: ({ port }) => port });
    expect(await client.call((port) => port)).toBe(80);
  });

  it("ends parked polls at once, and leaves no connection, when it is closed", async () => {
    await using fake = await fakeConsul(parks);
    const registry = consulRegistry({ url: fake.url });
    await Promise.all(ofThree.map((service) => answered(registry.instancer(service))));
    await fake.request(6);
    expect(fake.connections).toBe(3);
    const startMs = performance.now();
    await registry.close();
    expect(performance.now() - startMs).toBeLessThan(1_000);
    await registry.close();
    await Promise.all(fake.requests.map((request) => request.closed));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(fake.connections).toBe(0);
    expect(() => registry.instancer("lorem")).toThrow(expect.objectContaining({ code: "CLOSED" }));
  });
});

describe("a client that is given to consulRegistry", () => {
  it("is used, and not closed", async () => {
    await using fake = await fakeConsul(parks);
    const client = new Consul({
      host: "127.0.0.1",
      port: Number(new URL(fake.url).port),
      defaults: { token: "theirs", dc: "dc2" },
    });
    {
      await using registry = consulRegistry({ client });
      await answered(registry.instancer("lorem"));
    }
    expect(fake.requests[0]?.headers["x-consul-token"]).toBe("theirs");
    expect(fake.requests[0]?.query.get("dc")).toBe("dc2");
    fake.reply = (_, response) => answer(response, 1, ["still", "usable"]);
    expect(await client.status.peers()).toEqual(["still", "usable"]);
    client.destroy();
  });

  it("does not let polls starve registrations, even if its agent allows one socket only", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    await using fake = await fakeConsul((request, response) => {
      if (request.method === "PUT") return response.writeHead(500).end("reached");
      return parks(request, response);
    });
    const client = new Consul({ host: "127.0.0.1", port: Number(new URL(fake.url).port), agent });
    await using registry = consulRegistry({ client });
    await answered(registry.instancer("lorem"));
    await fake.request(2);
    const registrar = registry.registrar({ service: "lorem", host: "h", port: 80 });
    await expect(registrar.register()).rejects.toThrow("reached");
    await registry.close();
    client.destroy();
  });

  it("may be anything that has the two verbs", async () => {
    const asked: string[] = [];
    const client: ConsulApi = {
      async _get(request) {
        asked.push(request.path);
        request.pipe.write(JSON.stringify([record(80)]));
        return { headers: {} };
      },
      _put: () => Promise.reject(new Error("unused")),
    };
    await using registry = consulRegistry({ client });
    expect((await answered(registry.instancer("lorem"))).instances.map(({ port }) => port)).toEqual([80]);
    expect(asked).toEqual(["/health/service/{service}"]);
  });
});

describe("consulRegistry over TLS", () => {
  const folder = mkdtempSync(join(tmpdir(), "rollcall-tls-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const read = (name: string) => readFileSync(join(folder, name), "utf8");
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
  const request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
  openssl(
    ...request,
    "-keyout",
    "server.key",
    "-out",
    "server.crt",
    "-subj",
    "/CN=consul.test",
    "-addext",
    "subjectAltName=DNS:consul.test",
  );
  openssl(...request, "-keyout", "client.key", "-out", "client.crt", "-subj", "/CN=client");
  const server = { key: read("server.key"), cert: read("server.crt") };
  const ca = server.cert;

  it.each([
    ["the right authority and name", { ca, servername: "consul.test" }],
    ["a list of authorities", { ca: [read("client.crt"), Buffer.from(ca)], servername: "consul.test" }],
    ["no verification", { rejectUnauthorized: false }],
  ])("connects with %s", async (_, tls) => {
    await using fake = await fakeConsul(parks, { tls: server });
    await using registry = consulRegistry({ url: fake.url, tls });
    expect(await answered(registry.instancer("lorem"))).toMatchObject({ state: "live" });
  });

  it.each([
    ["an unknown authority", { servername: "consul.test" }, /self.signed/],
    ["another name than the certificate's", { ca }, /does not match certificate/],
    ["another name than asked for", { ca, servername: "other.test" }, /does not match certificate/],
  ])("refuses %s", async (_, tls, message) => {
    await using fake = await fakeConsul(parks, { tls: server });
    await using registry = consulRegistry({ url: fake.url, tls });
    const { state, error } = (await answered(registry.instancer("lorem"))) as { state: string; error?: Error };
    expect([state, error?.message]).toEqual(["pending", expect.stringMatching(message)]);
  });

  it("shows its own certificate to a server that wants one, for reading and for writing", async () => {
    const mutual = { ...server, requestCert: true, rejectUnauthorized: true, ca: read("client.crt") };
    await using fake = await fakeConsul(
      (seen, response) => (seen.method === "PUT" ? response.writeHead(500).end("reached") : parks(seen, response)),
      { tls: mutual },
    );
    const tls = { ca, servername: "consul.test", cert: read("client.crt"), key: read("client.key") };
    await using registry = consulRegistry({ url: fake.url, tls });
    expect(await answered(registry.instancer("lorem"))).toMatchObject({ state: "live" });
    await expect(registry.registrar({ service: "lorem", host: "h", port: 80 }).register()).rejects.toThrow("reached");
    await using anonymous = consulRegistry({ url: fake.url, tls: { ca, servername: "consul.test" } });
    expect(await answered(anonymous.instancer("lorem"))).toMatchObject({ state: "pending", error: expect.any(Error) });
  });

  it("connects to an IPv6 address whose certificate has another name", async () => {
    await using fake = await fakeConsul(parks, { tls: server, host: "::1" });
    await using registry = consulRegistry({ url: fake.url, tls: { ca, servername: "consul.test" } });
    expect(await answered(registry.instancer("lorem"))).toMatchObject({ state: "live" });
  });
});
