import type { NormalizedQuery } from "@rollcall/core";
import type { AnswerBody } from "./answer-body.ts";
import { parseAnswer } from "./call.ts";
import { type DecodedAnswer, Decoding, type Said, decodeInstances } from "./client.ts";
import { objectEnd } from "./object-end.ts";

/** Shorter answers are simply parsed, which takes some 20 microseconds, and nothing is kept of them. */
const MIN_BYTES = 4 * 1024;
/** How much is parsed before others get a turn: one to three milliseconds. */
const TURN_BYTES = 256 * 1024;
/** How far from where it is expected a record is looked for. */
const REACH = 8;
/** After so many unknown records in a row, the answer is another one: they are only looked for where they were. */
const MAX_MISSED = 64;

const COMMA = 0x2c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;

/** An answer, and where its records are in it. */
interface KnownAnswer {
  readonly bytes: Buffer;
  readonly records: RecordList;
  readonly decoded: DecodedAnswer;
}

/** The records of an answer in their order: where each begins, where it ends, and what it says, unless that was nonsense. */
class RecordList {
  readonly starts: number[] = [];
  readonly ends: number[] = [];
  readonly said: (Said | undefined)[] = [];

  push(start: number, end: number, said: Said | undefined): void {
    this.starts.push(start);
    this.ends.push(end);
    this.said.push(said);
  }
}

/**
 * Reads the answers to one query, one after another. Consul answers with all records whenever one of them has changed; so
 * of a large answer only those records are parsed that were not, byte by byte, in the answer before.
 *
 * What comes out is what `JSON.parse` would make of the whole, for this reason: a JSON list is `[`, values with commas
 * between them, and `]`. Where the commas are is guessed here, but each piece is parsed by `JSON.parse` (in this answer or
 * in an earlier one, from the same bytes), and what stands between the pieces must be one comma and white space. If
 * pieces and commas make a list at all, there is only one list that they can make; and if anything is not as guessed,
 * nothing of the guess is used: the whole answer is parsed. Pieces begin and end with a brace, so no character is cut.
 *
 * It keeps the bytes of the last answer, outside of the heap: about 1 kB per instance.
 */
export class AnswerReader {
  readonly #query: NormalizedQuery;
  readonly #zoneKey: string;
  #known: KnownAnswer | undefined;

  constructor(query: NormalizedQuery, zoneKey: string) {
    this.#query = query;
    this.#zoneKey = zoneKey;
  }

  /**
   * Lets others have their turn now and then, if there is a lot to parse. One call at a time.
   *
   * @throws ConsulError if it is not JSON, TypeError if it is no list, and `signal.reason` when the signal aborts meanwhile.
   */
  async read(body: AnswerBody, signal: AbortSignal): Promise<DecodedAnswer> {
    if (this.#known !== undefined && body.equals(this.#known.bytes)) return this.#known.decoded;
    const bytes = body.bytes;
    const known = bytes.length < MIN_BYTES ? undefined : await this.#piecewise(bytes, signal);
    this.#known = known;
    return known?.decoded ?? decodeInstances(parseAnswer(bytes.toString("utf8")), this.#query, this.#zoneKey);
  }

  /** Resolves with undefined if the answer does not look like a list of objects. */
  async #piecewise(bytes: Buffer, signal: AbortSignal): Promise<KnownAnswer | undefined> {
    const decoding = new Decoding(this.#query, this.#zoneKey);
    const records = new RecordList();
    const finder = new RecordFinder(this.#known, bytes);
    let parsed = 0;
    let at = skipSpace(bytes, 0);
    if (bytes[at] !== OPEN_LIST) return undefined;
    do {
      const start = skipSpace(bytes, at + 1);
      if (bytes[start] !== OPEN_OBJECT) return undefined;
      const found = finder.find(start);
      const end = found?.end ?? objectEnd(bytes, start);
      if (end < 0) return undefined;
      let said = found?.said;
      if (said !== undefined) decoding.repeat(said);
      else {
        const record = tryParse(bytes.toString("utf8", start, end));
        if (record === undefined) return undefined;
        said = decoding.add(record);
        parsed += end - start;
        if (parsed > TURN_BYTES) {
          parsed = 0;
          await new Promise((resolve) => void setImmediate(resolve));
          signal.throwIfAborted();
        }
      }
      records.push(start, end, said);
      at = skipSpace(bytes, end);
    } while (bytes[at] === COMMA);
    if (bytes[at] !== CLOSE_LIST || skipSpace(bytes, at + 1) !== bytes.length) return undefined;
    return { bytes, records, decoded: decoding.end() };
  }
}

/** Finds the records of an answer in the one before, if they are there byte by byte, and about where they were. */
class RecordFinder {
  readonly #bytes: Buffer;
  readonly #known: KnownAnswer | undefined;
  #expected = 0;
  #missed = 0;

  constructor(known: KnownAnswer | undefined, bytes: Buffer) {
    this.#known = known;
    this.#bytes = bytes;
  }

  /** The known record that begins at `start` in the new answer. */
  find(start: number): { readonly end: number; readonly said: Said | undefined } | undefined {
    const known = this.#known;
    if (known === undefined) return undefined;
    const { starts, ends, said } = known.records;
    const at = this.#look(known, start);
    // A new one stands for another, most likely: then the next one is where it was.
    this.#expected = (at ?? this.#expected) + 1;
    this.#missed = at === undefined ? this.#missed + 1 : 0;
    if (at === undefined) return undefined;
    return { end: start + (ends[at] as number) - (starts[at] as number), said: said[at] };
  }

  #look(known: KnownAnswer, start: number): number | undefined {
    if (this.#isAt(known, this.#expected, start)) return this.#expected;
    if (this.#missed > MAX_MISSED) return undefined;
    const end = Math.min(known.records.starts.length, this.#expected + REACH);
    for (let at = Math.max(0, this.#expected - REACH); at < end; at++) if (this.#isAt(known, at, start)) return at;
    return undefined;
  }

  #isAt({ bytes, records }: KnownAnswer, index: number, start: number): boolean {
    if (index >= records.starts.length) return false;
    const from = records.starts[index] as number;
    const to = records.ends[index] as number;
    const end = start + to - from;
    return end <= this.#bytes.length && this.#bytes.compare(bytes, from, to, start, end) === 0;
  }
}

/** Undefined if it is not JSON; of `undefined` there is no JSON. */
function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The white space of JSON. */
function skipSpace(bytes: Uint8Array, start: number): number {
  let at = start;
  while (bytes[at] === 0x20 || bytes[at] === 0x0a || bytes[at] === 0x0d || bytes[at] === 0x09) at++;
  return at;
}
