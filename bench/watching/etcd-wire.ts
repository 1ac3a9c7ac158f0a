// As much of etcd's protocol as a watch needs, by hand: messages of protobuf over one HTTP/2 connection, which is the
// least that can be done, and what the others are measured against.
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";

/** A key and its value, as it is now; a value is missing where the key was deleted. */
export interface Change {
  readonly key: string;
  readonly value: string | undefined;
}

/** `<prefix>/`, and the first key that does not begin with it. */
export interface Range {
  readonly key: Buffer;
  readonly end: Buffer;
}

export function rangeOf(prefix: string): Range {
  return { key: Buffer.from(`${prefix}/`), end: Buffer.from(`${prefix}0`) };
}

/** A request for a watcher, from the next revision on. */
export function createRequest({ key, end }: Range): Buffer {
  return field(1, Buffer.concat([field(1, key), field(2, end)]));
}

/** What an answer to it says: changes, or that the watcher stands. */
export function decodeAnswer(message: Buffer): { readonly created: boolean; readonly changes: readonly Change[] } {
  let created = false;
  const changes: Change[] = [];
  for (const [number, value] of fields(message)) {
    if (number === 3) created = value === 1;
    if (number === 11 && Buffer.isBuffer(value)) changes.push(decodeEvent(value));
  }
  return { created, changes };
}

function decodeEvent(message: Buffer): Change {
  let deleted = false;
  let change: Change = { key: "", value: undefined };
  for (const [number, value] of fields(message)) {
    if (number === 1) deleted = value === 1;
    if (number === 2 && Buffer.isBuffer(value)) change = decodePair(value);
  }
  return deleted ? { ...change, value: undefined } : change;
}

function decodePair(message: Buffer): Change {
  let key = "";
  let text = "";
  for (const [number, value] of fields(message)) {
    if (number === 1) key = String(value);
    if (number === 5) text = String(value);
  }
  return { key, value: text };
}

function field(number: number, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(number << 3) | 2]), varint(bytes.length), bytes]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let left = value; ; left = Math.floor(left / 128)) {
    if (left < 128) return Buffer.from([...bytes, left]);
    bytes.push((left % 128) | 128);
  }
}

/** The fields of a message: numbers for the varints, bytes for the rest. etcd uses no other kinds here. */
function* fields(message: Buffer): Generator<readonly [number: number, value: number | Buffer]> {
  let at = 0;
  const next = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = message[at++] ?? 0;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = next();
    const value = next();
    if ((tag & 7) === 0) yield [tag >> 3, value];
    else yield [tag >> 3, message.subarray(at, (at += value))];
  }
}

/** One HTTP/2 connection to etcd. */
export class EtcdWire {
  readonly #session: ClientHttp2Session;

  constructor(url: string) {
    this.#session = connect(url);
    this.#session.on("error", (error) => {
      throw error;
    });
  }

  /** A watcher with a stream of its own. Resolves when it stands. */
  watch(range: Range, onChanges: (changes: readonly Change[]) => void): Promise<void> {
    return new Promise((resolve) => {
      const stream = this.#open("/etcdserverpb.Watch/Watch", (message) => {
        const { created, changes } = decodeAnswer(message);
        if (created) resolve();
        if (changes.length > 0) onChanges(changes);
      });
      stream.write(framed(createRequest(range)));
    });
  }

  /** All keys of a range. */
  list({ key, end }: Range): Promise<readonly Change[]> {
    return new Promise((resolve) => {
      const stream = this.#open("/etcdserverpb.KV/Range", (message) => {
        const pairs: Change[] = [];
        for (const [number, value] of fields(message)) {
          if (number === 2 && Buffer.isBuffer(value)) pairs.push(decodePair(value));
        }
        resolve(pairs);
      });
      stream.end(framed(Buffer.concat([field(1, key), field(2, end)])));
    });
  }

  #open(path: string, onMessage: (message: Buffer) => void): ClientHttp2Stream {
    const stream = this.#session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    let rest: Buffer | undefined;
    stream.on("data", (chunk: Buffer) => {
      let bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
      while (bytes.length >= 5 && bytes.length >= 5 + bytes.readUInt32BE(1)) {
        const end = 5 + bytes.readUInt32BE(1);
        onMessage(bytes.subarray(5, end));
        bytes = bytes.subarray(end);
      }
      rest = bytes.length === 0 ? undefined : bytes;
    });
    return stream;
  }
}

function framed(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}
