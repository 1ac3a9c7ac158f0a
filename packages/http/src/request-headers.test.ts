import { describe, expect, it } from "vitest";
import { type RequestHeaders, mergeHeaders } from "./request-headers.ts";

describe("mergeHeaders", () => {
  const defaults = ["X-One", "1", "X-Two", "2"];

  it("hands on what it was given when there is nothing to add", () => {
    const given = { a: "b" };
    expect(mergeHeaders([], given)).toBe(given);
    expect(mergeHeaders([], undefined)).toBeUndefined();
  });

  it.each<[string, RequestHeaders, unknown]>([
    ["nothing", undefined, defaults],
    ["null", null, defaults],
    ["an object", { "x-two": "own", a: undefined, b: ["1", "2"], c: "3" }, ["X-One", "1", "x-two", "own", "b", ["1", "2"], "c", "3"]], // prettier-ignore
    ["a flat list", ["X-ONE", "own"], ["X-Two", "2", "X-ONE", "own"]],
    ["pairs", [["x-one", "own"]], ["X-Two", "2", "x-one", "own"]],
    ["a Map", new Map([["x-one", "own"]]), ["X-Two", "2", "x-one", "own"]],
    ["Headers", new Headers({ "X-One": "own" }), ["X-Two", "2", "x-one", "own"]],
    ["an empty list", [], defaults],
    ["an empty object", {}, defaults],
  ])("adds what is not set by %s", (_, given, merged) => {
    expect(mergeHeaders(defaults, given)).toEqual(merged);
  });

  it("changes neither of its arguments", () => {
    const given = Object.freeze(["x-one", "own"]) as string[];
    mergeHeaders(Object.freeze([...defaults]), given);
    expect(given).toEqual(["x-one", "own"]);
  });
});
