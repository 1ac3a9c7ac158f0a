import { type InstanceInit, createInstance } from "@rollcall/core";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { anyInstance } from "../../testing/test/any-instance.ts";
import { decodeEntry, encodeInstance, keyOf, rangeOf } from "./client.ts";

const range = rangeOf("/s", "lorem");
const entryOf = (key: string | Buffer, value: string | Buffer, service = "lorem") =>
  decodeEntry(rangeOf("/s", service), service, {
    key: Buffer.from(key),
    value: Buffer.from(value),
    create_revision: "1",
    mod_revision: "1",
    version: "1",
    lease: "0",
  });
const instanceOf = (value: string, key = "/s/lorem/a") => {
  const entry = entryOf(key, value);
  return entry.instance ?? expect.unreachable(String(entry.error));
};
const roundTrip = (init: InstanceInit) => {
  const instance = createInstance(init);
  return [instance, entryOf(keyOf("/s", instance), encodeInstance(instance), instance.service)] as const;
};

describe("the keys", () => {
  it("are <prefix>/<service>/<id>, and those of a service are a range of their own", () => {
    expect(keyOf("/s", { service: "lorem", id: "a" }).toString()).toBe("/s/lorem/a");
    expect([range.key, range.range_end].map(String)).toEqual(["/s/lorem/", "/s/lorem0"]);
  });

  it("keep services apart, whatever their names, and two ids never share one", () => {
    const name = fc.oneof(fc.string({ minLength: 1 }), fc.stringMatching(/^[a/%2F0]{1,6}$/));
    fc.assert(
      fc.property(name, name, name, name, (service, other, id, otherId) => {
        const key = keyOf("/s", { service, id });
        const { key: from, range_end: to } = rangeOf("/s", service);
        expect(Buffer.compare(key, from) >= 0 && Buffer.compare(key, to) < 0).toBe(true);
        const foreign = keyOf("/s", { service: other, id: otherId });
        // What is not well-formed Unicode has no bytes of its own.
        fc.pre([service, other, id, otherId].every((each) => each.isWellFormed()));
        if (other !== service) expect(Buffer.compare(foreign, from) < 0 || Buffer.compare(foreign, to) >= 0).toBe(true);
        if (other !== service || otherId !== id) expect(foreign.equals(key)).toBe(false);
      }),
    );
  });
});

describe("a record of ours", () => {
  it.each<[string, Partial<InstanceInit>]>([
    ["everything", { id: "a", weight: 2.5, zone: "eu-1", tags: ["b", "a"], metadata: { version: "3", x: 'ü\n"' } }],
    ["defaults", {}],
    ["IPv6", { host: "2001:db8::1" }],
    ["weight 0", { weight: 0 }],
    ["an id with slashes and percent signs", { id: "a/b%2F%25/c%" }],
    ["a service with slashes and percent signs", { service: "team/lorem%2F" }],
    ["an empty zone, an empty tag, an empty key", { zone: "", tags: [""], metadata: { "": "" } }],
    ["names of Object.prototype", { id: "constructor", metadata: { constructor: "x", toString: "y" } }],
  ])("comes back as it was: %s", (_, more) => {
    const [instance, entry] = roundTrip({ service: "lorem", host: "10.0.0.1", port: 80, ...more });
    expect(entry).toEqual({ instance });
  });

  it("comes back as it was, whatever it is", () => {
    fc.assert(
      fc.property(anyInstance(), (given) => {
        const [instance, entry] = roundTrip(given);
        expect(entry).toEqual({ instance });
      }),
    );
  });
});

