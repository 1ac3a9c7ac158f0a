import type { IEvent, IKeyValue, IResponseHeader, IWatchRequest, IWatchResponse } from "etcd3";

/**
 * Writes a request of etcd's watch service (`etcdserverpb.WatchRequest`): what {@link WatchStream} says, and no more.
 * With {@link decodeWatchResponse} it stands for the client's own, which turns each message into objects twice; between a
 * change and who waits for it, that is the greatest part of what a process does.
 */
export function encodeWatchRequest({ create_request: create, cancel_request: cancel }: IWatchRequest): Buffer {
  const parts: Buffer[] = [];
  if (cancel !== undefined) addVarint(parts, 1, BigInt(cancel.watch_id ?? 0));
  else if (create !== undefined) {
    if (create.key !== undefined) addBytes(parts, 1, create.key);
    if (create.range_end !== undefined) addBytes(parts, 2, create.range_end);
    if (create.start_revision !== undefined) addVarint(parts, 3, BigInt(create.start_revision));
    if (create.fragment === true) addVarint(parts, 8, 1n);
  }
  const message: Buffer[] = [];
  addBytes(message, cancel === undefined ? 1 : 2, Buffer.concat(parts));
  return Buffer.concat(message);
}

/**
 * Reads an answer of etcd's watch service (`etcdserverpb.WatchResponse`), as the client of npm `etcd3` would give it.
 * Fields that are unknown are passed over, as protobuf demands.
 *
 * @throws RangeError for bytes that are no message.
 */
export function decodeWatchResponse(bytes: Buffer): IWatchResponse {
  const reader = new Reader(bytes, 0, bytes.length);
  let header = NO_HEADER;
  let watchId = "0";
  let created = false;
  let canceled = false;
  let compactRevision = "0";
  let cancelReason = "";
  let fragment = false;
  const events: IEvent[] = [];
  while (reader.next()) {
    if (reader.field === 1) header = decodeHeader(reader.message());
    else if (reader.field === 2) watchId = reader.integer();
    else if (reader.field === 3) created = reader.integer() !== "0";
    else if (reader.field === 4) canceled = reader.integer() !== "0";
    else if (reader.field === 5) compactRevision = reader.integer();
    else if (reader.field === 6) cancelReason = reader.bytes().toString("utf8");
    else if (reader.field === 7) fragment = reader.integer() !== "0";
    else if (reader.field === 11) events.push(decodeEvent(reader.message()));
    else reader.skip();
  }
  return {
    header,
    watch_id: watchId,
    created,
    canceled,
    compact_revision: compactRevision,
    cancel_reason: cancelReason,
    fragment,
    events,
  };
}

function decodeHeader(reader: Reader): IResponseHeader {
  const header = { ...NO_HEADER };
  while (reader.next()) {
    if (reader.field === 1) header.cluster_id = reader.integer();
    else if (reader.field === 2) header.member_id = reader.integer();
    else if (reader.field === 3) header.revision = reader.integer();
    else if (reader.field === 4) header.raft_term = reader.integer();
    else reader.skip();
  }
  return header;
}

function decodeEvent(reader: Reader): IEvent {
  let type: IEvent["type"] = "Put";
  let kv = NO_PAIR;
  let before = NO_PAIR;
  while (reader.next()) {
    if (reader.field === 1) type = reader.integer() === "0" ? "Put" : "Delete";
    else if (reader.field === 2) kv = decodePair(reader.message());
    else if (reader.field === 3) before = decodePair(reader.message());
    else reader.skip();
  }
  return { type, kv, prev_kv: before };
}

function decodePair(reader: Reader): IKeyValue {
  const pair = { ...NO_PAIR };
  while (reader.next()) {
    if (reader.field === 1) pair.key = reader.bytes();
    else if (reader.field === 2) pair.create_revision = reader.integer();
    else if (reader.field === 3) pair.mod_revision = reader.integer();
    else if (reader.field === 4) pair.version = reader.integer();
    else if (reader.field === 5) pair.value = reader.bytes();
    else if (reader.field === 6) pair.lease = reader.integer();
    else reader.skip();
  }
  return pair;
}

