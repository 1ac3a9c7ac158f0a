import { describe, expect, it } from "vitest";
import { gatewayPath } from "./gateway-path.ts";

describe("gatewayPath", () => {
  it.each([
    ["/word/1/2", "", "/word/1/2"],
    ["/word/1/2?x=1&y=/../z", "", "/word/1/2?x=1&y=/../z"],
    ["/word", "/lorem", "/lorem/word"],
    ["", "", "/"],
    ["?a=b", "/lorem", "/lorem/?a=b"],
    ["/a//b", "", "/a//b"],
    ["/a%2fb/%2e%2ec", "", "/a%2fb/%2e%2ec"],
    ["/...", "", "/..."],
    ["/%252e%252e/a", "", "/%252e%252e/a"],
  ])("passes %j under prefix %j on as %j", (url, prefix, expected) => {
    expect(gatewayPath(url, prefix)).toBe(expected);
  });

  it.each([
    ["//evil", "/evil"],
    ["///evil/x", "/evil/x"],
    ["//evil:80@host/x", "/evil:80@host/x"],
  ])("makes %j the path %j, never another host", (url, expected) => {
    expect(gatewayPath(url, "")).toBe(expected);
  });

  it.each([
    "http://evil/",
    "HTTP://evil/",
    "*",
    "evil:80",
    "/../admin",
    "/a/../../admin",
    "/%2e%2e/admin",
    "/.%2E/admin",
    "/a/%2e./admin",
    "/..%2fadmin",
    "/..%5cadmin",
    "/a/..",
    "/..;/admin",
    "/a/..;x=1/admin",
    "/.%3bx/admin",
    "/./a",
    "/\\evil",
    "\\\\evil",
    "/a#b",
    "/a b",
    "/a\tb",
    "/a\r\nHost: evil",
    "/é",
    "/a\u0000",
  ])("refuses %j", (url) => {
    expect(gatewayPath(url, "/lorem")).toBeUndefined();
  });
});
