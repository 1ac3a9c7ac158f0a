import { type ServerHttp2Session, createSecureServer } from "node:http2";
import { type ServerOptions, createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { roundRobin } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { request } from "undici";
import { discoveryDispatcher } from "../src/index.ts";
import { certificateFor } from "./certificate.ts";
import { clientOf, httpServer, inFlight, rawServer, registryOf, until } from "./servers.ts";

const { key, cert } = certificateFor("lorem.test");

async function httpsServer(options: ServerOptions = {}) {
  const seen: string[] = [];
  const server = createServer({ key, cert, ...options }, (request, response) => {
    seen.push(`${request.method} ${request.httpVersion}`);
    response.end("secret");
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    seen,
    instance: { service: "lorem", host: "127.0.0.1", port },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe("https", () => {
  it("is spoken when asked for, with the certificate checked against the name that is given", async () => {
    await using server = await httpsServer();
    const pool = { connect: { ca: cert, servername: "lorem.test" } };
    await using client = clientOf([server.instance], { protocol: "https", pool });
    expect(await (await client.request("/", { method: "POST" })).body.text()).toBe("secret");
    expect(await (await client.fetch("/")).text()).toBe("secret");
    expect(server.seen).toEqual(["POST 1.1", "GET 1.1"]);
  });

  it.each([
    ["an unknown authority", () => ({})],
    ["another name", () => ({ connect: { ca: cert, servername: "other.test" } })],
    ["the address, for which there is no certificate", () => ({ connect: { ca: cert } })],
  ])("is refused to %s: nothing is sent", async (_, pool) => {
    await using server = await httpsServer();
    await using client = clientOf([server.instance], { protocol: "https", pool: pool() });
    await expect(client.request("/", { method: "POST" })).rejects.toMatchObject({
      code: "RETRY",
      reason: "attempts",
      cause: { code: expect.stringMatching(/CERT|SIGNATURE/) },
    });
    expect(server.seen).toEqual([]);
  });

  it("that the server does not speak is a request that was not sent: a POST goes elsewhere", async () => {
    await using plain = await httpServer((_, response) => void response.end());
    await using server = await httpsServer();
    const pool = { connect: { ca: cert, servername: "lorem.test" } };
    await using client = clientOf([plain, server.instance], { protocol: "https", pool });
    for (let n = 0; n < 4; n++) expect((await client.request("/", { method: "POST" })).statusCode).toBe(200);
    expect(plain.seen).toEqual([]);
    expect(server.seen.length).toBe(4);
  });

  it("with a server that never answers its handshake is given up after connectTimeoutMs: a POST goes elsewhere", async () => {
    await using hole = await rawServer(() => undefined);
    await using server = await httpsServer();
    const pool = { connect: { ca: cert, servername: "lorem.test" } };
    await using client = clientOf([hole, server.instance], { protocol: "https", pool, connectTimeoutMs: 100 });
    for (let n = 0; n < 2; n++) expect((await client.request("/", { method: "POST" })).statusCode).toBe(200);
    const failures = client.endpoints.find(({ instance }) => instance.port === hole.port)?.stats.failures;
    expect([server.seen.length, failures]).toEqual([2, hole.seen.length]);
    expect(failures).toBeGreaterThan(0);
  });

  it("may be decided instance by instance", async () => {
    await using plain = await httpServer((_, response) => void response.end("plain"));
    await using server = await httpsServer();
    await using client = clientOf([plain, { ...server.instance, metadata: { secure: "true" } }], {
      protocol: ({ metadata }) => (metadata["secure"] === "true" ? "https" : "http"),
      pool: { connect: { ca: cert, servername: "lorem.test" } },
    });
    const words: string[] = [];
    for (let n = 0; n < 2; n++) words.push(await (await client.request("/")).body.text());
    expect(words.toSorted()).toEqual(["plain", "secret"]);
  });

  it("is not turned on or off by the registry's metadata", async () => {
    await using server = await httpsServer();
    const instance = { ...server.instance, metadata: { protocol: "http", scheme: "http", secure: "false" } };
    const pool = { connect: { ca: cert, servername: "lorem.test" } };
    await using client = clientOf([instance], { protocol: "https", pool });
    expect((await client.request("/")).statusCode).toBe(200);
  });
});

describe("tls", () => {
  it("checks certificates against the service's name, if that is asked for", async () => {
    await using server = await httpsServer();
    const instance = { ...server.instance, service: "lorem.test" };
    await using client = clientOf([instance], { tls: { ca: cert, servername: ({ service }) => service } });
    expect(await (await client.request("/")).body.text()).toBe("secret");
    await using other = clientOf([server.instance], { tls: { ca: [cert], servername: ({ service }) => service } });
    await expect(other.request("/")).rejects.toMatchObject({ cause: { code: "ERR_TLS_CERT_ALTNAME_INVALID" } });
  });

  it("asks for that name, and no other, whatever the Host header of a request says", async () => {
    const names: string[] = [];
    const SNICallback: ServerOptions["SNICallback"] = (name, done) => (names.push(name), done(null));
    await using server = await httpsServer({ SNICallback });
    await using client = clientOf([server.instance], { tls: { ca: cert, servername: "lorem.test" } });
    for (const host of ["evil.test", "lorem.test:443"]) {
      expect((await client.request("/", { headers: { host } })).statusCode).toBe(200);
    }
    expect(names).toEqual(["lorem.test"]);
  });

  it("checks against the instance's host by default, and against nothing if that is wanted", async () => {
    await using server = await httpsServer();
    await using strict = clientOf([server.instance], { tls: { ca: cert } });
    await expect(strict.request("/")).rejects.toMatchObject({ cause: { code: "ERR_TLS_CERT_ALTNAME_INVALID" } });
    await using loose = clientOf([server.instance], { tls: { rejectUnauthorized: false } });
    expect((await loose.request("/")).statusCode).toBe(200);
  });

  it("shows the client's own certificate", async () => {
    await using server = await httpsServer({ requestCert: true, ca: cert });
    const tls = { ca: cert, servername: "lorem.test" };
    await using client = clientOf([server.instance], { tls: { ...tls, cert, key } });
    expect((await client.request("/")).statusCode).toBe(200);
    await using anonymous = clientOf([server.instance], { tls, retry: { maxAttempts: 1 } });
    await expect(anonymous.request("/")).rejects.toMatchObject({ code: "RETRY" });
  });

  it("is spoken by a dispatcher for https:// always, and for http:// if the service is told so", async () => {
    await using server = await httpsServer();
    const tls = { ca: cert, servername: "lorem.test" };
    const registry = await registryOf([server.instance]);
    await using dispatcher = discoveryDispatcher({ registry, clients: { lorem: { tls, protocol: "http" } } });
    expect((await request("https://lorem/", { dispatcher })).statusCode).toBe(200);
    await expect(request("http://lorem/", { dispatcher, method: "POST" })).rejects.toMatchObject({ code: "RETRY" });
    await using always = discoveryDispatcher({ registry, clients: { lorem: { tls } } });
    expect((await request("http://lorem/", { dispatcher: always })).statusCode).toBe(200);
  });
});

describe("HTTP/2", () => {
  async function http2Server() {
    const seen: string[] = [];
    const paths: string[] = [];
    let connections = 0;
    const sessions = new Set<ServerHttp2Session>();
    const server = createSecureServer({ key, cert, allowHTTP1: true }, (request, response) => {
      seen.push(`${request.method} ${request.httpVersion}`);
      paths.push(request.url);
      if (request.url === "/503") response.writeHead(503).end("no");
      else if (request.url === "/reset") request.stream.close(2);
      else if (request.url === "/hang") request.stream.on("close", () => seen.push("given up"));
      else request.pipe(response);
    }).on("secureConnection", () => connections++);
    server.on("session", (session) => {
      sessions.add(session.on("close", () => sessions.delete(session)));
    });
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    return {
      seen,
      paths,
      connections: () => connections,
      /** Tells everybody to go away, and lets what runs end. */
      retire: () => sessions.forEach((session) => session.close()),
      /** Drops everybody. */
      drop: () => sessions.forEach((session) => session.destroy()),
      instance: { service: "lorem", host: "127.0.0.1", port },
      [Symbol.asyncDispose]: () => new Promise<void>((resolve) => void server.close(() => resolve())),
    };
  }
  const options = () => ({
    tls: { ca: cert, servername: "lorem.test" },
    pool: { allowH2: true },
    // Who is asked how often must not depend on how busy the machine is.
    policy: roundRobin(),
  });

  it("is spoken to instances that do, over one connection, and HTTP/1.1 to the others", async () => {
    await using modern = await http2Server();
    await using old = await httpsServer();
    await using client = clientOf([modern.instance, old.instance], options());
    const bodies = Array.from({ length: 40 }, async (_, n) => {
      const { body, instance } = await client.request("/", { method: "POST", body: `<${n}>` });
      return (await body.text()) === (instance.port === old.instance.port ? "secret" : `<${n}>`);
    });
    expect((await Promise.all(bodies)).every(Boolean)).toBe(true);
    expect(inFlight(client)).toEqual([0, 0]);
    expect(modern.seen).toEqual(Array.from({ length: 20 }, () => "POST 2.0"));
    expect(old.seen).toEqual(Array.from({ length: 20 }, () => "POST 1.1"));
    expect(modern.connections()).toBe(1);
  });

  it("resets the stream of an attempt that a hedge has overtaken, and keeps the connection", async () => {
    await using modern = await http2Server();
    await using old = await httpsServer();
    const retry = { hedge: { minDelayMs: 50, ratio: 1 } };
    await using client = clientOf([modern.instance, old.instance], { ...options(), retry });
    for (let n = 0; n < 110; n++) await (await client.request("/")).body.text();
    for (let n = 0; n < 2; n++) {
      const { body } = await client.request("/hang");
      expect(await body.text()).toBe("secret");
    }
    await until(() => modern.seen.includes("given up"));
    expect(modern.connections()).toBe(1);
    expect(inFlight(client)).toEqual([0, 0]);
    expect(client.endpoints.map(({ stats }) => stats.failures)).toEqual([0, 0]);
  });

  it("keeps the rules: failing statuses and broken requests are repeated if idempotent, slots are given back", async () => {
    await using a = await http2Server();
    await using b = await http2Server();
    await using client = clientOf([a.instance, b.instance], options());
    const answer = await client.request("/503");
    expect([answer.statusCode, await answer.body.text(), a.seen.length + b.seen.length]).toEqual([503, "no", 3]);
    await expect(client.request("/reset")).rejects.toMatchObject({ reason: "attempts" });
    await expect(client.request("/reset", { method: "POST" })).rejects.toMatchObject({ reason: "not-retryable" });
    expect(a.seen.length + b.seen.length).toBe(7);
    expect(inFlight(client)).toEqual([0, 0]);
  });

  it.each([
    ["retire", 0],
    ["drop", 100],
  ] as const)("loses and doubles no POST that it need not: connections %s", async (how, mayFail) => {
    await using a = await http2Server();
    await using b = await http2Server();
    // Round robin: others would, rightly, not send any more to an instance whose connections drop, for as long as this takes.
    await using client = clientOf([a.instance, b.instance], options());
    const results = await Promise.all(
      Array.from({ length: 200 }, async (_, n) => {
        await new Promise((resolve) => setTimeout(resolve, n));
        if (n % 20 === 10) a[how]();
        try {
          const { body } = await client.request(`/${n}`, { method: "POST", body: `<${n}>` });
          return (await body.text()) === `<${n}>` ? "ok" : "wrong";
        } catch {
          return "failed";
        }
      }),
    );
    expect(results).not.toContain("wrong");
    expect(results.filter((result) => result === "failed").length).toBeLessThanOrEqual(mayFail);
    const paths = [...a.paths, ...b.paths];
    expect(new Set(paths).size).toBe(paths.length);
    expect(a.connections()).toBeGreaterThan(1);
  });

  it("is spoken by a dispatcher to the instances of a mixed fleet that do, with certificates for the service's name", async () => {
    await using modern = await http2Server();
    await using old = await httpsServer();
    const registry = await registryOf([modern.instance, old.instance]);
    const servername = ({ service }: { readonly service: string }) => `${service}.test`;
    const tls = { ca: cert, servername };
    await using dispatcher = discoveryDispatcher({ registry, defaults: { ...options(), tls } });
    const answers = Array.from({ length: 20 }, async (_, n) => {
      const { body } = await request("https://lorem/", { dispatcher, method: "POST", body: `<${n}>` });
      return body.text();
    });
    expect(new Set(await Promise.all(answers)).size).toBe(11);
    expect(modern.seen).toEqual(Array.from({ length: 10 }, () => "POST 2.0"));
    expect(old.seen).toEqual(Array.from({ length: 10 }, () => "POST 1.1"));
    // The same instances under a name that their certificates are not for.
    for (const { instance } of [modern, old]) await registry.registrar({ ...instance, service: "ipsum" }).register();
    await expect(request("https://ipsum/", { dispatcher })).rejects.toMatchObject({ code: "RETRY" });
    expect(modern.seen.length + old.seen.length).toBe(20);
  });

  it("is spoken by a dispatcher too, streams included", async () => {
    await using server = await http2Server();
    const registry = await registryOf([server.instance]);
    await using dispatcher = discoveryDispatcher({ registry, defaults: options() });
    const parts = (async function* () { for (let n = 0; n < 100; n++) yield Buffer.alloc(10_000, n); })(); // prettier-ignore
    const answer = await request("https://lorem/", { dispatcher, method: "POST", body: Readable.from(parts) });
    expect((await answer.body.arrayBuffer()).byteLength).toBe(1_000_000);
    expect(server.seen).toEqual(["POST 2.0"]);
  });
});
