import { createInstance, type Env, type Registry } from "@rollcall/core";
import { countedEnv } from "../counted-env.ts";
import { fastEnv } from "../fast-env.ts";
import type { Harness } from "../harness.ts";
import { keyOf, type RecordRegistryOptions, recordRegistry, type Replacements } from "./record-registry.ts";
import { RecordServer } from "./record-server.ts";

/** What a fake gets to know of the place it lives in. */
export interface FakePlace {
  readonly env: Env;
  readonly server: RecordServer;
  readonly options: RecordRegistryOptions;
}

/** How a fake differs from a backend that works; made anew for each registry that is opened. */
export interface Fault {
  readonly replacements?: Replacements;
  /** Wraps the whole registry. */
  readonly wrap?: (inner: Registry) => Registry;
}

/**
 * How many times as fast as real time the fakes live. No faster: what core gives a call to end in, two seconds at
 * least, must be enough for a busy machine.
 */
export const SPEED = 2;

/** When a change is settled, in milliseconds of real time: a busy machine must not be taken for a slow backend. */
export const SETTLE_MS = 500;

/** A harness over a server of its own. Without a fault its registries keep all rules. */
export function recordHarness(name: string, fault: (place: FakePlace) => Fault = () => ({}), ttlMs = 1_500): Harness {
  const env = fastEnv(SPEED);
  const counted = countedEnv(env);
  const server = new RecordServer(env);
  const options: RecordRegistryOptions = {
    env: counted.env,
    ttlMs: ttlMs * SPEED,
    waitMs: 300 * SPEED,
    token: "right",
  };
  const openWith = (given: RecordRegistryOptions): Registry => {
    const { replacements, wrap } = fault({ env: counted.env, server, options: given });
    const registry = recordRegistry(server, given, replacements);
    return wrap?.(registry) ?? registry;
  };
  let seeds = 0;

  return {
    name,
    settleMs: SETTLE_MS,
    expireMs: ttlMs + 500,
    noticeMs: 2_000,
    options,
    open: () => openWith(options),
    openRefused: () => openWith({ ...options, token: "wrong" }),
    async seed(records) {
      for (const record of records) {
        server.seed(`seed/${++seeds}`, record.service, JSON.stringify(createInstance(record)));
      }
    },
    faults: {
      kill: async () => server.kill(),
      hang: async () => server.hang(),
      start: async () => server.start(),
      wipe: async () => server.wipe(),
      loseWatch: (meanwhile) => server.compact(meanwhile),
      forget: { "its lease is revoked": async (record) => server.drop(keyOf(record)) },
    },
    handles: () => counted.timers() + server.connections,
    capabilities: { remembersAfterRestart: true, holdsDuplicates: true },
  };
}
