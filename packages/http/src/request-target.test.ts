import { describe, expect, it } from "vitest";
import { fetchTarget, requestTarget } from "./request-target.ts";

describe("requestTarget", () => {
  it("leaves a path without parameters as it is, byte by byte", () => {
    for (const path of ["/", "/a/../b", "/a?b=c", "/%2F%20", "/a//b", "/?"]) expect(requestTarget(path)).toBe(path);
  });

  it.each([
    ["/a", { b: "c" }, "/a?b=c"],
    ["/a?x=1", { b: "c" }, "/a?x=1&b=c"],
    ["/a", {}, "/a"],
    ["/a", { b: undefined, c: null }, "/a"],
    ["/a", { b: [1, undefined, true, 2n], c: "" }, "/a?b=1&b=true&b=2&c="],
    ["/a", { "é&=": "ü #" }, "/a?%C3%A9%26%3D=%C3%BC+%23"],
    ["/a", new URLSearchParams([["b", "1"], ["b", "2"]]), "/a?b=1&b=2"], // prettier-ignore
  ])("appends to %o the parameters %o", (path, query, target) => {
    expect(requestTarget(path, query)).toBe(target);
  });

  it("refuses parameters that are no values", () => {
    const query = { b: {} } as unknown as Record<string, string>;
    expect(() => requestTarget("/a", query)).toThrow(expect.objectContaining({ path: "query.b" }));
  });

  it.each(["", "a", "?a", "//a", "/\\a", "\\a", "http://a/", "/a#b", "#", undefined, null, 1, {}, ["/a"]])(
    "refuses %j",
    (path) => {
      expect(() => requestTarget(path as string)).toThrow(
        expect.objectContaining({ code: "INVALID_OPTION", path: "path" }),
      );
    },
  );
});

describe("fetchTarget", () => {
  it("knows the service by its name, in any case", () => {
    expect(fetchTarget("HTTP://Lorem/a?b#c", "LOREM")).toBe("/a?b");
    expect(fetchTarget("https://lorem", "lorem")).toBe("/");
  });

  it("normalises as URLs do", () => {
    expect(fetchTarget("/a/./b/../c d?e f", "lorem")).toBe("/a/c%20d?e%20f");
  });

  it("does not put credentials into its error", () => {
    expect(() => fetchTarget("http://user:secret@lorem/", "lorem")).toThrow(/^(?!.*secret)/);
  });
});
