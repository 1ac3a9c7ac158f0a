import { CANCELLED, type Outcome, SUCCESS } from "@rollcall/core";

/**
 * The same body, which tells `onEnd` once how it ended: read to its end, broken off, or given up by its reader or by
 * `signal`. It is read only as it is asked for. One that nobody holds any more is given up when it is collected, as the
 * built-in fetch itself does: callers that look at the status only are many.
 */
export function trackedBody(
  body: ReadableStream<Uint8Array>,
  signal: AbortSignal | undefined,
  onEnd: (outcome: Outcome) => void,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  const end = endOnce(signal, onEnd);
  const tracked: ReadableStream<Uint8Array> = new ReadableStream(
    {
      type: "bytes",
      async pull(controller) {
        const next = await reader.read().catch((error: unknown) => {
          end({ kind: "failure", error });
          throw error;
        });
        if (next.done) {
          end(SUCCESS);
          controller.close();
          // A read that brought its own buffer waits for this to be told of the end.
          controller.byobRequest?.respond(0);
        } else {
          controller.enqueue(next.value);
        }
      },
      cancel(reason) {
        end(CANCELLED);
        return reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
  forgotten.register(tracked, () => {
    end(CANCELLED);
    void reader.cancel().catch(() => undefined);
  });
  return tracked;
}

/** Reads what nobody gets to its end, so that its connection can be used again; a long one is not worth that. */
export async function dump(body: ReadableStream<Uint8Array> | null): Promise<void> {
  if (body === null) return;
  const reader = body.getReader();
  try {
    for (let bytes = 0; bytes < MAX_DUMPED_BYTES;) {
      const next = await reader.read();
      if (next.done) return;
      bytes += next.value.byteLength;
    }
    await reader.cancel();
  } catch {
    // It has ended, that is enough.
  }
}

/** As much as undici's `dump()` reads. */
const MAX_DUMPED_BYTES = 131_072;

const forgotten = new FinalizationRegistry<() => void>((giveUp) => giveUp());

/** Ends once, at the latest with the signal; then nothing of it stays on the signal. */
function endOnce(signal: AbortSignal | undefined, onEnd: (outcome: Outcome) => void): (outcome: Outcome) => void {
  let open = true;
  const end = (outcome: Outcome): void => {
    if (!open) return;
    open = false;
    signal?.removeEventListener("abort", onAbort);
    onEnd(signal?.aborted === true ? CANCELLED : outcome);
  };
  const onAbort = (): void => end(CANCELLED);
  signal?.addEventListener("abort", onAbort);
  if (signal?.aborted === true) onAbort();
  return end;
}
