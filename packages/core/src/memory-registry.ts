import { createRegistry } from "./create-registry.ts";
import { type Env, resolveEnv } from "./env.ts";
import type { Instance } from "./instance.ts";
import type { InstancerOptions } from "./instancer.ts";
import { checkOptions, is } from "./options.ts";
import type { Registry } from "./registry.ts";
import type { Registration } from "./sink.ts";

/** What {@link memoryRegistry} can be told. */
export interface MemoryRegistryOptions {
  readonly env?: Partial<Env> | undefined;
  /** How long a registration lives without being renewed; it is renewed three times as often. Default 15 s. */
  readonly ttlMs?: number | undefined;
  /** See {@link InstancerOptions.emptyGraceMs}. */
  readonly emptyGraceMs?: InstancerOptions["emptyGraceMs"];
}

/**
 * A registry inside this process, with the faults of a real server at hand: to try out what an application does when
 * its registry fails.
 */
export interface MemoryRegistry extends Registry {
  /** What is registered now, in no particular order. */
  instances(service: string): readonly Instance[];
  /** As if the server had been killed: watches fail, writes are rejected; its data stay. */
  stop(error?: unknown): void;
  /** As if it had been started again. Registrations that ran out meanwhile are gone. */
  start(): void;
  /** As if it had lost its data: everything is forgotten, watches are lost. */
  wipe(): void;
  /** As if the process of this instance had been killed: its renewals count no more, so it leaves by its TTL. */
  freeze(id: string): void;
}

/**
 * Makes the embedded registry: a real one, with registration, renewal, expiry and watches, that lives and dies with
 * this process. For one process that is server and client at once, for tests, and for a start without any server.
 */
export function memoryRegistry(options: MemoryRegistryOptions = {}): MemoryRegistry {
  checkOptions("", options, { env: is.env, ttlMs: is.number(1), emptyGraceMs: is.durationMs });
  const store = new MemoryStore(resolveEnv(options.env), options.ttlMs ?? 15_000);
  const registry = createRegistry({
    name: "memory",
    env: options.env,
    emptyGraceMs: options.emptyGraceMs,
    source: ({ service, tags }) => ({
      name: "memory",
      watch: (signal) => store.watch(signal, () => store.select(service, tags)),
    }),
    sink: () => ({ name: "memory", register: async (instance) => store.register(instance) }),
    close: async () => store.close(),
  });
  return {
    ...registry,
    instances: (service) => store.select(service, []),
    stop: (error) => store.stop(error),
    start: () => store.start(),
    wipe: () => store.wipe(),
    freeze: (id) => store.freeze(id),
  };
}

interface MemoryRecord {
  readonly instance: Instance;
  /** Its owner is as good as dead. */
  frozen: boolean;
  cancelExpiry: () => void;
}

/** The registry's data: the newest record under a (service, id) counts, and only its owner can renew or remove it. */
class MemoryStore {
  readonly #env: Env;
  readonly #ttlMs: number;
  readonly #records = new Map<string, MemoryRecord>();
  readonly #watches = new Set<() => void>();
  /** Grows with each change. */
  #version = 0;
  #down: { readonly error: unknown } | undefined;
  /** The newest failure, which broke all watches of then, even if it is over by now. */
  #fault: { readonly error: unknown } | undefined;
  /** Grows when data were lost, which ends all watches. */
  #epoch = 0;

  constructor(env: Env, ttlMs: number) {
    this.#env = env;
    this.#ttlMs = ttlMs;
  }

  select(service: string, tags: readonly string[]): readonly Instance[] {
    return [...this.#records.values()]
      .map((record) => record.instance)
      .filter((instance) => instance.service === service && tags.every((tag) => instance.tags.includes(tag)));
  }

  async *watch(signal: AbortSignal, select: () => readonly Instance[]): AsyncGenerator<readonly Instance[]> {
    const [epoch, fault] = [this.#epoch, this.#fault];
    let wake = (): void => undefined;
    const onEvent = (): void => wake();
    this.#watches.add(onEvent);
    signal.addEventListener("abort", onEvent);
    try {
      while (!signal.aborted && epoch === this.#epoch) {
        const broken = this.#fault === fault ? this.#down : this.#fault;
        if (broken !== undefined) throw broken.error;
        const seen = this.#version;
        yield select();
        if (seen === this.#version && !signal.aborted) await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      this.#watches.delete(onEvent);
      signal.removeEventListener("abort", onEvent);
    }
  }

  register(instance: Instance): Registration {
    this.#refuseIfDown();
    const key = keyOf(instance);
    this.#records.get(key)?.cancelExpiry();
    const record: MemoryRecord = { instance, frozen: false, cancelExpiry: () => undefined };
    this.#records.set(key, record);
    this.#extend(key, record);
    this.#changed();
    return {
      renewEveryMs: this.#ttlMs / 3,
      renew: async () => {
        if (record.frozen) return; // the dead do not notice
        this.#refuseIfDown();
        if (this.#records.get(key) !== record) throw new Error(`memory registry does not know ${instance.id} any more`);
        this.#extend(key, record);
      },
      remove: async () => {
        if (record.frozen) return;
        this.#refuseIfDown();
        if (this.#records.get(key) !== record) return;
        this.#forget(key, record);
      },
    };
  }

  stop(error: unknown = new Error("memory registry is stopped")): void {
    this.#down = this.#fault = { error };
    this.#changed();
  }

  start(): void {
    this.#down = undefined;
    this.#changed();
  }

  wipe(): void {
    this.#epoch++;
    this.close();
    this.#changed();
  }

  freeze(id: string): void {
    for (const record of this.#records.values()) if (record.instance.id === id) record.frozen = true;
  }

  close(): void {
    for (const record of this.#records.values()) record.cancelExpiry();
    this.#records.clear();
  }

  #refuseIfDown(): void {
    if (this.#down !== undefined) throw this.#down.error;
  }

  #extend(key: string, record: MemoryRecord): void {
    record.cancelExpiry();
    record.cancelExpiry = this.#env.after(this.#ttlMs, () => this.#forget(key, record));
  }

  #forget(key: string, record: MemoryRecord): void {
    record.cancelExpiry();
    this.#records.delete(key);
    this.#changed();
  }

  #changed(): void {
    this.#version++;
    for (const onEvent of this.#watches) onEvent();
  }
}

function keyOf(instance: Instance): string {
  return JSON.stringify([instance.service, instance.id]);
}
