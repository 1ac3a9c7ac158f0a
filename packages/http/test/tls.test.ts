import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { clientOf, httpServer, rawServer } from "./servers.ts";

let key: Buffer;
let cert: Buffer;
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "rollcall-tls-"));
  const at = (name: string): string => join(folder, name);
  // A throw-away certificate for the service's name, as an internal authority would issue it.
  execFileSync(
    "openssl",
    ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"].concat(
      ["-subj", "/CN=lorem.test", "-addext", "subjectAltName=DNS:lorem.test"],
      ["-keyout", at("key.pem"), "-out", at("cert.pem")],
    ),
    { stdio: "pipe" },
  );
  key = readFileSync(at("key.pem"));
  cert = readFileSync(at("cert.pem"));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function httpsServer() {
  const seen: string[] = [];
  const server = createServer({ key, cert }, (request, response) => {
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
