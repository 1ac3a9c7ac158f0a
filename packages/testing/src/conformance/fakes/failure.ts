import type { Instance, Source } from "@rollcall/core";
import { type BrokenFake, brokenFake } from "./broken-fake.ts";
import { mapped, wrapRegistry } from "./wrap.ts";

/** Rule 9. */
export const panicky: readonly BrokenFake[] = [
  brokenFake(9, "throws its instances away when the registry fails", () => ({
    wrap: (inner) =>
      wrapRegistry(inner, {
        instancer: () => ({
          snapshot: mapped((known) => (known.state === "stale" ? Object.freeze({ ...known, instances: [] }) : known)),
        }),
      }),
  })),
  brokenFake(9, "hides that the registry fails", () => ({
    wrap: (inner) =>
      wrapRegistry(inner, {
        instancer: () => ({
          snapshot: mapped((known) => {
            const { state, revision, instances } = known;
            return state === "stale" ? Object.freeze({ state: "live", revision, instances }) : known;
          }),
        }),
      }),
  })),
  brokenFake(9, "gives up watching when the registry has failed", () => ({
    replacements: {
      source: (inner) => {
        let failed = false;
        return {
          name: inner.name,
          async *watch(signal) {
            if (failed) await aborted(signal);
            try {
              yield* inner.watch(signal);
            } catch (error) {
              failed = true;
              throw error;
            }
          },
        };
      },
    },
  })),
];

/** Rule 10. */
export const forgetful: readonly BrokenFake[] = [
  brokenFake(10, "adds what comes after a lost watch to what it knew before", () => ({
    replacements: {
      source: (inner) => {
        let carried: readonly Instance[] = [];
        return {
          name: inner.name,
          async *watch(signal) {
            let last: readonly Instance[] = carried;
            for await (const set of inner.watch(signal)) {
              last = [...set, ...carried];
              yield last;
            }
            carried = last;
          },
        };
      },
    },
  })),
  brokenFake(10, "does not begin anew after a lost watch", () => ({
    replacements: {
      source: (inner: Source): Source => ({
        name: inner.name,
        async *watch(signal) {
          yield* inner.watch(signal);
          await aborted(signal);
        },
      }),
    },
  })),
];

/** Waits for nothing else. */
async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}
