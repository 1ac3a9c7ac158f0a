import { type Env, type Instance, type Instancer, createCache } from "@rollcall/core";

/** An {@link Instancer} without a registry: the test says what is known, synchronously. */
export interface DrivenInstancer extends Instancer {
  /** How many subscriptions there are now. */
  readonly listeners: number;
  update(instances: readonly Instance[]): void;
  fail(error: unknown): void;
}

/** Makes a {@link DrivenInstancer} of the service "lorem", pending at first. */
export function drivenInstancer(env?: Partial<Env>): DrivenInstancer {
  const cache = createCache({ env });
  let listeners = 0;
  return {
    service: "lorem",
    get snapshot() {
      return cache.snapshot;
    },
    get listeners() {
      return listeners;
    },
    subscribe(onChange) {
      const unsubscribe = cache.subscribe(onChange);
      listeners++;
      return () => {
        listeners--;
        unsubscribe();
      };
    },
    update: (instances) => cache.update(instances),
    fail: (error) => cache.fail(error),
    close: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  };
}
