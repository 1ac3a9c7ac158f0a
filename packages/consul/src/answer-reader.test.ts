import type { NormalizedQuery } from "@rollcall/core";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { record } from "../test/fake-consul.ts";
import { AnswerBody } from "./answer-body.ts";
import { AnswerReader } from "./answer-reader.ts";
import { parseAnswer } from "./call.ts";
import { decodeInstances } from "./client.ts";

const query: NormalizedQuery = { service: "lorem", tags: [], passingOnly: true };
const never = new AbortController().signal;
const fail = (message: string): void => expect.unreachable(message);

function bodyOf(bytes: Buffer): AnswerBody {
  const body = new AnswerBody(Infinity, fail);
  for (let at = 0; at < bytes.length; at += 5_000) body.write(bytes.subarray(at, at + 5_000));
  return body;
}

/** What comes of an answer, or of reading it, in a form that can be compared. */
async function outcome(run: () => unknown): Promise<unknown> {
  try {
    return await run();
  } catch (error) {
    return `threw ${String(error)}`;
  }
}

const plainly = (bytes: Buffer, asked: NormalizedQuery) =>
  outcome(() => decodeInstances(parseAnswer(bytes.toString()), asked, "zone"));

async function expectSame(reader: AnswerReader, bytes: Buffer, asked: NormalizedQuery = query): Promise<void> {
  expect(await outcome(() => reader.read(bodyOf(bytes), never))).toEqual(await plainly(bytes, asked));
}

// ---- answers that are as they should be, more or less

const text = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.string({ unit: "binary", maxLength: 8 }),
  fc.constantFrom('"', "\\", '\\"', "}", "{", "},{", "]", "\u2028", "\ud800", "é😀", '","Port":1', "\\u0022"),
);
const tags = fc.oneof(fc.constant(null), fc.array(fc.oneof(text, fc.constantFrom("a", "b")), { maxLength: 3 }));
const goodRecord = fc
  .record({
    port: fc.integer({ min: -1, max: 40 }),
    id: fc.oneof(fc.constantFrom("x", "y"), text),
    tags,
    meta: fc.dictionary(text, fc.oneof(text, fc.nat()), { maxKeys: 3 }),
    output: text,
    node: text,
  })
  .map(({ port, id, tags: Tags, meta: Meta, output, node }) =>
    Object.assign(record(port + 1, { ID: id, Tags, Meta }, { Node: node }), {
      Checks: [{ Output: output, Nested: [[{ a: [output] }]] }],
    }),
  );

