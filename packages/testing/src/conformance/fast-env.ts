import { type Env, systemEnv } from "@rollcall/core";

/** An environment whose time runs `speed` times as fast as real time: timers of a minute are over in seconds. */
export function fastEnv(speed: number): Env {
  return {
    now: () => systemEnv.now() * speed,
    random: systemEnv.random,
    after: (delayMs, run, options) => systemEnv.after(delayMs / speed, run, options),
  };
}
