import type { Instance, Source } from "@rollcall/core";

/** A {@link Source} whose every step is decided by the test. */
export interface ScriptedSource extends Source {
  /** How many watches were started so far. */
  readonly watches: number;
  /** How many watches run now. */
  readonly active: number;
  /** How many watches were ended by their signal. */
  readonly aborted: number;
  /** Steps that no watch has taken yet. */
  readonly queued: number;
  /** The watch yields this set, exactly as it is given (duplicates, order and all). */
  yield(instances: readonly Instance[]): void;
  /** The watch throws this error: the registry failed. The next watch takes the next step. */
  fail(error: unknown): void;
  /** The watch returns: it was lost. The next watch takes the next step. */
  end(): void;
}

type Step =
  | { readonly kind: "yield"; readonly instances: readonly Instance[] }
  | { readonly kind: "fail"; readonly error: unknown }
  | { readonly kind: "end" };

/**
 * Makes a {@link ScriptedSource}. Steps form one queue: each is taken once, by the watch that asks first, and those
 * that are pushed while nobody watches wait for the next watch. A watch with nothing to take waits until its signal
 * aborts; it then returns at once, as a good source does. `name` (default `scripted`) is for messages.
 *
 * ```ts
 * import { createInstance, createInstancer } from "@rollcall/core";
 * import { manualClock, scriptedSource } from "@rollcall/testing";
 * const clock = manualClock();
 * const source = scriptedSource();
 * await using instancer = createInstancer("lorem", source, { env: clock.env });
 * instancer.subscribe(() => {});
 * source.yield([createInstance({ service: "lorem", host: "10.0.0.1", port: 80 })]);
 * source.fail(new Error("connection reset"));
 * await clock.advance(0);
 * instancer.snapshot.state; // "stale"
 * ```
 */
export function scriptedSource(name = "scripted"): ScriptedSource {
  const steps: Step[] = [];
  const waiting: (() => void)[] = [];
  let [watches, active, aborted] = [0, 0, 0];

  const push = (step: Step): void => {
    steps.push(step);
    // All of them: one that was woken may have been aborted meanwhile, and must not swallow the step.
    for (const wake of waiting.splice(0)) wake();
  };

  const arrival = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const wake = (): void => {
        signal.removeEventListener("abort", wake);
        resolve();
      };
      signal.addEventListener("abort", wake);
      waiting.push(wake);
    });

  async function* watch(signal: AbortSignal): AsyncGenerator<readonly Instance[]> {
    watches++;
    active++;
    try {
      while (!signal.aborted) {
        const step = steps.shift();
        if (step === undefined) await arrival(signal);
        else if (step.kind === "yield") yield step.instances;
        else if (step.kind === "fail") throw step.error;
        else return;
      }
    } finally {
      active--;
      if (signal.aborted) aborted++;
    }
  }

  return {
    name,
    watch,
    get watches() {
      return watches;
    },
    get active() {
      return active;
    },
    get aborted() {
      return aborted;
    },
    get queued() {
      return steps.length;
    },
    yield: (instances) => push({ kind: "yield", instances }),
    fail: (error) => push({ kind: "fail", error }),
    end: () => push({ kind: "end" }),
  };
}
