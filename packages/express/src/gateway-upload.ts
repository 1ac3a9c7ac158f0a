import type { IncomingMessage } from "node:http";
import type { Env } from "@rollcall/core";

/** More came than is allowed. */
export class BodyTooLargeError extends Error {
  override readonly name = "BodyTooLargeError";
  readonly code = "BODY_TOO_LARGE";

  constructor(maxBytes: number) {
    super(`the request's body is larger than ${maxBytes} bytes`);
  }
}

/** The caller did not go on with what it had begun to send. */
export class UploadStalledError extends Error {
  override readonly name = "UploadStalledError";
  readonly code = "UPLOAD_STALLED";

  constructor(timeoutMs: number) {
    super(`the caller sent nothing for ${timeoutMs} ms in the middle of its request`);
  }
}

interface UploadLimits {
  readonly env: Env;
  /** How long nothing may come, and how long the answer may take from the last byte on. */
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

type Next = IteratorResult<Uint8Array, undefined>;

const DONE: Next = { done: true, value: undefined };

/** What came is kept up to this while nobody takes it; then the caller has to wait. */
const MAX_QUEUED_BYTES = 65_536;

/**
 * The body of a request, read as fast as the instance takes it, and not before the first piece is asked for. Unlike the
 * request's own iterator it can be given up while it waits, and leaves the request alive then: the caller still has to
 * get an answer. What it goes on to send is thrown away.
 *
 * `onTimeout` is told once when nothing has moved for `timeoutMs`, and whether it was the caller who did not go on.
 */
export class GatewayUpload implements AsyncIterableIterator<Uint8Array, undefined> {
  readonly #request: IncomingMessage;
  readonly #limits: UploadLimits;
  readonly #onTimeout: (callerIsSlow: boolean) => void;
  #bytes = 0;
  #lastMs: number;
  #cancelWatch: (() => void) | undefined;
  #opened = false;
  #collecting = false;
  #over = false;
  #failure: { readonly error: unknown } | undefined;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #waiting: PromiseWithResolvers<Next> | undefined;

  constructor(request: IncomingMessage, limits: UploadLimits, onTimeout: (callerIsSlow: boolean) => void) {
    this.#request = request;
    this.#limits = limits;
    this.#onTimeout = onTimeout;
    this.#lastMs = limits.env.now();
    if (Number.isFinite(limits.timeoutMs)) this.#watch(limits.timeoutMs);
    request.once("error", (error) => this.#end({ error }));
  }

  /** An answer has begun, or there will be none: no time is measured any more. */
  answered(): void {
    this.#cancelWatch?.();
    this.#cancelWatch = undefined;
  }

  /** All of it at once, instead of piece by piece. For bodies that are known to be small. */
  whole(): Promise<Buffer> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    const chunks: Buffer[] = [];
    const onEnd = (): void => {
      this.#end();
      const [only] = chunks;
      resolve(only !== undefined && chunks.length === 1 ? only : Buffer.concat(chunks));
    };
    const onData = (chunk: Buffer): void => {
      this.#lastMs = this.#limits.env.now();
      chunks.push(chunk);
    };
    this.#collecting = true;
    this.#request.on("data", onData).once("end", onEnd).once("error", reject);
    return promise;
  }

  async next(): Promise<Next> {
    if (!this.#opened) {
      this.#opened = true;
      if (!this.#over) this.#request.on("data", this.#onData).once("end", this.#onEnd);
    }
    const value = this.#queue.shift();
    if (value !== undefined) {
      this.#queuedBytes -= value.length;
      if (this.#queuedBytes < MAX_QUEUED_BYTES && this.#request.isPaused()) this.#request.resume();
      return { done: false, value };
    }
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#over) return DONE;
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }

  /** Gives it up: what still comes is thrown away. Whoever waits for it must not take that for its end. */
  async return(): Promise<Next> {
    if (!this.#over) {
      this.#end({ error: new Error("the rest of the request's body is not wanted any more") });
      this.#request.resume();
    }
    return DONE;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  readonly #onData = (value: Buffer): void => {
    this.#lastMs = this.#limits.env.now();
    this.#bytes += value.length;
    if (this.#bytes > this.#limits.maxBytes) {
      this.#end({ error: new BodyTooLargeError(this.#limits.maxBytes) });
      this.#request.resume();
    } else if (this.#waiting !== undefined) {
      this.#waiting.resolve({ done: false, value });
      this.#waiting = undefined;
    } else {
      this.#queue.push(value);
      this.#queuedBytes += value.length;
      if (this.#queuedBytes >= MAX_QUEUED_BYTES) this.#request.pause();
    }
  };

  readonly #onEnd = (): void => this.#end();

  #end(failure?: { readonly error: unknown }): void {
    if (this.#over) return;
    this.#over = true;
    this.#failure = failure;
    this.#lastMs = this.#limits.env.now();
    this.#request.off("data", this.#onData).off("end", this.#onEnd);
    if (failure === undefined) {
      this.#waiting?.resolve(DONE);
    } else {
      this.#queue = [];
      this.#waiting?.reject(failure.error);
    }
    this.#waiting = undefined;
  }

  #watch(delayMs: number): void {
    this.#cancelWatch = this.#limits.env.after(delayMs, () => {
      const leftMs = this.#lastMs + this.#limits.timeoutMs - this.#limits.env.now();
      if (leftMs > 0) this.#watch(leftMs);
      else this.#onTimeout(this.#waiting !== undefined || (this.#collecting && !this.#over));
    });
  }
}
