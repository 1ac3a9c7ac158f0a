import { closable, type MemoryRegistry, memoryRegistry, type Registry } from "@rollcall/core";
import { countedEnv, describeBackend, fastEnv, type Harness } from "@rollcall/testing/conformance";
import { describe, it } from "vitest";

const SPEED = 8;
const TTL_MS = 2_000;

/**
 * One memory registry is the server and the only client of it at once, so the registries of the kit are views of it:
 * each closes what was made through it, and leaves the rest to the others.
 */
function view(server: MemoryRegistry, services: Set<string>): Registry {
  const made = new Set<{ close(): Promise<void> }>();
  let closed = false;
  return {
    name: server.name,
    instancer(query) {
      if (closed) server = gone;
      const instancer = server.instancer(query);
      made.add(instancer);
      return instancer;
    },
    registrar(init) {
      if (closed) server = gone;
      services.add(init.service);
      const registrar = server.registrar(init);
      made.add(registrar);
      return registrar;
    },
    ...closable(async () => {
      closed = true;
      await Promise.all([...made].map((each) => each.close()));
    }),
  };
}

/** Closed for good: what a closed registry says, a closed view says too. */
const gone = memoryRegistry();
await gone.close();

function memoryHarness(): Harness {
  const { env, timers } = countedEnv(fastEnv(SPEED));
  const options = { env, ttlMs: TTL_MS * SPEED };
  const server = memoryRegistry(options);
  const services = new Set<string>();
  /** Each record has one timer that is the server's: its expiry. */
  const expiries = (): number => [...services].reduce((sum, service) => sum + server.instances(service).length, 0);

  return {
    name: "memory",
    settleMs: 200,
    expireMs: TTL_MS + 200,
    options,
    open: () => view(server, services),
    openRefused: "no: it accepts every valid instance",
    async seed(records) {
      for (const record of records) {
        services.add(record.service);
        await server.registrar(record).register();
        server.freeze(record.id);
      }
    },
    faults: {
      kill: async () => server.stop(),
      hang: "no: it lives in the process of its clients, and hangs only when they do",
      start: async () => server.start(),
      wipe: async () => server.wipe(),
      loseWatch: "no: its watches read the records themselves, so they end only when the records are lost",
      forget: {
        // The newest owner of an id counts; when it leaves, the record leaves with it.
        "another owner of the id came and left": async (record) => {
          const thief = server.registrar({ ...record, host: "127.0.0.1", port: 1 });
          await thief.register();
          await thief.close();
        },
      },
    },
    handles: () => timers() - expiries(),
    capabilities: {
      remembersAfterRestart: true,
      holdsDuplicates: "no: its records are kept by id",
    },
  };
}

describeBackend(memoryHarness(), { describe, it });
