import { closable, sleep } from "@rollcall/core";
import { type BrokenFake, brokenFake } from "./broken-fake.ts";
import { SPEED } from "./record-harness.ts";
import { wrapRegistry } from "./wrap.ts";

/** Rule 11. */
export const hardToClose: readonly BrokenFake[] = [
  brokenFake(11, "waits for its poll when an instancer is closed", ({ env }) => ({
    wrap: (inner) =>
      wrapRegistry(inner, {
        instancer: (instancer) => ({
          async close() {
            await instancer.close();
            await sleep(env, 200 * SPEED, undefined, { keepAlive: true });
          },
        }),
      }),
  })),
  brokenFake(11, "waits for its polls when the registry is closed", ({ env }) => ({
    wrap: (inner) => ({
      ...inner,
      ...closable(async () => {
        await inner.close();
        await sleep(env, 200 * SPEED, undefined, { keepAlive: true });
      }),
    }),
  })),
  brokenFake(11, "cannot be closed twice", () => ({
    wrap: (inner) =>
      wrapRegistry(inner, {
        instancer: (instancer) => {
          let closed = false;
          return {
            async close() {
              if (closed) throw new Error("closed already");
              closed = true;
              await instancer.close();
            },
          };
        },
      }),
  })),
  brokenFake(11, "goes on telling after it was closed", () => ({
    wrap: (inner) =>
      wrapRegistry(inner, {
        instancer: (instancer, query) => {
          let closed = false;
          return {
            subscribe(onChange) {
              // Ends with the registry only.
              inner.instancer(query).subscribe(() => {
                if (closed) onChange();
              });
              return instancer.subscribe(onChange);
            },
            async close() {
              closed = true;
              await instancer.close();
            },
          };
        },
      }),
  })),
  brokenFake(11, "takes new listeners after it was closed", () => ({
    wrap: (inner) =>
      wrapRegistry(inner, {
        instancer: (instancer) => {
          let closed = false;
          return {
            subscribe: (onChange) => (closed ? () => undefined : instancer.subscribe(onChange)),
            async close() {
              closed = true;
              await instancer.close();
            },
          };
        },
      }),
  })),
];

/** Rule 12. */
export const leaky: readonly BrokenFake[] = [
  brokenFake(12, "forgets a timer", ({ env }) => ({
    wrap: (inner) =>
      wrapRegistry(inner, {
        instancer: () => {
          env.after(3_600_000, () => undefined);
          return {};
        },
      }),
  })),
  brokenFake(12, "forgets its connection when it is closed while the registry is down", ({ env, server }) => ({
    wrap: (inner) => ({
      ...inner,
      ...closable(async () => {
        await inner.close();
        const signal = new AbortController().signal;
        const open = await server.poll(() => false, undefined, 0, signal).catch(() => undefined);
        if (open === undefined) env.after(3_600_000, () => undefined);
      }),
    }),
  })),
];
