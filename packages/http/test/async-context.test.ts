import { AsyncLocalStorage } from "node:async_hooks";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { roundRobin } from "@rollcall/core";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { HttpClient } from "../src/index.ts";
import { clientOf, deadInstance, httpServer } from "./servers.ts";

/** Who sends, as a tracing library would know it. */
const sender = new AsyncLocalStorage<string>();

describe("every request that is sent belongs to the async context of who asked for it", () => {
  let sent: (string | undefined)[] = [];
  const onCreate = (): void => void sent.push(sender.getStore());
  beforeAll(() => subscribe("undici:request:create", onCreate));
  afterAll(() => void unsubscribe("undici:request:create", onCreate));
  beforeEach(() => void (sent = []));

  const ways: Readonly<Record<string, (client: HttpClient) => Promise<unknown>>> = {
    request: async (client) => (await client.request("/")).body.text(),
    dispatch: (client) =>
      new Promise((resolve, reject) =>
        client.dispatch(
          { path: "/", method: "GET" },
          { onResponseEnd: resolve, onResponseError: (_controller, error) => reject(error) },
        ),
      ),
  };
  it.each(Object.entries(ways))("also what follows a failed one: %s", async (_, send) => {
    await using bad = await httpServer((_request, response) => void response.writeHead(503).end());
    await using cut = await httpServer((request) => void request.socket.destroy());
    await using good = await httpServer((_request, response) => void response.end("good"));
    await using client = clientOf([bad, cut, await deadInstance(), good], {
      policy: roundRobin(),
      retry: { maxAttempts: 4, budget: false },
    });
    const names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    await Promise.all(names.map((name) => sender.run(name, () => send(client))));
    expect(sent.length).toBeGreaterThan(names.length);
    for (const name of names) expect(sent).toContain(name);
    expect(sent.filter((name) => name === undefined || !names.includes(name))).toEqual([]);
    // One client after another: no name stands for another's attempt.
    sent = [];
    for (const name of names) await sender.run(name, () => send(client));
    expect(sent.length).toBeGreaterThan(names.length);
    expect(sent).toEqual(sent.toSorted((a = "", b = "") => (a < b ? -1 : 1)));
  });
});
