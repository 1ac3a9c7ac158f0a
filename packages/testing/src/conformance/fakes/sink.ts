import type { Instance, Registration, Sink } from "@rollcall/core";
import { type BrokenFake, brokenFake } from "./broken-fake.ts";
import { SPEED } from "./record-harness.ts";
import { keyOf } from "./record-registry.ts";
import { wrapRegistry } from "./wrap.ts";

/** Rule 15. */
export const hasty: readonly BrokenFake[] = [
  brokenFake(15, "says that it has published what it is going to publish", ({ env, server, options }) => ({
    replacements: {
      sink: (inner) => ({
        name: inner.name,
        async register(instance, signal) {
          const key = keyOf(instance);
          const put = (service: string, putting: AbortSignal): Promise<void> =>
            server.put(key, service, JSON.stringify(instance), options.ttlMs, options.token, putting);
          const known = await server.renew(key, signal).then(
            () => true,
            () => false,
          );
          // Where nobody looks.
          await put(known ? instance.service : "on its way", signal);
          const cancel = env.after(100 * SPEED, () => {
            put(instance.service, new AbortController().signal).catch(() => undefined);
          });
          return {
            renewEveryMs: options.ttlMs / 3,
            renew: (renewing) => server.renew(key, renewing),
            async remove(removing) {
              cancel();
              await server.remove((other) => other === key, removing);
            },
          };
        },
      }),
    },
  })),
];

/** Rule 16. */
export const deaf: readonly BrokenFake[] = [
  brokenFake(16, "keeps it to itself that the registry is down", () => ({
    replacements: { sink: (inner) => swallowing(inner, "ECONNREFUSED") },
  })),
  brokenFake(16, "does not look at the answer of the registry", () => ({
    replacements: { sink: (inner) => swallowing(inner, "FORBIDDEN") },
  })),
];

/** A sink that takes certain failures for success. */
function swallowing(inner: Sink, code: string): Sink {
  return {
    name: inner.name,
    register: (instance, signal) =>
      inner.register(instance, signal).catch((error: unknown) => {
        if (error instanceof Error && "code" in error && error.code === code) return { remove: async () => undefined };
        throw error;
      }),
  };
}

/** Rule 17. */
export const neglectful: readonly BrokenFake[] = [
  brokenFake(
    17,
    "renews nothing",
    () => ({
      replacements: { sink: (inner) => mapRegistration(inner, ({ remove }) => ({ remove })) },
    }),
    // So that the other rules are over before a registration of theirs runs out.
    10_000,
  ),
  brokenFake(17, "does not notice at a renewal that the record is gone", () => ({
    replacements: {
      sink: (inner) =>
        mapRegistration(inner, (made) => ({
          ...made,
          renew: async (signal) => made.renew?.(signal).catch(() => undefined),
        })),
    },
  })),
];

/** Rule 18. */
export const clumsy: readonly BrokenFake[] = [
  brokenFake(18, "cannot deregister twice", () => ({
    wrap: (inner) =>
      wrapRegistry(inner, {
        registrar: (registrar) => {
          let gone = false;
          return {
            async deregister(options) {
              if (gone) throw new Error("not registered");
              gone = true;
              await registrar.deregister(options);
            },
          };
        },
      }),
  })),
  brokenFake(18, "takes it for an error that the record is gone already", ({ server }) => ({
    replacements: {
      sink: (inner) =>
        mapRegistration(inner, (made, instance) => ({
          ...made,
          async remove(signal) {
            const own = keyOf(instance);
            if (!(await server.remove((key) => key === own, signal))) throw new Error(`unknown record ${own}`);
          },
        })),
    },
  })),
  brokenFake(18, "takes the whole service away", () => ({
    replacements: { removes: (key, own) => serviceOf(key) === serviceOf(own) },
  })),
  brokenFake(18, "writes the record once more after it was taken away", ({ env }) => ({
    replacements: {
      sink: (inner) =>
        mapRegistration(inner, (made, instance) => ({
          ...made,
          async remove(signal) {
            await made.remove(signal);
            env.after(200 * SPEED, () => {
              inner.register(instance, new AbortController().signal).catch(() => undefined);
            });
          },
        })),
    },
  })),
];

/** A sink whose registrations are changed. */
function mapRegistration(inner: Sink, map: (made: Registration, instance: Instance) => Registration): Sink {
  return {
    name: inner.name,
    register: async (instance, signal) => map(await inner.register(instance, signal), instance),
  };
}

function serviceOf(key: string): string | undefined {
  return key.split("/")[0];
}

/** Rule 19. */
export const stubborn: readonly BrokenFake[] = [
  brokenFake(19, "does not care for signals when it registers", () => ({
    wrap: (inner) => wrapRegistry(inner, { registrar: (registrar) => ({ register: () => registrar.register() }) }),
  })),
  brokenFake(19, "does not care for signals when it deregisters", () => ({
    wrap: (inner) => wrapRegistry(inner, { registrar: (registrar) => ({ deregister: () => registrar.deregister() }) }),
  })),
  brokenFake(19, "makes up a reason of its own", () => ({
    wrap: (inner) =>
      wrapRegistry(inner, {
        registrar: (registrar) => ({
          register: (options) =>
            registrar.register(options).catch((error: unknown) => {
              throw options?.signal?.aborted === true ? new Error("aborted", { cause: error }) : error;
            }),
        }),
      }),
  })),
];
