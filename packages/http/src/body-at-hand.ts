/**
 * The body of a `Request`, which shows itself as a stream whatever it was made from: bytes if all of it is at hand
 * already, as it is for strings and bytes (they can be sent again, and have a length), else what reads it on.
 */
export async function bodyAtHand(
  body: ReadableStream<Uint8Array>,
): Promise<Uint8Array<ArrayBuffer> | AsyncIterable<Uint8Array>> {
  const reader = body.getReader();
  const chunks: Uint8Array[] = [];
  for (let bytes = 0; ;) {
    const reading = reader.read();
    const next = bytes > MAX_BYTES ? undefined : await Promise.race([reading, nextTurn()]);
    if (next === undefined) return rest(chunks, reading, reader);
    if (next.done) return new Uint8Array(Buffer.concat(chunks));
    chunks.push(next.value);
    bytes += next.value.byteLength;
  }
}

/** A stream that never has to wait must not be taken for a body in memory. */
const MAX_BYTES = 1_048_576;

function nextTurn(): Promise<undefined> {
  return new Promise((resolve) => void setImmediate(() => resolve(undefined)));
}

async function* rest(
  chunks: readonly Uint8Array[],
  reading: ReturnType<ReadableStreamDefaultReader<Uint8Array>["read"]>,
  reader: ReadableStreamDefaultReader<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  // Nobody may ever ask for it.
  reading.catch(() => undefined);
  try {
    yield* chunks;
    for (let next = await reading; !next.done; next = await reader.read()) yield next.value;
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}
