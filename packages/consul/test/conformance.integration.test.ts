import { execFileSync } from "node:child_process";
import { createInstance, type InstanceInit } from "@rollcall/core";
import { type TcpProxy, tcpProxy } from "@rollcall/testing";
import { countedEnv, describeBackend, type Harness, type RecordName } from "@rollcall/testing/conformance";
import { serverSkipped, startConsul, type TestServer } from "@rollcall/testing/servers";
import { afterAll, beforeAll, describe, it } from "vitest";
import { encodeInstance } from "../src/client.ts";
import { consulRegistry, type ConsulRegistryOptions } from "../src/index.ts";

/** Long enough to be alive still when Consul has died, started again and elected a leader. */
const TTL_MS = 8_000;
const WAIT_MS = 2_000;

describe.skipIf(serverSkipped("consul"))("against a real Consul", () => {
  let consul: TestServer;
  let proxy: TcpProxy;
  beforeAll(async () => {
    consul = await startConsul({ faults: ["kill", "freeze", "wipe"] });
    proxy = await tcpProxy({ target: { host: consul.host, port: consul.port } });
    options.url = proxy.url;
  });
  afterAll(async () => {
    await proxy?.close();
    await consul?.close();
  });

  const { env, timers } = countedEnv();
  const options: ConsulRegistryOptions & { url: string } = {
    url: "http://127.0.0.1", // known when Consul runs
    waitMs: WAIT_MS,
    check: { ttlMs: TTL_MS },
    env,
  };

  /** Past the proxy, as another tool would. */
  const put = async (path: string, body?: unknown): Promise<void> => {
    const init = body === undefined ? {} : { body: JSON.stringify(body) };
    const answer = await fetch(`${consul.url}/v1${path}`, { method: "PUT", ...init });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  };

  /** One node for each record: only so can Consul hold two with one id. */
  let nodes = 0;
  const seed = async (record: InstanceInit): Promise<void> => {
    const { Name, ...service } = encodeInstance(createInstance(record), "zone");
    await put("/catalog/register", {
      Node: `seed-${++nodes}`,
      Address: "127.0.0.1",
      Service: { Service: Name, ...service },
    });
  };

  /** Blocks this thread, so that no renewal is sent, until Consul has noticed. */
  const standStill = (record: RecordName): void => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, TTL_MS);
    for (let tries = 0; isPassing(record); tries++) {
      if (tries > 20) throw new Error(`Consul did not notice that ${record.id} is not renewed`);
    }
  };

  /** Asked by another process: this one stands still. */
  const isPassing = ({ service, id }: RecordName): boolean => {
    const url = `${consul.url}/v1/health/service/${service}?passing`;
    const script = "fetch(process.argv[1]).then((answer) => answer.text()).then((text) => process.stdout.write(text))";
    const entries = JSON.parse(execFileSync(process.execPath, ["-e", script, url], { encoding: "utf8" }));
    return entries.some((entry: { Service: { ID: string } }) => entry.Service.ID === id);
  };

  const harness: Harness = {
    name: "consul",
    settleMs: 750,
    expireMs: TTL_MS + 1_000,
    // Consul may answer a poll this late, and the network has two seconds on top.
    noticeMs: WAIT_MS + WAIT_MS / 16 + 2_500,
    options,
    open: () => consulRegistry(options),
    // There are no namespaces outside of Consul Enterprise.
    openRefused: () => consulRegistry({ ...options, namespace: "elsewhere" }),
    async seed(records) {
      for (const record of records) await seed(record);
    },
    faults: {
      async kill() {
        await Promise.all([proxy.cut(), consul.kill()]);
      },
      hang: () => consul.freeze(),
      async start() {
        if (consul.running) await consul.thaw();
        await consul.start();
        await proxy.open();
      },
      wipe: () => consul.restart({ wipe: true }),
      async loseWatch(meanwhile) {
        await proxy.cut();
        await meanwhile();
        await proxy.open();
      },
      forget: {
        "somebody deregistered it": ({ id }) => put(`/agent/service/deregister/${id}`),
        "its owner's event loop stood still beyond the TTL": async (record) => standStill(record),
        async "its network lost every packet beyond the TTL"(record) {
          await proxy.hole();
          for (let waitedMs = 0; isPassing(record); waitedMs += 500) {
            if (waitedMs > 3 * TTL_MS) throw new Error(`Consul did not notice that ${record.id} is not renewed`);
            await new Promise((resolve) => setTimeout(resolve, 500));
          }
          await proxy.open();
        },
      },
    },
    handles: () => timers() + proxy.connections,
    capabilities: { remembersAfterRestart: true, holdsDuplicates: true },
  };

  describeBackend(harness, { describe, it });
});
