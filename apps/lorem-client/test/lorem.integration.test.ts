import { setTimeout as sleep } from "node:timers/promises";
import { startConsul, serverSkipped, type TestServer } from "@rollcall/testing/servers";
import { describe, expect, it, onTestFinished } from "vitest";
import { type ChildApp, startChild } from "../../../scripts/demo/child-app.ts";
import { callTimes, type Load, startLoad } from "../../../scripts/demo/load.ts";
import { until } from "../../../scripts/demo/until.ts";

const SERVER = new URL("../../lorem-server/dist/main.js", import.meta.url);
const CLIENT = new URL("../dist/main.js", import.meta.url);

const CALLS_PER_SECOND = 200;

interface Server {
  readonly child: ChildApp;
  readonly id: string;
}

/** A Consul, a client and servers, each in a process of its own, as in production. */
interface World {
  readonly consul: TestServer;
  readonly client: ChildApp;
  readonly clientUrl: string;
  startServer(framework: string): Promise<Server>;
}

/** The client starts first, before there is any server. Everything ends with the test. */
async function world(): Promise<World> {
  const consul = await startConsul({ faults: ["kill", "wipe"] });
  const children: ChildApp[] = [];
  onTestFinished(async () => {
    await Promise.all(children.map((child) => child.end("SIGKILL")));
    await consul.close();
  });
  const start = (main: URL, ...args: readonly string[]): ChildApp => {
    const where = ["--registry", `consul://${consul.host}:${consul.port}`, "--host", "127.0.0.1", "--port", "0"];
    const child = startChild(main, [...where, ...args]);
    children.push(child);
    return child;
  };
  const client = start(CLIENT);
  const [, clientUrl = ""] = await client.printed(/listening on (\S+)/);
  const startServer = async (framework: string): Promise<Server> => {
    const child = start(SERVER, "--framework", framework);
    const [, id = ""] = await child.printed(/instance (\S+)\)/);
    return { child, id };
  };
  return { consul, client, clientUrl, startServer };
}

/** The world, with one server of each kind, found by the client. */
async function worldOfTwo(): Promise<World & { readonly nest: Server; readonly express: Server }> {
  const made = await world();
  const [nest, express] = await Promise.all([made.startServer("nest"), made.startServer("express")]);
  await untilSeen(made, [nest, express]);
  return { ...made, nest, express };
}

async function seenBy({ clientUrl }: World): Promise<readonly string[]> {
  const response = await fetch(`${clientUrl}/sd-lorem/instances`);
  const { instances } = (await response.json()) as { readonly instances: readonly { readonly id: string }[] };
  return instances.map(({ id }) => id).toSorted();
}

async function untilSeen(where: World, servers: readonly Server[], timeoutMs = 10_000): Promise<void> {
  const wanted = servers.map(({ id }) => id).toSorted();
  await until(`the client sees ${wanted.join(", ")}`, timeoutMs, async () => {
    const seen = await seenBy(where);
    if (seen.join() !== wanted.join()) throw new Error(`it sees ${seen.join(", ")}`);
    return true;
  });
}

/** Waits until each of these has answered a hundred calls. */
async function untilBusy({ tally }: Load, servers: readonly Server[]): Promise<void> {
  await until("a hundred answers of each", 10_000, async () =>
    servers.every(({ id }) => (tally.answeredBy.get(id) ?? 0) >= 100),
  );
}

/** Every set that the client has seen since its first one, which it prints at each change: none of them may be empty. */
function setsSeen({ client }: World): readonly string[] {
  const sets = client.lines.flatMap(({ text }) => /lorem is \w+: (.*)/.exec(text)?.[1] ?? []);
  return sets.slice(sets.findIndex((set) => set !== "no instances"));
}

/** What Consul itself lists as passing. */
async function passingIn(consul: TestServer): Promise<readonly string[]> {
  const response = await fetch(`${consul.url}/v1/health/service/lorem?passing`);
  const entries = (await response.json()) as readonly { readonly Service: { readonly ID: string } }[];
  return entries.map(({ Service }) => Service.ID).toSorted();
}

