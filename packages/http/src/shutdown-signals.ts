/** Signals that ask a process to end. */
export type ShutdownSignal = NodeJS.Signals;

/** What {@link onShutdownSignal} calls. */
export interface ShutdownSteps {
  /** The first signal: end in good order. */
  readonly begin: (signal: ShutdownSignal) => void;
  /** The second one: end at once. */
  readonly force: (signal: ShutdownSignal) => void;
}

/**
 * Listens to these signals: the first calls `begin`, the second `force`. With the second the listeners are gone, so that
 * a third has Node's usual effect and kills the process. Returns the function that stops listening.
 *
 * Never ends the process itself: a process whose server and clients are closed ends on its own, with exit code 0.
 */
export function onShutdownSignal(signals: readonly ShutdownSignal[], steps: ShutdownSteps): () => void {
  let begun = false;
  const onSignal = (signal: ShutdownSignal): void => {
    if (begun) {
      stop();
      steps.force(signal);
      return;
    }
    begun = true;
    steps.begin(signal);
  };
  const stop = (): void => {
    for (const signal of signals) process.off(signal, onSignal);
  };
  for (const signal of signals) process.on(signal, onSignal);
  return stop;
}
