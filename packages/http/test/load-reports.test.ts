import { once } from "node:events";
import { type ServerResponse, createServer } from "node:http";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { type LoadReport, type Policy, channels, prequal, roundRobin } from "@rollcall/core";
import { request } from "undici";
import { describe, expect, it, onTestFinished } from "vitest";
import { createFetch } from "../src/fetch.ts";
import { discoveryDispatcher } from "../src/index.ts";
import { loadReporter } from "../src/server.ts";
import { type TestServer, clientOf, httpServer, registryOf, until } from "./servers.ts";

const HEADER = "endpoint-load-metrics";

/** A server that reports; answers wait until they are let go. */
async function reporting() {
  const load = loadReporter();
  const waiting: ServerResponse[] = [];
  const server = await httpServer((incoming, response) => {
    load.watch(incoming, response);
    waiting.push(response);
  });
  onTestFinished(() => server.kill());
  return { server, load, waiting, url: `http://127.0.0.1:${server.port}/` };
}

/** A server whose answers have this as their report. */
async function saying(header: string | string[], statusCode = 200): Promise<TestServer> {
  const server = await httpServer(
    (_, response) => void response.writeHead(statusCode, { [HEADER]: header }).end("done"),
  );
  onTestFinished(() => server.kill());
  return server;
}

/** Round robin that notes what it hears. */
function listening(heard: LoadReport[]): Policy {
  return {
    name: "listening",
    create: (env) => ({ ...roundRobin().create(env), report: (_, report) => void heard.push(report) }),
  };
}

const inFlightOf = (header: string | null): string | undefined =>
  /^TEXT application_utilization=[\d.]+,named_metrics\.in_flight=(\d+)$/.exec(header ?? "")?.[1];

describe("a load reporter", () => {
  it("has each answer say how many others there are, as of the moment in which it begins", async () => {
    const { waiting, url, load } = await reporting();
    const answers = [1, 2, 3].map(() => fetch(url));
    await until(() => waiting.length === 3);
    expect(load.report().inFlight).toBe(3);
    for (const response of waiting) {
      const closed = once(response, "close");
      response.end("done");
      await closed;
    }
    const said = await Promise.all(answers.map(async (answer) => inFlightOf((await answer).headers.get(HEADER))));
    expect(new Set(said)).toEqual(new Set(["0", "1", "2"]));
    expect(load.report().inFlight).toBe(0);
  });

  it("counts a request no longer once its caller has left, before the answer or in the middle of it", async () => {
    const { waiting, url, load } = await reporting();
    const leaving = new AbortController();
    const answers = [1, 2].map(() => fetch(url, { signal: leaving.signal }));
    await until(() => waiting.length === 2);
    waiting[0]?.writeHead(200).write("half");
    await Promise.race(answers);
    expect(load.report().inFlight).toBe(2);
    leaving.abort();
    await until(() => load.report().inFlight === 0);
    await Promise.allSettled(answers);
  });

  it("nor those that waited for their turn on a connection that broke", async () => {
    const { waiting, server, load } = await reporting();
    const socket = connect(server.port, "127.0.0.1");
    socket.write("GET / HTTP/1.1\r\nHost: lorem\r\n\r\n".repeat(3));
    await until(() => waiting.length === 3);
    expect(load.report().inFlight).toBe(3);
    socket.resetAndDestroy();
    await until(() => load.report().inFlight === 0);
    for (const response of waiting) response.end("too late");
    await delay(20);
    expect(load.report().inFlight).toBe(0);
  });

  it.each<[string, (response: ServerResponse) => void]>([
    ["end alone", (response) => void response.end("done")],
    ["an object", (response) => void response.writeHead(200, { "x-own": "1" }).end("done")],
    ["a flat list", (response) => void response.writeHead(200, ["x-own", "1"]).end("done")],
    ["a message and headers", (response) => void response.writeHead(200, "Fine", { "x-own": "1" }).end("done")],
    ["flushed headers", (response) => void (response.flushHeaders(), response.end("done"))],
    [
      "somebody else in front of writeHead",
      (response) => {
        const { writeHead } = response;
        response.writeHead = (...given: unknown[]) => Reflect.apply(writeHead, response, given) as ServerResponse;
        response.writeHead(200).end("done");
      },
    ],
  ])("is heard however the head is written: %s", async (_, answer) => {
    const { waiting, url } = await reporting();
    const fetched = fetch(url);
    await until(() => waiting.length === 1);
    const [response] = waiting;
    if (response !== undefined) answer(response);
    const { headers } = await fetched;
    expect(inFlightOf(headers.get(HEADER))).toBe("0");
  });

  it("leaves an answer alone that has a report already, and counts a request once that it is shown twice", async () => {
    const load = loadReporter();
    const server = await httpServer((incoming, response) => {
      load.watch(incoming, response);
      load.watch(incoming, response);
      response.setHeader(HEADER, `TEXT named_metrics.in_flight=${40 + Number(load.report().inFlight)}`).end("done");
    });
    onTestFinished(() => server.kill());
    const { headers } = await fetch(`http://127.0.0.1:${server.port}/`);
    expect(headers.get(HEADER)).toBe("TEXT named_metrics.in_flight=41");
    await until(() => load.report().inFlight === 0);
  });

  it("is a listener that can stand before all others", async () => {
    const server = createServer((_, response) => response.end("done"));
    server.prependListener("request", loadReporter().watch);
    await once(server.listen(0, "127.0.0.1"), "listening");
    onTestFinished(() => void server.close());
    const { headers } = await fetch(`http://127.0.0.1:${Reflect.get(Object(server.address()), "port")}/`);
    expect(inFlightOf(headers.get(HEADER))).toBe("0");
  });
});