/** JSON as others write it: escapes where none are needed, white space, keys twice, keys in another order. */
function odd(value: unknown, style: number): string {
  if (style === 1) return JSON.stringify(value, undefined, " \t");
  if (style === 2) return JSON.stringify(value, undefined, "\r\n ");
  const plain = JSON.stringify(value);
  if (style === 3) return plain.replaceAll(/[é😀"}{](?=[^:,\]}{[])/gu, (char) => (char === '"' ? char : escaped(char)));
  if (style === 4) return plain.replace("{", '{"Service":{"Port":7},"__proto__":{"x":1},');
  if (style === 5 && typeof value === "object" && value !== null) {
    return JSON.stringify(Object.fromEntries(Object.entries(value).toReversed()));
  }
  return plain;
}
const escaped = (char: string): string =>
  Array.from({ length: char.length }, (_, n) => `\\u${char.charCodeAt(n).toString(16).padStart(4, "0")}`).join("");

const piece = fc.oneof(
  { arbitrary: fc.tuple(goodRecord, fc.nat(5)).map(([value, style]) => odd(value, style)), weight: 12 },
  { arbitrary: fc.json(), weight: 1 },
  {
    arbitrary: fc.constantFrom("null", "{}", "[]", '"{"', "1", '{"Service":{}}', "{}{}", "{", "{,}", "{'a':1}"),
    weight: 1,
  },
);
const separator = fc.oneof(
  { arbitrary: fc.constantFrom(",", " ,", ",\n", "\t,\r\n "), weight: 200 },
  { arbitrary: fc.constantFrom("", ",,", ";", ",]", "}", ", ,", "\u00a0,", "\v,"), weight: 12 },
);
/** Enough white space to be an answer of which something is kept. */
const FILLER = " ".repeat(64 * 1024);
const list = fc
  .record({
    pieces: fc.array(fc.tuple(separator, piece), { maxLength: 12 }),
    before: fc.constantFrom("[", "[", "[", "[", "x", " [", "\ufeff[", "", "[["),
    after: fc.constantFrom("]", "]", "]", "]", "]\n", "", "] x", "]]", ",]"),
  })
  .map(({ pieces, before, after }) => ({ pieces, before, after }));
const write = ({ pieces, before, after }: { pieces: [string, string][]; before: string; after: string }): Buffer =>
  Buffer.from(before + FILLER + pieces.map(([comma, value], n) => (n === 0 ? "" : comma) + value).join("") + after);

/** What may have happened between two answers. */
const edit = fc.record({
  kind: fc.constantFrom("remove", "insert", "replace", "move", "same"),
  at: fc.nat(12),
  to: fc.nat(12),
  by: fc.tuple(separator, piece),
});

describe("AnswerReader", () => {
  it("makes of any answer what JSON.parse does, whatever it has read before", async () => {
    await fc.assert(
      fc.asyncProperty(
        list,
        fc.array(fc.array(edit, { maxLength: 4 }), { maxLength: 4 }),
        tags,
        async (first, rounds, wanted) => {
          const asked = { ...query, tags: [...new Set(wanted ?? [])].slice(0, 1) };
          const reader = new AnswerReader(asked, "zone");
          const answer = { ...first, pieces: [...first.pieces] };
          await expectSame(reader, write(answer), asked);
          for (const edits of rounds) {
            for (const { kind, at, to, by } of edits) {
              if (kind === "remove") answer.pieces.splice(at, 1);
              else if (kind === "insert") answer.pieces.splice(at, 0, by);
              else if (kind === "replace") answer.pieces.splice(at, 1, by);
              else if (kind === "move") answer.pieces.splice(to, 0, ...answer.pieces.splice(at, 1));
            }
            await expectSame(reader, write(answer), asked);
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it("makes of broken answers what JSON.parse does: cut off, with bytes changed, or no text at all", async () => {
    const damage = fc.record({
      kind: fc.constantFrom("cut", "set", "drop", "twice"),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      byte: fc.oneof(fc.nat(255), fc.constantFrom(0x22, 0x5c, 0x7b, 0x7d, 0x2c, 0x5d, 0xc3, 0xf0)),
    });
    const sound = fc.array(fc.tuple(goodRecord, fc.nat(5)), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(sound, fc.array(damage, { minLength: 1, maxLength: 3 }), async (records, damages) => {
        const good = Buffer.from(`[${FILLER}${records.map(([value, style]) => odd(value, style)).join(",")}]`);
        const reader = new AnswerReader(query, "zone");
        await expectSame(reader, good);
        let bytes = Buffer.from(good);
        for (const { kind, at, byte } of damages) {
          const offset = FILLER.length + Math.floor(at * (bytes.length - FILLER.length));
          if (kind === "cut") bytes = bytes.subarray(0, offset);
          else if (kind === "drop") bytes = Buffer.concat([bytes.subarray(0, offset), bytes.subarray(offset + 1)]);
          else if (kind === "twice") bytes = Buffer.concat([bytes.subarray(0, offset), bytes.subarray(FILLER.length)]);
          else if (offset < bytes.length) bytes[offset] = byte;
        }
        await expectSame(reader, bytes);
        await expectSame(reader, good);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("AnswerReader, of a large answer,", () => {
  const large = (ports: readonly number[]) => ports.map((port) => record(port, { Meta: { filler: "x".repeat(200) } }));
  const ports = Array.from({ length: 2_000 }, (_, n) => n + 1);
  const write = (records: readonly unknown[]) => Buffer.from(JSON.stringify(records));

  it("gives back the very instances of records that have not changed", async () => {
    const reader = new AnswerReader(query, "zone");
    const before = await reader.read(bodyOf(write(large(ports))), never);
    const others = [...ports.slice(0, 500), 5_001, 5_002, ...ports.slice(500, 900), ...ports.slice(905)];
    const after = await reader.read(bodyOf(write(large(others))), never);
    const known = new Set(before.instances);
    expect(after.instances.filter((instance) => !known.has(instance)).map(({ port }) => port)).toEqual([5_001, 5_002]);
    expect(after.instances.length).toBe(1_997);
  });

  it("gives back the same answer for the same bytes", async () => {
    const reader = new AnswerReader(query, "zone");
    const before = await reader.read(bodyOf(write(large(ports))), never);
    expect(await reader.read(bodyOf(write(large(ports))), never)).toBe(before);
  });

  it("reports bad records in every answer, not only in the first", async () => {
    const reader = new AnswerReader(query, "zone");
    const bad = [...large(ports), null, ...large([0, 70_000])];
    for (const last of [5_000, 5_001, 5_001]) {
      const { skipped, errors, records } = await reader.read(bodyOf(write([...bad, record(last)])), never);
      expect([skipped, errors.length, records]).toEqual([3, 3, 2_004]);
    }
    const noNull = bad.filter((each) => each !== null);
    for (const last of [5_000, 5_001, 5_001]) {
      const { skipped, errors, records } = await reader.read(bodyOf(write([...noNull, record(last)])), never);
      expect([skipped, errors.length, records]).toEqual([2, 2, 2_003]);
    }
  });

  it("lets others have their turn while it reads", async () => {
    const reader = new AnswerReader(query, "zone");
    let turns = 0;
    let isOver = false;
    const look = (): void => {
      turns++;
      if (!isOver) setImmediate(look);
    };
    setImmediate(look);
    const bytes = write(large(ports));
    await reader.read(bodyOf(bytes), never);
    isOver = true;
    expect(turns).toBeGreaterThanOrEqual(Math.floor(bytes.length / (256 * 1024)));
  });

  it("stops at once when it is not wanted any more, and has forgotten nothing", async () => {
    const reader = new AnswerReader(query, "zone");
    const before = await reader.read(bodyOf(write(large(ports))), never);
    const leaving = new AbortController();
    const reading = reader.read(bodyOf(write(large(ports.map((port) => port + 10_000)))), leaving.signal);
    leaving.abort(new Error("bye"));
    await expect(reading).rejects.toThrow("bye");
    expect(await reader.read(bodyOf(write(large(ports))), never)).toBe(before);
  });
});
