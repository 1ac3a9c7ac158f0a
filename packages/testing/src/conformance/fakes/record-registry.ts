import {
  bounded,
  createInstance,
  createRegistry,
  type Env,
  type Instance,
  type NormalizedQuery,
  type Registry,
  type Sink,
  type Source,
  TimeoutError,
} from "@rollcall/core";
import type { RecordServer } from "./record-server.ts";

/** How a {@link recordRegistry} is set up. */
export interface RecordRegistryOptions {
  readonly env: Env;
  readonly ttlMs: number;
  /** How long a poll is parked at most. */
  readonly waitMs: number;
  readonly token: string;
}

/** What a fake replaces of a backend that works. */
export interface Replacements {
  /** Which services an answer holds. Default: the one that was asked for. */
  readonly matches?: (service: string, asked: string) => boolean;
  /** Which records a removal takes. Default: the own one. */
  readonly removes?: (key: string, own: string) => boolean;
  /** Whether one of the tags is enough. */
  readonly anyTag?: boolean;
  readonly source?: (inner: Source, query: NormalizedQuery) => Source;
  readonly sink?: (inner: Sink, instance: Instance) => Sink;
}

/** How late the answer to a poll may be, in milliseconds of the given clock. */
const LATE_MS = 3_000;

/** A well-behaved backend of a {@link RecordServer}, parts of which can be replaced by broken ones. */
export function recordRegistry(
  server: RecordServer,
  { env, ttlMs, waitMs, token }: RecordRegistryOptions,
  replacements: Replacements = {},
): Registry {
  const matches = replacements.matches ?? ((service, asked) => service === asked);
  const tagged = (tags: readonly string[], instance: Instance): boolean => {
    const found = tags.filter((tag) => instance.tags.includes(tag));
    return found.length === tags.length || (replacements.anyTag === true && found.length > 0);
  };
  const removes = replacements.removes ?? ((key, own) => key === own);

  const sourceOf = (query: NormalizedQuery): Source => ({
    name: "records",
    async *watch(signal) {
      for (let after: number | undefined; ;) {
        const bounds = {
          timeoutMs: waitMs + LATE_MS,
          onTimeout: () => new TimeoutError("a poll", waitMs + LATE_MS),
          signal,
        };
        const answer = await bounded(env, bounds, (scope) =>
          server.poll((service) => matches(service, query.service), after, waitMs, scope.signal),
        );
        if (answer === "gone") return;
        after = answer.index;
        yield answer.records
          .map((text) => createInstance(JSON.parse(text)))
          .filter((instance) => tagged(query.tags, instance));
      }
    },
  });

  const sink: Sink = {
    name: "records",
    async register(instance, signal) {
      const key = keyOf(instance);
      await server.put(key, instance.service, JSON.stringify(instance), ttlMs, token, signal);
      return {
        renewEveryMs: ttlMs / 3,
        renew: (renewing) => server.renew(key, renewing),
        async remove(removing) {
          await server.remove((other) => removes(other, key), removing);
        },
      };
    },
  };

  return createRegistry({
    name: "records",
    env,
    source: (query) => replacements.source?.(sourceOf(query), query) ?? sourceOf(query),
    sink: (instance) => replacements.sink?.(sink, instance) ?? sink,
  });
}

/** Where an instance is kept. */
export function keyOf(record: { readonly service: string; readonly id: string }): string {
  return `${record.service}/${record.id}`;
}
