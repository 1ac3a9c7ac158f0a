import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { probeRequest } from "./probe-request.ts";

let server: Server;
let url: string;

beforeAll(async () => {
  server = createServer((request, response) => {
    if (request.url === "/hang") return;
    let body = "";
    request.on("data", (chunk) => (body += String(chunk)));
    request.on("end", () => {
      const { method, headers } = request;
      if (request.url === "/echo") response.end(JSON.stringify({ method, body, token: headers["x-token"] ?? null }));
      else if (request.url === "/empty") response.writeHead(204).end();
      else if (request.url === "/html") response.end("<html>not what you wanted</html>");
      else if (request.url === "/cut")
        response.writeHead(200, { "content-length": 10 }).write("{", () => response.destroy());
      else response.writeHead(503).end("no leader");
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

describe("probeRequest", () => {
  const signal = AbortSignal.timeout(10_000);

  it("sends method, headers and JSON, and reads JSON", async () => {
    const request = { method: "PUT", headers: { "X-Token": "t" }, body: { a: 1 }, signal };
    expect(await probeRequest(`${url}/echo`, request)).toEqual({ method: "PUT", body: '{"a":1}', token: "t" });
    expect(await probeRequest(`${url}/echo`, { signal })).toEqual({ method: "GET", body: "", token: null });
    expect(await probeRequest(`${url}/empty`, { signal })).toBeUndefined();
  });

  it("rejects what is no success, no JSON, or no whole answer", async () => {
    await expect(probeRequest(`${url}/other`, { signal })).rejects.toThrow(`GET ${url}/other answered 503: no leader`);
    await expect(probeRequest(`${url}/html`, { signal })).rejects.toThrow(
      "answered no JSON: <html>not what you wanted",
    );
    await expect(probeRequest(`${url}/cut`, { signal })).rejects.toThrow("aborted");
  });

  it("rejects when its signal aborts, and when nobody is there", async () => {
    await expect(probeRequest(`${url}/hang`, { signal: AbortSignal.timeout(30) })).rejects.toMatchObject({
      name: "AbortError",
    });
    await expect(probeRequest("http://127.0.0.1:1/", { signal })).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("leaves no connection open", async () => {
    await probeRequest(`${url}/echo`, { signal });
    const count = await new Promise<number>((resolve, reject) => {
      server.getConnections((error, connections) => (error ? reject(error) : resolve(connections)));
    });
    expect(count).toBeLessThanOrEqual(1); // the one that hung above may still be closing
  });
});
