import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { channels } from "./channels.ts";
import { createInstance } from "./instance.ts";
import { type Reading, noneUsable, readRecord, readingsOf, reportBad } from "./reading.ts";

class Failure extends Error {}

const good = (id: string, tags: readonly string[] = []): Reading =>
  readRecord(id, () => createInstance({ service: "lorem", host: "h", port: 80, id, tags }));
const bad = (record: unknown): Reading =>
  readRecord(record, () => {
    throw new Error(`no sense: ${String(record)}`);
  });
const setUp = (tags: readonly string[] = []) =>
  readingsOf("scripted", { service: "lorem", tags, passingOnly: true }, Failure);

describe("the instances of a service", () => {
  const reports: { readonly skipped: number; readonly errors: readonly { readonly record: unknown }[] }[] = [];
  let unsubscribe: () => void;
  beforeEach(() => {
    reports.length = 0;
    unsubscribe = channels.badRecord.subscribe((message) => reports.push(message));
  });
  afterEach(() => unsubscribe());

  it("are those with all the tags, in the order of their records", () => {
    const instancesOf = setUp(["x", "y"]);
    const readings = [good("b", ["y", "x"]), good("a", ["x", "y", "z"]), good("c", ["x"])];
    expect(instancesOf(readings).map(({ id }) => id)).toEqual(["b", "a"]);
    expect(instancesOf([])).toEqual([]);
    expect(reports).toEqual([]);
  });

  it("lack what is none by its own account, without a word", () => {
    expect(setUp()([readRecord("x", () => undefined)])).toEqual([]);
    expect(reports).toEqual([]);
  });

  it("lack what makes no sense, which is reported once, however often it is read from", () => {
    const instancesOf = setUp();
    const [first, second, well] = [bad(1), bad(2), good("a")];
    expect(instancesOf([first, well]).map(({ id }) => id)).toEqual(["a"]);
    expect(instancesOf([first, well]).map(({ id }) => id)).toEqual(["a"]);
    instancesOf([second, first, well]);
    expect(reports).toMatchObject([
      { registry: "scripted", service: "lorem", skipped: 1, errors: [{ record: 1 }] },
      { skipped: 1, errors: [{ record: 2 }] },
    ]);
  });

  it("are counted in full, and reported in part, when there is a lot that makes no sense", () => {
    setUp()([good("a"), ...Array.from({ length: 5_000 }, (_, n) => bad(n))]);
    expect(reports.map(({ skipped, errors }) => [skipped, errors.length])).toEqual([[5_000, 10]]);
  });

  it("are not taken for none if there is nothing but junk, which is reported, too", () => {
    const instancesOf = setUp();
    const failure = expect.objectContaining({
      message: 'none of 2 records of service "lorem" is usable: no sense: 1',
      cause: expect.objectContaining({ message: "no sense: 1" }),
    });
    const readings = [bad(1), bad(2)];
    expect(() => instancesOf(readings)).toThrow(Failure);
    expect(() => instancesOf(readings)).toThrow(failure);
    expect(reports).toHaveLength(1);
  });

  it("are none if all good ones lack a tag, and beside them there is junk", () => {
    expect(setUp(["x"])([good("a"), bad(1)])).toEqual([]);
  });

  it("may be none although other programs have records there, which are reported", () => {
    expect(setUp()([{ record: "k", error: new Error("not ours"), foreign: true }])).toEqual([]);
    expect(reports).toHaveLength(1);
  });

  it("may be kept count of by others, who say the same", () => {
    reportBad("scripted", "lorem", [], 0);
    reportBad("scripted", "lorem", [bad(1), bad(2)], 5_000);
    expect(reports).toMatchObject([
      { registry: "scripted", service: "lorem", skipped: 5_000, errors: [{ record: 1 }, { record: 2 }] },
    ]);
    expect(reports[0]?.errors).toHaveLength(2);
    const cause = new Error("no sense: 1");
    expect(noneUsable(Failure, "lorem", 5_000, cause)).toMatchObject({
      message: 'none of 5000 records of service "lorem" is usable: no sense: 1',
      cause,
    });
  });
});
