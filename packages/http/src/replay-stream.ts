import type { Readable } from "node:stream";
import { destroyBody } from "./unread-body.ts";

type Chunk = Uint8Array | string;

/**
 * A stream or iterable that several attempts can read from its beginning, as long as what was read fits in memory.
 *
 * Nothing is taken from the source before the first attempt asks for it, so a request that failed before it was sent
 * costs nothing. What is taken is kept up to `maxBytes`; once an attempt has read on behind the chunk that exceeds them, it
 * alone can go on, and `replayable` is false. There is one reader at a time: a new one ends those
 * before it, even one that waits for a chunk (the chunk is kept for the new one).
 *
 * `close()` gives the source up: an iterator is told so, a stream is destroyed, as undici itself would do.
 */
export class ReplayStream implements AsyncIterable<Chunk> {
  readonly #source: AsyncIterable<Chunk> | Iterable<Chunk>;
  readonly #maxBytes: number;
  #iterator: AsyncIterator<Chunk> | Iterator<Chunk> | undefined;
  #chunks: Chunk[] = [];
  #bytes = 0;
  #reader = 0;
  #overflowed = false;
  /** The reader went on after that. */
  #dropped = false;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #pull: Promise<void> | undefined;

  constructor(source: AsyncIterable<Chunk> | Iterable<Chunk>, maxBytes: number) {
    this.#source = source;
    this.#maxBytes = maxBytes;
  }

  /** Whether anything was asked of the source yet. */
  get touched(): boolean {
    return this.#iterator !== undefined;
  }

  /** Whether another attempt would find everything from the beginning on. */
  get replayable(): boolean {
    return !this.#dropped && this.#failure === undefined;
  }

  /** Whether `error` came from the source: then it is the caller's own, not the endpoint's. */
  failedWith(error: unknown): boolean {
    return this.#failure !== undefined && this.#failure.error === error;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Chunk, void, undefined> {
    const reader = ++this.#reader;
    let index = 0;
    while (reader === this.#reader) {
      if (this.#overflowed && index > 0) {
        this.#chunks.splice(0, index);
        this.#dropped = true;
        index = 0;
      }
      const chunk = this.#chunks[index];
      if (chunk !== undefined) {
        index++;
        yield chunk;
      } else if (this.#failure !== undefined) {
        throw this.#failure.error;
      } else if (this.#ended) {
        return;
      } else {
        await (this.#pull ??= this.#take());
      }
    }
    // Returning would look like the end of the body, and a server would take half of it for all of it.
    throw new Error("the request body is no longer read by this attempt");
  }

  /** Idempotent; never throws, never waits. */
  close(): void {
    this.#reader++;
    this.#chunks = [];
    if (this.#ended) return;
    this.#ended = true;
    const source = this.#source;
    if (isNodeStream(source)) {
      destroyBody(source);
    } else if (this.#iterator !== undefined) {
      void Promise.resolve(this.#return(this.#iterator)).catch(() => undefined);
    } else if (source instanceof ReadableStream && !source.locked) {
      void source.cancel().catch(() => undefined);
    }
  }

  #return(iterator: AsyncIterator<Chunk> | Iterator<Chunk>): unknown {
    try {
      return iterator.return?.();
    } catch {
      return undefined;
    }
  }

  /** Takes the next chunk from the source. Shared by all who wait for it, so that none is taken twice or lost. */
  async #take(): Promise<void> {
    try {
      const next = await (this.#iterator ??= this.#open()).next();
      if (next.done === true) this.#ended = true;
      else this.#keep(next.value);
    } catch (error) {
      this.#failure = { error };
      this.#ended = true;
    } finally {
      this.#pull = undefined;
    }
  }

  #open(): AsyncIterator<Chunk> | Iterator<Chunk> {
    const source = this.#source;
    return Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  }

  #keep(chunk: Chunk): void {
    this.#bytes += typeof chunk === "string" ? Buffer.byteLength(chunk) : chunk.byteLength;
    this.#chunks.push(chunk);
    if (this.#bytes > this.#maxBytes) this.#overflowed = true;
  }
}

function isNodeStream(source: object): source is Readable {
  return "destroy" in source && typeof source.destroy === "function" && "on" in source && "pipe" in source;
}
