import type { Readable } from "node:stream";
import type { Dispatcher } from "undici";

/** Reads the rest of a response's body that nobody else will, so that its connection can be used again. Never rejects. */
export function dumpBody(body: Dispatcher.ResponseData["body"]): void {
  void body.dump().catch(ignoreError);
}

/**
 * Gives up a body that nobody will read on: at once, and whatever it still has to say. Without a listener the error of
 * such an end would be an uncaught exception of the process.
 */
export function destroyBody(body: Readable, reason?: unknown): void {
  // The type wants an Error; an abort reason is passed on as it was given.
  body.on("error", ignoreError).destroy(reason as Error | undefined);
}

/** A listener for errors that somebody else has heard of. */
export function ignoreError(): void {}
