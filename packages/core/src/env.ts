/** Where time and chance come from. Everything in Rollcall takes them from here and from nowhere else. */
export interface Env {
  /** Monotonic milliseconds; only differences mean anything. */
  now(): number;
  /** Uniform in [0, 1). */
  random(): number;
  /**
   * Runs `run` once after `delayMs` and returns a function that cancels it. The timer does not keep the process alive
   * unless `keepAlive` is set, which is for delays that somebody awaits.
   */
  after(delayMs: number, run: () => void, options?: { keepAlive?: boolean }): () => void;
}

/** The longest delay `setTimeout` can hold; a longer one would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

function after(delayMs: number, run: () => void, options?: { keepAlive?: boolean }): () => void {
  let timer: NodeJS.Timeout;
  const arm = (leftMs: number): void => {
    const stepMs = Math.min(leftMs, MAX_TIMER_MS);
    timer = setTimeout(() => (leftMs > stepMs ? arm(leftMs - stepMs) : run()), stepMs);
    if (options?.keepAlive !== true) timer.unref();
  };
  arm(Math.max(0, delayMs));
  return () => clearTimeout(timer);
}

/** The real clock, the real dice, the real timers. */
export const systemEnv: Env = { now: () => performance.now(), random: Math.random, after };

/** Completes a partial environment with the system's own. Methods keep their `this`. */
export function resolveEnv(env: Partial<Env> | undefined): Env {
  if (env === undefined) return systemEnv;
  return {
    now: env.now?.bind(env) ?? systemEnv.now,
    random: env.random?.bind(env) ?? systemEnv.random,
    after: env.after?.bind(env) ?? systemEnv.after,
  };
}

/**
 * Waits `delayMs`, or until the signal aborts; it resolves in both cases, so the caller looks at the signal.
 * The timer is cleared and the listener removed either way.
 */
export function sleep(
  env: Env,
  delayMs: number,
  signal: AbortSignal | undefined,
  options?: { keepAlive?: boolean },
): Promise<void> {
  if (signal?.aborted === true) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      cancel();
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const cancel = env.after(delayMs, end, options);
    signal?.addEventListener("abort", end);
  });
}

/**
 * Keeps the process alive until the returned function is called: for who awaits something that only background timers,
 * which keep nothing alive, will bring about.
 */
export function stayAlive(env: Env): () => void {
  return env.after(2 ** 31 - 1, () => undefined, { keepAlive: true });
}

/** Whether time and timers go together: with a clock of somebody's own and the system's timers they do not. */
export function isOneClock(env: Partial<Env> | undefined): boolean {
  return env?.now === undefined || env.after !== undefined;
}
