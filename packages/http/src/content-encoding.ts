import { type Readable, pipeline } from "node:stream";
import { constants, createBrotliDecompress, createGunzip, createInflate } from "node:zlib";

/** What `fetch` says it can read. */
export const ACCEPT_ENCODING = "gzip, deflate, br";

/**
 * Undoes the encodings of a `Content-Encoding` header, last one first. An encoding that is not known leaves the body as
 * it is: then the header tells the reader. Ending or destroying one end ends the other; a broken body fails the result.
 */
export function decoded(body: Readable, contentEncoding: string | string[] | undefined): Readable {
  const names = String(contentEncoding ?? "")
    .toLowerCase()
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
  // Nobody has a reason to encode more than twice; a long list is an attempt to keep us busy.
  if (names.length === 0 || names.length > MAX_ENCODINGS || !names.every((name) => Object.hasOwn(DECODERS, name)))
    return body;
  let last = body;
  for (const name of names.toReversed()) {
    const decoder = DECODERS[name]?.();
    // The error arrives at `decoder` too, and from there at the reader.
    if (decoder !== undefined) last = pipeline(last, decoder, () => undefined);
  }
  return last;
}

const MAX_ENCODINGS = 5;

// As in browsers: what has arrived is handed on at once, and a missing trailer is forgiven.
const ZLIB = { flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH };
const BROTLI = { flush: constants.BROTLI_OPERATION_FLUSH, finishFlush: constants.BROTLI_OPERATION_FLUSH };

const DECODERS: Readonly<Record<string, () => NodeJS.ReadWriteStream & Readable>> = {
  gzip: () => createGunzip(ZLIB),
  "x-gzip": () => createGunzip(ZLIB),
  deflate: () => createInflate(ZLIB),
  br: () => createBrotliDecompress(BROTLI),
};
