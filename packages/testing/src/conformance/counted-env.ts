import { type Env, resolveEnv } from "@rollcall/core";

/** An environment that knows how many timers are armed. */
export interface CountedEnv {
  /** Hand this to the registry. */
  readonly env: Env;
  /** Timers that have neither run nor been cancelled: for {@link Harness.handles}. */
  timers(): number;
}

/**
 * Wraps an environment so that its timers can be counted, those that do not keep the process alive too, which
 * `process.getActiveResourcesInfo()` leaves out.
 */
export function countedEnv(given: Partial<Env> = {}): CountedEnv {
  const inner = resolveEnv(given);
  const armed = new Set<object>();
  return {
    env: {
      now: inner.now,
      random: inner.random,
      after(delayMs, run, options) {
        const timer = {};
        armed.add(timer);
        const cancel = inner.after(
          delayMs,
          () => {
            armed.delete(timer);
            run();
          },
          options,
        );
        return () => {
          armed.delete(timer);
          cancel();
        };
      },
    },
    timers: () => armed.size,
  };
}
