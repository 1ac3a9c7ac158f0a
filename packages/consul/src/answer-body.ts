import type { IncomingMessage } from "node:http";
import { Writable } from "node:stream";

/**
 * Collects the body of an answer. The client never settles when a body is cut off, and has no limit for it: both are
 * seen here, and told to `fail`.
 */
export class AnswerBody extends Writable {
  readonly #chunks: Buffer[] = [];
  readonly #maxBytes: number;
  readonly #fail: (message: string) => void;
  #size = 0;

  constructor(maxBytes: number, fail: (message: string) => void) {
    super();
    this.#maxBytes = maxBytes;
    this.#fail = fail;
    this.on("pipe", (response: IncomingMessage) => {
      response.on("close", () => {
        if (!response.complete) fail("the answer was cut off");
      });
    });
  }

  /** In bytes. */
  get size(): number {
    return this.#size;
  }

  /** All of it, in one piece that nobody else has. */
  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  get text(): string {
    return this.bytes.toString("utf8");
  }

  /** Whether it consists of these bytes. Does not put them together for that. */
  equals(bytes: Buffer): boolean {
    if (this.#size !== bytes.length) return false;
    let at = 0;
    return this.#chunks.every((chunk) => chunk.equals(bytes.subarray(at, (at += chunk.length))));
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#size += chunk.length;
    if (this.#size <= this.#maxBytes) this.#chunks.push(chunk);
    else this.#fail(`the answer is longer than ${this.#maxBytes} bytes`);
    done();
  }
}
