import { setTimeout as sleep } from "node:timers/promises";
import { messageOf, TimeoutError } from "@rollcall/core";

const POLL_MS = 20;
/** A probe that is not answered by then is asked again: the server may have been starting. */
const PROBE_TIMEOUT_MS = 2_000;

/**
 * Repeats `probe` until it succeeds. Rejects with a `TimeoutError` after `timeoutMs`, whose cause is the last failure,
 * and at once with `signal.reason` when the signal aborts.
 */
export async function untilReady(
  what: string,
  probe: (signal: AbortSignal) => Promise<void>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await probe(AbortSignal.any([signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)]));
    } catch (error) {
      signal.throwIfAborted();
      if (performance.now() >= deadline)
        throw new TimeoutError(`${what} (last: ${messageOf(error)})`, timeoutMs, error);
    }
    await sleep(POLL_MS);
  }
}
