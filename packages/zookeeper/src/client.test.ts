import { type InstanceInit, createInstance } from "@rollcall/core";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { anyInstance } from "../../testing/test/any-instance.ts";
import { decodeNode, encodeInstance, folderOf, nodeName } from "./client.ts";

const decode = (text: string, name = "a", service = "lorem") => decodeNode(service, name, Buffer.from(text));

describe("the names of nodes", () => {
  it("are as they are, but for what ZooKeeper refuses or would take for a path", () => {
    expect(nodeName("lorem-10.0.0.1:80_ü")).toBe("lorem-10.0.0.1:80_ü");
    expect(nodeName("a/b%c\u0000\u0085")).toBe("a%2Fb%25c%00%C2%85");
    expect([".", "..", "...", "a."].map(nodeName)).toEqual(["%2E", "%2E%2E", "...", "a."]);
    expect(nodeName("😀")).toBe("%F0%9F%98%80");
    expect(folderOf("/s", "team/lorem")).toBe("/s/team%2Florem");
  });

  it("keep any two apart", () => {
    const name = fc.oneof(fc.string({ unit: "grapheme" }), fc.stringMatching(/^[a./%2F0]{1,6}$/));
    fc.assert(
      fc.property(name, name, (one, other) => {
        fc.pre(one !== other);
        expect(nodeName(one)).not.toBe(nodeName(other));
      }),
    );
  });
});

describe("a record of ours", () => {
  it("comes back as it was, whatever it is", () => {
    fc.assert(
      fc.property(anyInstance(), (given: InstanceInit) => {
        const instance = createInstance(given);
        expect(decodeNode(instance.service, "any", encodeInstance(instance))).toEqual(instance);
      }),
    );
  });
});

describe("a record of somebody else", () => {
  const curator = {
    name: "lorem",
    id: "6d1c",
    address: "10.0.0.1",
    port: 8080,
    sslPort: null,
    payload: {
      "@class": "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance",
      id: "application-1",
      name: "lorem",
      metadata: { version: "3" },
    },
    registrationTimeUTC: 1_700_000_000_000,
    serviceType: "DYNAMIC",
    uriSpec: { parts: [{ value: "scheme", variable: true }] },
    enabled: true,
  };

  it.each<[string, string, object]>([
    ["JSON with only an address", '{"host":"h","port":80}', { id: "a", host: "h", port: 80, weight: 1, metadata: {} }],
    ["JSON with more than is known", '{"host":"h","port":80,"Op":0}', { host: "h", port: 80 }],
    ["JSON with nulls", '{"host":"h","port":80,"id":null,"zone":null,"tags":null,"weight":null}', { id: "a" }],
    ["JSON with its own id", '{"host":"h","port":80,"id":"own"}', { id: "own" }],
    ["go-kit's host:port", "10.0.0.1:8080", { host: "10.0.0.1", port: 8_080, metadata: {} }],
    ["host:port and a line feed", "lorem-1.internal:80\n", { host: "lorem-1.internal", port: 80 }],
    ["IPv6 and a port", "[::1]:80", { host: "::1", port: 80 }],
    ["a URL", "http://10.0.0.1:8080/v1?a=b", { port: 8_080, metadata: { url: "http://10.0.0.1:8080/v1?a=b" } }],
    ["a URL without a port", "https://lorem.internal", { host: "lorem.internal", port: 443 }],
    ["a URL of another scheme", "grpc://10.0.0.1:50051", { host: "10.0.0.1", port: 50_051 }],
    [
      "Curator's, as Spring Cloud writes it",
      JSON.stringify(curator),
      { id: "6d1c", host: "10.0.0.1", port: 8_080, metadata: { version: "3" } },
    ],
    ["Curator's without a payload", JSON.stringify({ ...curator, payload: null }), { id: "6d1c", metadata: {} }],
    ["Curator's with a payload of text", JSON.stringify({ ...curator, payload: "text" }), { metadata: {} }],
    ["Curator's with only a TLS port", JSON.stringify({ ...curator, port: null, sslPort: 8443 }), { port: 8_443 }],
    ["ours whose name is a field of no meaning", '{"host":"h","port":80,"name":"x"}', { host: "h" }],
  ])("is understood: %s", (_, text, expected) => {
    expect(decode(text)).toMatchObject({ service: "lorem", ...expected });
  });

  it("is none if it says so: no data at all, or disabled", () => {
    expect(decodeNode("lorem", "a", undefined)).toBeUndefined();
    expect(decode("")).toBeUndefined();
    expect(decode(JSON.stringify({ ...curator, enabled: false }))).toBeUndefined();
  });

  it.each([
    "lorem",
    "80",
    '{"host":"h"',
    '{"host":"h"}',
    '{"host":"h","port":"80"}',
    '{"host":"h","port":80,"weight":-1}',
    '{"host":"h","port":80,"service":"other"}',
    JSON.stringify({ ...curator, name: "other" }),
    "h:0",
    "h:65536",
    "http://",
    "grpc://10.0.0.1",
    "\u0000\u0001",
  ])("is refused if it makes no sense: %j", (text) => {
    expect(() => decode(text)).toThrow();
  });
});
