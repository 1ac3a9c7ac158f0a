import type { Instancer, Registrar } from "@rollcall/core";
import { type BrokenFake, brokenFake } from "./broken-fake.ts";
import { wrapRegistry } from "./wrap.ts";

/** Rule 13. */
export const rude: readonly BrokenFake[] = [
  brokenFake(13, "sorts the tags that it is given", () => ({
    wrap: (inner) => ({
      ...inner,
      instancer(query) {
        if (typeof query !== "string" && query.tags !== undefined) Array.prototype.sort.call(query.tags);
        return inner.instancer(query);
      },
    }),
  })),
  brokenFake(13, "writes defaults into the instance that it is given", () => ({
    wrap: (inner) => ({
      ...inner,
      registrar: (init) => inner.registrar(Object.assign(init, { weight: init.weight ?? 1 })),
    }),
  })),
  brokenFake(13, "writes defaults into the options of the registry", ({ options }) => {
    Object.assign(options, { retries: 3 });
    return {};
  }),
];

/** Rule 14. */
export const entangled: readonly BrokenFake[] = [
  brokenFake(14, "ends all watches with the first one that is closed", () => ({
    wrap: (inner) => {
      const made = new Set<Instancer>();
      return wrapRegistry(inner, {
        instancer: (instancer) => {
          made.add(instancer);
          return {
            async close() {
              await Promise.all([...made].map((each) => each.close()));
            },
          };
        },
      });
    },
  })),
  brokenFake(14, "takes back all registrations with the first one that is taken back", () => ({
    wrap: (inner) => {
      const made = new Set<Registrar>();
      return wrapRegistry(inner, {
        registrar: (registrar) => {
          made.add(registrar);
          return {
            async deregister(options) {
              await Promise.all([...made].map((each) => each.deregister(options)));
            },
          };
        },
      });
    },
  })),
  brokenFake(14, "finds services whose names begin with the one that was asked for", () => ({
    replacements: { matches: (service, asked) => service.startsWith(asked) },
  })),
];
