import type { Readable } from "node:stream";
import { destroyBody } from "./unread-body.ts";

/**
 * A web stream over a Node stream, as bodies of a `Response` are: bytes, read on demand. Cancelling it destroys the Node
 * stream at once, even while a read waits for the next chunk (which `ReadableStream.from` would wait for).
 */
export function webBody(body: Readable): ReadableStream<Uint8Array> {
  const chunks: AsyncIterator<Uint8Array> = body[Symbol.asyncIterator]();
  return new ReadableStream(
    {
      type: "bytes",
      async pull(controller) {
        const next = await chunks.next();
        if (next.done === true) {
          controller.close();
          // A read that brought its own buffer waits for this to be told of the end.
          controller.byobRequest?.respond(0);
        } else {
          // A copy: the stream takes its buffer away, and this one may be shared with other responses.
          controller.enqueue(new Uint8Array(next.value));
        }
      },
      cancel() {
        destroyBody(body);
      },
    },
    { highWaterMark: 0 },
  );
}