describe("a client whose policy wants load reports", () => {
  const REPORT = { inFlight: 7, utilization: 0.42 };
  const TEXT = "TEXT application_utilization=0.42,named_metrics.in_flight=7";

  it.each<[string, (server: TestServer, policy: Policy) => Promise<unknown>]>([
    [
      "request",
      async (server, policy) => {
        await using client = clientOf([server], { policy });
        return (await client.request("/")).body.text();
      },
    ],
    [
      "fetch",
      async (server, policy) => {
        await using client = clientOf([server], { policy });
        return (await client.fetch("/")).text();
      },
    ],
    [
      "a dispatcher",
      async (server, policy) => {
        const registry = await registryOf([server]);
        await using dispatcher = discoveryDispatcher({ registry, defaults: { policy } });
        return (await request("http://lorem/", { dispatcher })).body.text();
      },
    ],
    [
      "the built-in fetch",
      async (server, policy) => {
        const registry = await registryOf([server]);
        await using fetchLorem = createFetch({ registry, defaults: { policy } });
        return (await fetchLorem("http://lorem/")).text();
      },
    ],
  ])("hears them by %s", async (_, call) => {
    const heard: LoadReport[] = [];
    expect(await call(await saying(TEXT), listening(heard))).toBe("done");
    expect(heard).toEqual([REPORT]);
  });

  it("hears them of failing answers, too, and in JSON, and the first of several", async () => {
    const heard: LoadReport[] = [];
    const json = 'JSON {"cpu_utilization":0.42,"named_metrics":{"in_flight":7}}';
    const servers = [await saying(TEXT, 503), await saying([json, "TEXT eps=1"])];
    await using client = clientOf(servers, { policy: listening(heard) });
    // One of the two calls fails first, whichever instance is the first one.
    for (const _ of servers) expect(await (await client.request("/")).body.text()).toBe("done");
    expect(heard.length).toBeGreaterThan(servers.length);
    for (const report of heard) expect(report).toEqual(REPORT);
  });

  it("lets no bad report disturb a call, and tells a channel of it", async () => {
    const bad: unknown[] = [];
    onTestFinished(channels.badReport.subscribe(({ report }) => bad.push(report)));
    const long = `TEXT named_metrics.a=${"9".repeat(6_000)}`;
    const servers = await Promise.all(
      ["TEXT in_flight", "BIN CQAA", long, "TEXT mem_utilization=0.5"].map((text) => saying(text)),
    );
    const heard: LoadReport[] = [];
    await using client = clientOf(servers, { policy: listening(heard) });
    for (const _ of servers) expect(await (await client.request("/")).body.text()).toBe("done");
    expect(heard).toEqual([]);
    expect(bad).toHaveLength(3);
    expect(bad).toContain(long.slice(0, 256));
  });

  it("goes on as without where only some of the instances report", async () => {
    const silent = await httpServer((_, response) => void response.end("done"));
    onTestFinished(() => silent.kill());
    const servers = [await saying("TEXT named_metrics.in_flight=3"), silent];
    await using client = clientOf(servers, { policy: prequal() });
    await Promise.all(Array.from({ length: 60 }, async () => (await client.request("/")).body.text()));
    for (const server of servers) expect(server.seen.length).toBeGreaterThan(10);
  });
});

describe("prequal, of three instances of which one has its event loop blocked most of the time", () => {
  it("gives it next to nothing within a second", { timeout: 30_000 }, async () => {
    const workers = [1, 2, 3].map(
      () =>
        new Worker(new URL("reporting-instance.ts", import.meta.url), {
          execArgv: ["--conditions=@rollcall/source"],
        }),
    );
    onTestFinished(async () => void (await Promise.all(workers.map((worker) => worker.terminate()))));
    const ports = await Promise.all(workers.map(async (worker) => Number((await once(worker, "message"))[0])));
    const instances = ports.map((port) => ({ service: "lorem", host: "127.0.0.1", port }));
    await using client = clientOf(instances, { policy: prequal() });
    const [blocked = 0] = ports;

    /** Three callers, a call each every five milliseconds; which share of them the first instance got. */
    const shareDuring = async (ms: number): Promise<number> => {
      const counts = new Map<number, number>();
      let sum = 0;
      const end = performance.now() + ms;
      const caller = async (): Promise<void> => {
        while (performance.now() < end) {
          const { instance, body } = await client.request("/");
          await body.dump();
          counts.set(instance.port, (counts.get(instance.port) ?? 0) + 1);
          sum++;
          await delay(5);
        }
      };
      await Promise.all([caller(), caller(), caller()]);
      return (counts.get(blocked) ?? 0) / sum;
    };

    expect(await shareDuring(1_500)).toBeGreaterThan(0.15);
    workers[0]?.postMessage(true);
    await shareDuring(1_000);
    expect(await shareDuring(2_000)).toBeLessThan(0.1);
  });
});
