import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { InstanceInit, Registrar, Registry, ServiceQuery } from "@rollcall/core";
import { type Follower, follow } from "./follower.ts";
import { type Harness, isNo, type No } from "./harness.ts";

/** What a rule has at hand while it runs. Whatever it opens here is closed after it, and the server is up again. */
export interface RuleContext {
  readonly harness: Harness;
  /** How long the kit waits for what must happen, where the rule is not about how soon. */
  readonly patienceMs: number;
  /** As `patienceMs`, where a registration must first run out or be repeated. */
  readonly repairMs: number;
  /** The last thing that was begun, for the message of a rule that hangs. */
  readonly step: string;
  /** Names what comes next. */
  begin(step: string): void;
  /** A name of a service that nobody else uses. No such name is a prefix of another one. */
  service(label?: string): string;
  /** An instance at an address that nobody else uses. */
  instance(service: string, id: string): InstanceInit & { readonly id: string };
  open(): Promise<Registry>;
  openWith(open: () => Registry | Promise<Registry>): Promise<Registry>;
  /** Registers an instance, through a registry of its own if none is given, and waits until it was accepted. */
  announce(init: InstanceInit, registry?: Registry): Promise<Registrar>;
  /** Follows a service, through a registry of its own if none is given. */
  follow(query: ServiceQuery | string, registry?: Registry): Promise<Follower>;
  /** Hurts the server: from now on it must be started again at the end. */
  hurt(fault: () => Promise<void>): Promise<void>;
  /** The ability, if the harness has it; its reason was reported by others. */
  able<T>(ability: T | No): T | undefined;
  /** Lets time pass in which nothing should happen. */
  pass(ms: number): Promise<void>;
}

/** A {@link RuleContext} and its end. */
export interface OpenContext {
  readonly context: RuleContext;
  /** Starts the server again if it was hurt, and closes everything. Never rejects for what closing says. */
  end(): Promise<void>;
}

/** Nothing that is closed may hold up the next rule for longer. */
const CLOSE_MS = 10_000;

/** Makes the context of one run of one rule. */
export function openContext(harness: Harness): OpenContext {
  const registries: Registry[] = [];
  const run = randomUUID().slice(0, 8);
  let services = 0;
  let ports = 10_000;
  let step = "";
  let hurt = false;

  const context: RuleContext = {
    harness,
    patienceMs: 4 * harness.settleMs,
    repairMs: 4 * harness.settleMs + 2 * harness.expireMs,
    get step() {
      return step;
    },
    begin(next) {
      step = next;
    },
    service: (label = "service") => `rule-${run}-${++services}-${label}`,
    instance: (service, id) => ({ service, id, host: "127.0.0.1", port: ++ports }),
    open: () => context.openWith(() => harness.open()),
    async openWith(open) {
      const registry = await open();
      registries.push(registry);
      return registry;
    },
    async announce(init, registry) {
      step = `registering ${init.id ?? init.service}`;
      const registrar = (registry ?? (await context.open())).registrar(init);
      await registrar.register();
      return registrar;
    },
    async follow(query, registry) {
      return follow((registry ?? (await context.open())).instancer(query));
    },
    async hurt(fault) {
      hurt = true;
      await fault();
    },
    able: (ability) => (isNo(ability) ? undefined : ability),
    pass: (ms) => delay(ms),
  };

  return {
    context,
    async end() {
      // First the server: a registry that cannot deregister takes its time over closing.
      if (hurt) await harness.faults.start();
      await Promise.race([
        Promise.allSettled(registries.map(async (registry) => registry.close())),
        delay(CLOSE_MS, undefined, { ref: false }),
      ]);
    },
  };
}
