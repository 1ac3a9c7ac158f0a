import { describe, expect, it } from "vitest";
import { forwardedElement, peerAddress } from "./forwarded-element.ts";

describe("forwardedElement", () => {
  it.each([
    ["192.0.2.1", "shop.example", "https", "for=192.0.2.1;host=shop.example;proto=https"],
    ["192.0.2.1", "shop.example:8080", "http", 'for=192.0.2.1;host="shop.example:8080";proto=http'],
    ["2001:db8::1", "[2001:db8::2]:80", "http", 'for="[2001:db8::1]";host="[2001:db8::2]:80";proto=http'],
    ["unknown", undefined, "http", "for=unknown;proto=http"],
    ["192.0.2.1", "", "http", "for=192.0.2.1;proto=http"],
    ["192.0.2.1", 'a"b\\c', "http", 'for=192.0.2.1;host="a\\"b\\\\c";proto=http'],
  ])("of %s for %s by %s is %s", (peer, host, proto, expected) => {
    expect(forwardedElement({ for: peer, host, proto })).toBe(expected);
  });
});

describe("peerAddress", () => {
  it.each([
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["::ffff:c000:201", "::ffff:c000:201"],
    ["::1", "::1"],
    ["fe80::1%eth0", "fe80::1"],
    ["", "unknown"],
    [undefined, "unknown"],
  ])("of %j is %j", (remote, expected) => {
    expect(peerAddress(remote)).toBe(expected);
  });
});
