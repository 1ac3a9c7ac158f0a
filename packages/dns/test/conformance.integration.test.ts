import { countedEnv, describeBackend, type Harness } from "@rollcall/testing/conformance";
import { type NameServer, serverSkipped, startNameServer } from "@rollcall/testing/servers";
import { afterAll, beforeAll, describe, it } from "vitest";
import { type DnsRegistryOptions, dnsRegistry } from "../src/index.ts";
import { openSockets } from "./open-sockets.ts";
import { withZone, Zone } from "./zone-registry.ts";

const READ_ONLY = "no: DNS is read only: it has no record that ends with its owner, so nothing is announced";

describe.skipIf(serverSkipped("knot"))("against a real name server", () => {
  let names: NameServer;
  let zone: Zone;
  beforeAll(async () => {
    names = await startNameServer();
    zone = new Zone(names);
    options.servers = [names.address];
  });
  afterAll(() => names?.close());

  const { env, timers } = countedEnv();
  const options: DnsRegistryOptions & { servers: readonly string[] } = {
    servers: ["127.0.0.1"], // known when it runs
    name: ({ service }) => `${service}.rollcall.test`,
    intervalMs: 100,
    timeoutMs: 500,
    emptyGraceMs: 300,
    env,
  };

  const harness: Harness = {
    name: "dns",
    settleMs: 1_000,
    expireMs: 1_000,
    options,
    open: () => withZone(dnsRegistry(options), zone, env),
    openRefused: READ_ONLY,
    seed: (records) => zone.put(...records),
    faults: {
      kill: () => names.server.kill(),
      hang: () => names.server.freeze(),
      async start() {
        if (names.server.running) await names.server.thaw();
        await names.server.start();
      },
      wipe: () => zone.clear(),
      loseWatch: "no: there is no watch that could be lost: every question is asked anew",
      forget: READ_ONLY,
    },
    handles: () => timers() + openSockets(),
    capabilities: {
      remembersAfterRestart: true,
      holdsDuplicates:
        "no: the id is the target and the port, of which two records in one answer are told apart by nothing",
      2: "no: it tells hosts apart by upper and lower case, which names in DNS do not have",
      6: "no: a record has a weight and a priority, but neither zone nor tags nor metadata",
      15: READ_ONLY,
      16: READ_ONLY,
      17: READ_ONLY,
      18: READ_ONLY,
      19: READ_ONLY,
    },
  };

  describeBackend(harness, { describe, it });
});
