import { Readable } from "node:stream";
import { type Dispatcher, errors } from "undici";
import type { ResponseHeaders } from "./status-error.ts";
import { ignoreError } from "./unread-body.ts";

/** Who waits for all of a body. */
interface Reader {
  /** Makes of the bytes what was asked for, and hands it over. */
  read(bytes: Buffer): void;
  fail(error: unknown): void;
}

/**
 * The body of a response, which behaves as that of undici's `request()`: a stream that can also be read as a whole.
 *
 * Most bodies are short, are here before anybody can ask for them, and are asked for as a whole. So what arrives is kept
 * beside the stream, and takes the way through it only if it is read as one. That way takes a fifth of all that a small
 * request costs.
 */
export class ResponseBody extends Readable {
  readonly #controller: Dispatcher.DispatchController;
  readonly #headers: ResponseHeaders;
  readonly #toHead: boolean;
  /** What has not gone through the stream. */
  #kept: Buffer[] = [];
  #arrivedBytes = 0;
  #complete = false;
  /** Whether what arrives goes through the stream. */
  #streams = false;
  #reader: Reader | undefined;
  /** Whether it was asked for as a whole. */
  #taken = false;
  #web: ReadableStream | undefined;

  /** `toHead`: the headers speak of a body that does not come. */
  constructor(controller: Dispatcher.DispatchController, headers: ResponseHeaders, toHead: boolean) {
    super({ highWaterMark: HIGH_WATER_MARK });
    this.#controller = controller;
    this.#headers = headers;
    this.#toHead = toHead;
  }

  /** Takes what has arrived. */
  receive(chunk: Buffer): void {
    this.#arrivedBytes += chunk.length;
    const isRead = this.#reader !== undefined;
    if (isRead || !this.#streams) this.#kept.push(chunk);
    const goesOn = this.#streams ? this.push(chunk) : isRead || this.#arrivedBytes < HIGH_WATER_MARK;
    if (!goesOn) this.#controller.pause();
  }

  /** That was all. */
  complete(): void {
    this.#complete = true;
    if (this.#reader !== undefined) this.#handOver(this.#reader);
    else if (this.#streams) this.push(null);
  }

  text(): Promise<string> {
    return this.#whole((bytes) => this.#decode(bytes));
  }

  json(): Promise<unknown> {
    return this.#whole((bytes): unknown => JSON.parse(this.#decode(bytes)));
  }

  /** A copy: what has arrived is a part of something larger. */
  bytes(): Promise<Uint8Array> {
    return this.#whole((bytes) => new Uint8Array(bytes));
  }

  arrayBuffer(): Promise<ArrayBuffer> {
    return this.#whole((bytes) => new Uint8Array(bytes).buffer);
  }

  blob(): Promise<Blob> {
    return this.#whole(
      (bytes) => new Blob([new Uint8Array(bytes)], { type: String(this.#headers["content-type"] ?? "") }),
    );
  }

  /** Not to be had, as with undici. */
  async formData(): Promise<never> {
    throw new errors.NotSupportedError();
  }

  get bodyUsed(): boolean {
    return this.#taken || this.readableDidRead || this.readableAborted;
  }

  /** The same, for Node's `isDisturbed`. */
  get [Symbol.for("nodejs.stream.disturbed")](): boolean {
    return this.bodyUsed;
  }

  /** The same as a web stream; undici's types say that there is none. */
  get body(): never {
    if (this.#web === undefined) {
      this.#web = ReadableStream.from(this);
      // It is somebody else's.
      if (this.#taken) this.#web.getReader();
    }
    return this.#web as never;
  }

  /** Reads the rest and forgets it, so that the connection can be used again; one of more than `limit` bytes is given up. */
  async dump({ limit = MAX_DUMPED_BYTES, signal }: { limit?: number; signal?: AbortSignal } = {}): Promise<void> {
    signal?.throwIfAborted();
    if (this.closed) return;
    const onAbort = (): void => void this.destroy(signal?.reason as Error);
    signal?.addEventListener("abort", onAbort);
    await new Promise((resolve) => {
      const announced = this.#toHead ? 0 : Number(this.#headers["content-length"]);
      if (announced > limit || this.#arrivedBytes > limit) this.destroy();
      this.on("close", resolve)
        .on("error", ignoreError)
        .on("data", () => {
          if (this.#arrivedBytes > limit) this.destroy();
        })
        .resume();
    });
    signal?.removeEventListener("abort", onAbort);
    signal?.throwIfAborted();
  }

  override _read(): void {
    if (!this.#streams) {
      this.#streams = true;
      if (!this.#taken) this.#release();
    }
    this.#controller.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const failure = error ?? (this.readableEnded ? null : new errors.RequestAbortedError());
    // With undici's own error.
    if (failure !== null) this.#controller.abort(undefined as never);
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.fail(failure);
    // Who asked for all of it hears of it in that way.
    if (this.#taken) this.on("error", ignoreError);
    if (failure === null || this.bodyUsed) callback(failure);
    // Not before whoever awaits the response can have put a listener on it.
    else setImmediate(callback, failure);
  }

  #whole<T>(make: (bytes: Buffer) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.bodyUsed || this.#web?.locked === true) {
        reject(this.errored ?? new TypeError("unusable"));
        return;
      }
      const reader: Reader = {
        read(bytes) {
          try {
            resolve(make(bytes));
          } catch (error) {
            reject(error);
          }
        },
        fail: reject,
      };
      const streams = this.#streams || this.listenerCount("data") > 0 || this.listenerCount("readable") > 0;
      // What has ended as a stream, and was not used, was empty.
      if (streams && !this.readableEnded) return this.#readAlong(reader);
      this.#taken = true;
      if (this.#complete) return this.#handOver(reader);
      this.#reader = reader;
      this.#controller.resume();
    });
  }

  /** For who asks for all of it where others listen to it already. */
  #readAlong({ read, fail }: Reader): void {
    const chunks: Buffer[] = [];
    this.on("error", fail)
      .on("end", () => read(Buffer.concat(chunks)))
      .on("data", (chunk: Buffer | string) => {
        chunks.push(typeof chunk === "string" ? Buffer.from(chunk, this.readableEncoding ?? undefined) : chunk);
      });
  }

  #handOver(reader: Reader): void {
    const kept = this.#kept;
    this.#kept = [];
    this.#reader = undefined;
    this.push(null);
    // The stream ends with it, as if it had been read.
    if (!this.#streams) this.read();
    reader.read(kept.length === 1 && kept[0] !== undefined ? kept[0] : Buffer.concat(kept));
  }

  /** Lets the stream have what was kept beside it. */
  #release(): void {
    const kept = this.#kept;
    this.#kept = [];
    for (const chunk of kept) this.push(chunk);
    if (this.#complete) this.push(null);
  }

  /** Without the mark that some put before their UTF-8. */
  #decode(bytes: Buffer): string {
    const marked = bytes.length > 2 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
    return bytes.toString(this.readableEncoding ?? "utf8", marked ? 3 : 0);
  }
}

/** As undici's. */
const HIGH_WATER_MARK = 65_536;
const MAX_DUMPED_BYTES = 131_072;