describe.skipIf(serverSkipped("consul"))("two lorem servers behind a real Consul", { timeout: 120_000 }, () => {
  it("share 1,000 calls, 500 each", async () => {
    const { clientUrl, nest, express } = await worldOfTwo();
    const { calls, failures, answeredBy } = await callTimes(clientUrl, 1_000, 16);
    expect(failures).toEqual([]);
    expect(calls).toBe(1_000);
    for (const { id } of [nest, express]) {
      expect(answeredBy.get(id)).toBeGreaterThanOrEqual(499);
      expect(answeredBy.get(id)).toBeLessThanOrEqual(501);
    }
  });

  it.each(["nest", "express"] as const)("lose no call when the %s one gets SIGTERM under load", async (framework) => {
    const { clientUrl, ...rest } = await worldOfTwo();
    const [leaving, staying] = framework === "nest" ? [rest.nest, rest.express] : [rest.express, rest.nest];
    const load = startLoad(clientUrl, CALLS_PER_SECOND);
    await untilBusy(load, [leaving, staying]);
    expect(await leaving.child.end("SIGTERM")).toEqual({ code: 0, signal: null });
    const byLeaving = load.tally.answeredBy.get(leaving.id);
    await sleep(1_500);
    const { calls, failures, answeredBy } = await load.stop();
    expect(failures).toEqual([]);
    expect(calls).toBeGreaterThan(1.5 * CALLS_PER_SECOND);
    expect(answeredBy.get(leaving.id)).toBe(byLeaving);
    expect(answeredBy.get(staying.id)).toBe(calls - Number(byLeaving));
    expect(leaving.child.lines.map(({ text }) => text.replace("lorem-server: ", "")).slice(-3)).toEqual([
      "SIGTERM: stopping",
      "deregistered from consul",
      "stopped",
    ]);
  });

  it("lose no call when one is killed under load, which leaves the registry by its own lease", async () => {
    const made = await worldOfTwo();
    const { clientUrl, nest, express } = made;
    const load = startLoad(clientUrl, CALLS_PER_SECOND);
    await untilBusy(load, [nest, express]);
    expect(await express.child.end("SIGKILL")).toEqual({ code: null, signal: "SIGKILL" });
    const byExpress = load.tally.answeredBy.get(express.id);
    expect(await seenBy(made)).toContain(express.id);
    await untilSeen(made, [nest], 30_000);
    await sleep(500);
    const { calls, failures, answeredBy } = await load.stop();
    expect(failures).toEqual([]);
    expect(answeredBy.get(express.id)).toBe(byExpress);
    expect(answeredBy.get(nest.id)).toBe(calls - Number(byExpress));
  });

  it("are called on while Consul is away for 30 s, and find a third one that started meanwhile", async () => {
    const made = await worldOfTwo();
    const { consul, clientUrl, nest, express, startServer } = made;
    const load = startLoad(clientUrl, CALLS_PER_SECOND);
    await consul.kill();
    const killedAt = performance.now();
    await sleep(5_000);
    const third = await startServer("express");
    await third.child.printed(/consul cannot register it: .*; trying on/);
    await sleep(30_000 - (performance.now() - killedAt));
    expect(await seenBy(made)).toEqual([nest.id, express.id].toSorted());

    await consul.start();
    const backAt = performance.now();
    await until("the third server is called", 10_000, async () => load.tally.answeredBy.has(third.id));
    expect(performance.now() - backAt).toBeLessThan(3_000);
    await untilSeen(made, [nest, express, third], 20_000);
    const { calls, failures } = await load.stop();
    expect(failures).toEqual([]);
    expect(calls).toBeGreaterThan(30 * CALLS_PER_SECOND * 0.9);
    expect(setsSeen(made)).not.toContain("no instances");
  });

  it("register again by themselves when Consul comes back empty, and are never missed", async () => {
    const made = await worldOfTwo();
    const { consul, clientUrl, nest, express } = made;
    const load = startLoad(clientUrl, CALLS_PER_SECOND);
    await sleep(500);
    await consul.restart({ wipe: true });
    const backAt = performance.now();
    const both = [nest.id, express.id].toSorted();
    await until("both are passing in Consul", 20_000, async () => (await passingIn(consul)).join() === both.join());
    expect(performance.now() - backAt).toBeLessThan(15_000);
    await untilSeen(made, [nest, express]);
    await sleep(1_000);
    const { failures } = await load.stop();
    expect(failures).toEqual([]);
    expect(setsSeen(made).length).toBeGreaterThan(0);
    expect(setsSeen(made)).not.toContain("no instances");
  });

  it("answer through the gateway too, in turns with all other calls", async () => {
    const { clientUrl, nest, express } = await worldOfTwo();
    const ids: string[] = [];
    for (let n = 0; n < 10; n++) {
      const response = await fetch(`${clientUrl}/api/lorem/word/5/5`, { method: "POST" });
      expect(response.status).toBe(200);
      expect(await response.json()).toEqual({ message: expect.stringMatching(/^[a-z]{5}$/) });
      ids.push(response.headers.get("x-instance") ?? "");
    }
    for (const { id } of [nest, express]) expect(ids.filter((each) => each === id)).toHaveLength(5);
  });
});
