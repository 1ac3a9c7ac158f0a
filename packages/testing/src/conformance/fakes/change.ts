import { type Env, type Instance, sleep, type Source } from "@rollcall/core";
import { type BrokenFake, brokenFake } from "./broken-fake.ts";
import { SETTLE_MS, SPEED } from "./record-harness.ts";
import { wrapRegistry } from "./wrap.ts";

/** Rule 7. */
export const slow: readonly BrokenFake[] = [
  brokenFake(7, "shows every change too late", ({ env }) => ({
    replacements: { source: (inner) => late(inner, env, () => true) },
  })),
  brokenFake(7, "shows too late that somebody left", ({ env }) => ({
    replacements: { source: (inner) => late(inner, env, (set, before) => set.length < before.length) },
  })),
];

/** A source that keeps certain changes to itself for longer than the settle time. First answers come in time. */
function late(
  inner: Source,
  env: Env,
  isLate: (set: readonly Instance[], before: readonly Instance[]) => boolean,
): Source {
  return {
    name: inner.name,
    async *watch(signal) {
      let before: readonly Instance[] | undefined;
      for await (const set of inner.watch(signal)) {
        if (before !== undefined && isLate(set, before)) await sleep(env, 1.5 * SETTLE_MS * SPEED, signal);
        before = set;
        yield set;
      }
    },
  };
}

/** Rule 8. */
export const fragile: readonly BrokenFake[] = [
  brokenFake(8, "calls its listeners one after another, until one throws", () => ({
    wrap: (inner) =>
      wrapRegistry(inner, {
        instancer: (instancer) => {
          const listeners = new Set<() => void>();
          return {
            subscribe(onChange) {
              if (listeners.size === 0) instancer.subscribe(() => listeners.forEach((each) => each()));
              else instancer.subscribe(() => undefined)();
              listeners.add(onChange);
              return () => void listeners.delete(onChange);
            },
          };
        },
      }),
  })),
  brokenFake(8, "drops a listener that throws", () => ({
    wrap: (inner) =>
      wrapRegistry(inner, {
        instancer: (instancer) => ({
          subscribe(onChange) {
            const unsubscribe = instancer.subscribe(() => {
              try {
                onChange();
              } catch {
                unsubscribe();
              }
            });
            return unsubscribe;
          },
        }),
      }),
  })),
];
