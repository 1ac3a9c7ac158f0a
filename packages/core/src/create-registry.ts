import { type Env, resolveEnv } from "./env.ts";
import { ClosedError } from "./errors.ts";
import { type Instance, createInstance } from "./instance.ts";
import type { InstancerOptions } from "./instancer.ts";
import { closable } from "./lifecycle.ts";
import { checkOptions, is, required } from "./options.ts";
import { type Registrar, createRegistrar } from "./registrar.ts";
import type { Registry, ServiceQuery } from "./registry.ts";
import { SharedWatch } from "./shared-watch.ts";
import type { Sink } from "./sink.ts";
import type { Source } from "./source.ts";

/** Closing keeps the process alive for as long: well beyond what any of it takes. */
const CLOSE_MS = 10_000;

/** A {@link ServiceQuery} with its defaults filled in, its tags sorted and each there once. */
export interface NormalizedQuery {
  readonly service: string;
  readonly tags: readonly string[];
  readonly passingOnly: boolean;
}

/** What a backend brings to become a {@link Registry}. */
export interface RegistryParts {
  /** For messages: `consul`. */
  readonly name: string;
  /** The read half for one query; called once for all instancers that ask the same. */
  readonly source: (query: NormalizedQuery) => Source;
  /** The write half for one instance. */
  readonly sink: (instance: Instance) => Sink;
  /** Closes the connection; called once, after all instancers and registrars have been closed. */
  readonly close?: (() => Promise<void>) | undefined;
  /** See {@link InstancerOptions.emptyGraceMs}. */
  readonly emptyGraceMs?: InstancerOptions["emptyGraceMs"];
  readonly env?: Partial<Env> | undefined;
}

/**
 * Makes a {@link Registry} from a backend's two halves: shares one watch among all instancers of the same query, and
 * closes whatever was made from it. This is the only place where backends meet the rest of Rollcall.
 *
 * @throws InvalidOptionError for a part that is missing, wrong or unknown.
 */
export function createRegistry(parts: RegistryParts): Registry {
  checkOptions("", parts, PARTS_CHECKS);
  const { name, env, emptyGraceMs } = parts;
  const shared = new Map<string, SharedWatch>();
  const registrars = new Set<Registrar>();
  let closed = false;

  const forget = ({ key }: SharedWatch): void => void shared.delete(key);
  const refuseIfClosed = (): void => {
    if (closed) throw new ClosedError(`the registry "${name}"`);
  };

  return {
    name,
    instancer(given) {
      refuseIfClosed();
      const query = normalize(given);
      const key = JSON.stringify([query.service, query.passingOnly, ...query.tags]);
      let watch = shared.get(key);
      if (watch === undefined) {
        watch = new SharedWatch(query.service, parts.source(query), { env, emptyGraceMs }, key, forget);
        shared.set(key, watch);
      }
      return watch.instancer();
    },
    registrar(init) {
      refuseIfClosed();
      const instance = createInstance(init);
      const registrar = createRegistrar(instance, parts.sink(instance), { env });
      registrars.add(registrar);
      return {
        instance,
        get registered() {
          return registrar.registered;
        },
        register: (options) => registrar.register(options),
        deregister: (options) => registrar.deregister(options),
        ...closable(() => registrar.close().finally(() => registrars.delete(registrar))),
      };
    },
    ...closable(async () => {
      closed = true;
      const letGo = resolveEnv(env).after(CLOSE_MS, () => undefined, { keepAlive: true });
      try {
        for (const watch of shared.values()) watch.close();
        await Promise.all([...registrars].map((each) => each.close()));
        await parts.close?.();
      } finally {
        letGo();
      }
    }),
  };
}

const PARTS_CHECKS = {
  name: required(is.nonEmptyString),
  source: required(is.function),
  sink: required(is.function),
  close: is.function,
  emptyGraceMs: is.durationMs,
  env: is.env,
};

/** The parts of a {@link ServiceQuery}, for whoever takes them along with options of its own. */
export const QUERY_CHECKS = {
  service: required(is.nonEmptyString),
  tags: is.strings,
  passingOnly: is.boolean,
};

const NO_TAGS: readonly string[] = Object.freeze([]);

function normalize(given: ServiceQuery | string): NormalizedQuery {
  const query: ServiceQuery = typeof given === "string" ? { service: given } : given;
  checkOptions("", query, QUERY_CHECKS);
  return {
    service: query.service,
    tags: query.tags === undefined ? NO_TAGS : [...new Set(query.tags)].toSorted(),
    passingOnly: query.passingOnly ?? true,
  };
}
