import { Agent, type ClientRequest } from "node:http";
import { Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { type Reply, fakeConsul } from "../test/fake-consul.ts";
import { type Asker, type PlainGet, plainGet } from "./plain-get.ts";

/** Asks a fake; gives what it heard, the text of the answer, and the error if there was one. */
async function ask(
  reply: Reply,
  request: Partial<Parameters<PlainGet>[0]> = {},
  onSent?: (request: ClientRequest) => void,
) {
  await using fake = await fakeConsul(reply);
  const url = new URL(`${fake.url}/v1`);
  url.username = "us%20er";
  url.password = "p";
  const agent = new Agent();
  let text = "";
  const pipe = new Writable({
    write(chunk, _, done) {
      text += String(chunk);
      done();
    },
  });
  const given = { path: "/a", params: {}, query: {}, headers: {}, ...request };
  const error = await new Promise<unknown>((resolve) => {
    const asker: Asker = { body: () => pipe, answered: () => resolve(undefined), failed: resolve };
    const sent = plainGet(url, agent)(given, asker);
    onSent?.(sent);
  });
  agent.destroy();
  return { error, text, seen: fake.requests[0] };
}

describe("plainGet", () => {
  it("asks for what it is told to, encoded, with the headers and the user of the URL", async () => {
    const { error, seen, text } = await ask((_, response) => response.end("[]"), {
      path: "/health/service/{service}",
      params: { service: "a/b c" },
      query: { index: "7", tag: "x&y=ü" },
      headers: { "x-consul-token": "secret" },
    });
    expect(seen?.method).toBe("GET");
    expect(seen?.path).toBe("/v1/health/service/a%2Fb%20c");
    expect([...(seen?.query ?? [])]).toEqual([
      ["index", "7"],
      ["tag", "x&y=ü"],
    ]);
    expect(seen?.headers["x-consul-token"]).toBe("secret");
    expect(seen?.headers.authorization).toBe(`Basic ${Buffer.from("us er:p").toString("base64")}`);
    expect([error, text]).toEqual([undefined, "[]"]);
  });

  it("rejects what is not 2xx as the client does, with the body piped", async () => {
    const { error, text } = await ask((_, response) => response.writeHead(403).end("no"));
    expect(error).toMatchObject({ isResponse: true, statusCode: 403 });
    expect(text).toBe("no");
  });

  it("rejects when there is no answer", async () => {
    const { error } = await ask((_, response) => response.destroy());
    expect(error).toMatchObject({ code: "ECONNRESET" });
  });

  it("fails at once when it is destroyed, and closes the connection", async () => {
    let sent: ClientRequest | undefined;
    const reply = (): unknown => setImmediate(() => sent?.destroy());
    const { error, seen } = await ask(reply, {}, (request) => (sent = request));
    expect(error).toMatchObject({ code: "ECONNRESET" });
    await seen?.closed;
  });

  it("fails when it is destroyed before it has a connection", async () => {
    const { error } = await ask(
      () => undefined,
      {},
      (request) => request.destroy(),
    );
    expect(error).toMatchObject({ code: "ECONNRESET" });
  });
});