describe("a record of somebody else", () => {
  it.each<[string, string, object]>([
    ["JSON with only an address", '{"host":"h","port":80}', { host: "h", port: 80, weight: 1, metadata: {} }],
    ["JSON with more than is known", '{"host":"h","port":80,"Op":0,"lease":7}', { host: "h", port: 80 }],
    ["JSON with nulls", '{"host":"h","port":80,"id":null,"zone":null,"tags":null,"weight":null}', { id: "a" }],
    ["JSON with its own id", '{"host":"h","port":80,"id":"own"}', { id: "own" }],
    ["JSON with space around it", ' {"host":"h","port":80}\n', { port: 80 }],
    ["host:port", "10.0.0.1:8080", { host: "10.0.0.1", port: 8_080, metadata: {} }],
    ["host:port and a line feed", "lorem-1.internal:80\n", { host: "lorem-1.internal", port: 80 }],
    ["IPv6 and a port", "[::1]:80", { host: "::1", port: 80 }],
    [
      "a URL",
      "http://10.0.0.1:8080/v1?a=b",
      { host: "10.0.0.1", port: 8_080, metadata: { url: "http://10.0.0.1:8080/v1?a=b" } },
    ],
    ["a URL without a port", "https://lorem.internal", { host: "lorem.internal", port: 443 }],
    ["an http URL without a port", "http://lorem.internal/", { port: 80 }],
    ["a URL with its default port", "http://lorem.internal:80", { port: 80 }],
    ["a URL with IPv6", "http://[2001:db8::1]:80", { host: "2001:db8::1", port: 80 }],
    ["a URL of another scheme", "grpc://10.0.0.1:50051", { host: "10.0.0.1", port: 50_051 }],
  ])("is understood: %s", (_, value, expected) => {
    expect(instanceOf(value)).toMatchObject({ id: "a", service: "lorem", ...expected });
  });

  it("has the last part of its key as id, of which only what we escape is unescaped", () => {
    expect(instanceOf("h:80", "/s/lorem/10.0.0.1:80").id).toBe("10.0.0.1:80");
    expect(instanceOf("h:80", "/s/lorem/a%2Fb%2fc%25%41").id).toBe("a/b/c%%41");
  });

  it.each<[string, string | Buffer, (string | Buffer)?]>([
    ["nothing", ""],
    ["white space", " \n"],
    ["a word", "lorem"],
    ["a number", "80"],
    ["half of a JSON record", '{"host":"h"'],
    ["a JSON list", '[{"host":"h","port":80}]'],
    ["JSON null", "null"],
    ["JSON without a host", '{"port":80}'],
    ["JSON without a port", '{"host":"h"}'],
    ["a port that is a string", '{"host":"h","port":"80"}'],
    ["port 0", '{"host":"h","port":0}'],
    ["port 65536", "h:65536"],
    ["port 99999", "h:99999"],
    ["a host that is a URL", '{"host":"http://h","port":80}'],
    ["a weight below 0", '{"host":"h","port":80,"weight":-1}'],
    ["an infinite weight", '{"host":"h","port":80,"weight":1e999}'],
    ["a weight that is a string", '{"host":"h","port":80,"weight":"5"}'],
    ["tags that are a string", '{"host":"h","port":80,"tags":"a"}'],
    ["a tag that is a number", '{"host":"h","port":80,"tags":[1]}'],
    ["metadata with a number", '{"host":"h","port":80,"metadata":{"a":1}}'],
    ["metadata with __proto__", '{"host":"h","port":80,"metadata":{"__proto__":"x"}}'],
    ["an id that is a number", '{"host":"h","port":80,"id":7}'],
    ["an empty id", '{"host":"h","port":80,"id":""}'],
    ["another service", '{"service":"ipsum","host":"h","port":80}'],
    ["a service that is null", '{"service":null,"host":"h","port":80}'],
    ["IPv6 without brackets", "::1:80"],
    ["a path", "/var/run/lorem.sock"],
    ["a URL without an address", "unix:///var/run/lorem.sock"],
    ["a URL of another scheme without a port", "grpc://h"],
    ["bytes that are no text", Buffer.from([0xff, 0xfe, 0x00, 0x80])],
    ["a marker of a directory", "", "/s/lorem/"],
    ["a deeper key", '{"host":"h","port":80}', "/s/lorem/a/b"],
  ])("is none, and says why: %s", (_, value, key = "/s/lorem/a") => {
    const entry = entryOf(key, value);
    const foreign = key !== "/s/lorem/a"; // another program's, if not even the key is one of ours
    expect(entry).toEqual({ record: { key: String(key), value: value.toString() }, error: expect.any(Error), foreign });
  });

  it("harms nobody by its own __proto__", () => {
    const instance = instanceOf('{"host":"h","port":80,"__proto__":{"zone":"x","weight":9}}');
    expect([instance.zone, instance.weight]).toEqual([undefined, 1]);
    expect(({} as Record<string, unknown>)["zone"]).toBeUndefined();
  });

  it("never throws, whatever the bytes", () => {
    fc.assert(
      fc.property(
        fc.uint8Array(),
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => Buffer.from(text)),
        ),
        (rest, value) => {
          const entry = entryOf(Buffer.concat([range.key, rest]), Buffer.from(value));
          expect("instance" in entry || "error" in entry).toBe(true);
        },
      ),
    );
  });
});