const NO_HEADER: IResponseHeader = { cluster_id: "0", member_id: "0", revision: "0", raft_term: "0" };
const NOTHING = Buffer.alloc(0);
const NO_PAIR: IKeyValue = {
  key: NOTHING,
  create_revision: "0",
  mod_revision: "0",
  version: "0",
  value: NOTHING,
  lease: "0",
};

/** The ways in which protobuf writes a field. */
const VARINT = 0;
const EIGHT_BYTES = 1;
const LENGTH = 2;
const FOUR_BYTES = 5;

/** Goes through a message field by field; each must be read, or skipped, before the next. */
class Reader {
  /** The number of the present field. */
  field = 0;
  #kind = 0;
  readonly #bytes: Buffer;
  #at: number;
  readonly #end: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  /** Goes to the next field; false at the end. */
  next(): boolean {
    if (this.#at >= this.#end) return false;
    const tag = this.#small();
    this.field = tag >>> 3;
    this.#kind = tag & 7;
    return true;
  }

  /** An integer of up to 64 bits, which a number may not hold; none of etcd's is ever negative. */
  integer(): string {
    this.#expect(VARINT);
    let low = 0;
    for (let factor = 1; factor < 2 ** 49; factor *= 128) {
      const byte = this.#byte();
      low += (byte & 127) * factor;
      if (byte < 128) return String(low);
    }
    let high = 0n;
    for (let shift = 0n; ; shift += 7n) {
      if (shift > 14n) throw new RangeError("an integer of more than 64 bits");
      const byte = this.#byte();
      high |= BigInt(byte & 127) << shift;
      if (byte < 128) return String(BigInt.asUintN(64, (high << 49n) + BigInt(low)));
    }
  }

  bytes(): Buffer {
    const start = this.#span();
    return this.#bytes.subarray(start, this.#at);
  }

  message(): Reader {
    const start = this.#span();
    return new Reader(this.#bytes, start, this.#at);
  }

  skip(): void {
    if (this.#kind === VARINT) this.integer();
    else if (this.#kind === LENGTH) this.#span();
    else if (this.#kind === EIGHT_BYTES) this.#go(8);
    else if (this.#kind === FOUR_BYTES) this.#go(4);
    else throw new RangeError(`a field of kind ${this.#kind}`);
  }

  /** Passes what has a length before it; returns where it begins. */
  #span(): number {
    this.#expect(LENGTH);
    const length = this.#small();
    const start = this.#at;
    this.#go(length);
    return start;
  }

  #small(): number {
    let value = 0;
    for (let factor = 1; factor < 2 ** 35; factor *= 128) {
      const byte = this.#byte();
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new RangeError("a length or a tag of more than 32 bits");
  }

  #byte(): number {
    if (this.#at >= this.#end) throw new RangeError("a message that ends too soon");
    return this.#bytes[this.#at++] as number;
  }

  #go(length: number): void {
    this.#at += length;
    if (this.#at > this.#end) throw new RangeError("a message that ends too soon");
  }

  #expect(kind: number): void {
    if (this.#kind !== kind) throw new RangeError(`field ${this.field} of kind ${this.#kind}, not ${kind}`);
  }
}

function addBytes(parts: Buffer[], field: number, value: Buffer | string): void {
  const bytes = Buffer.from(value as string); // of either
  addVarint(parts, field, BigInt(bytes.length), LENGTH);
  parts.push(bytes);
}

function addVarint(parts: Buffer[], field: number, value: bigint, kind = VARINT): void {
  const bytes = [(field << 3) | kind];
  let rest = value;
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  parts.push(Buffer.from(bytes));
}
