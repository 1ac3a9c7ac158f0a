import { describe, expect, it } from "vitest";
import { isDiscoveryError } from "./errors.ts";
import { type Instance, type InstanceInit, address, createInstance, sameInstance } from "./instance.ts";

const minimal: InstanceInit = { service: "lorem", host: "10.0.0.1", port: 8080 };

/** The error that `run` throws. */
function thrown(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

describe("createInstance", () => {
  it("fills in the defaults: a stable id, weight 1, no zone, no tags, no metadata", () => {
    const instance = createInstance(minimal);
    expect(instance).toStrictEqual({
      id: "lorem-10.0.0.1-8080",
      service: "lorem",
      host: "10.0.0.1",
      port: 8080,
      weight: 1,
      tags: [],
      metadata: {},
    });
    expect("zone" in instance).toBe(false);
    expect(createInstance(minimal).id).toBe(instance.id);
  });

  it("takes options that are undefined for left out", () => {
    const instance = createInstance({
      ...minimal,
      id: undefined,
      weight: undefined,
      zone: undefined,
      tags: undefined,
      metadata: undefined,
    });
    expect(instance).toStrictEqual(createInstance(minimal));
  });

  it("keeps everything that is given", () => {
    const init = { ...minimal, id: "x", weight: 0.5, zone: "eu-1", tags: ["b", "a", "b"], metadata: { version: "2" } };
    expect(createInstance(init)).toStrictEqual(init);
  });

  it("accepts weight 0, which means drain", () => {
    expect(createInstance({ ...minimal, weight: 0 }).weight).toBe(0);
  });

  it("freezes the instance, its tags and its metadata, and shares nothing with what it was given", () => {
    const init = { ...minimal, tags: ["a"], metadata: { version: "1" } };
    const instance = createInstance(init);
    expect([instance, instance.tags, instance.metadata].every(Object.isFrozen)).toBe(true);
    init.tags.push("b");
    init.metadata.version = "2";
    expect(instance.tags).toEqual(["a"]);
    expect(instance.metadata).toEqual({ version: "1" });
    expect([init, init.tags, init.metadata].some(Object.isFrozen)).toBe(false);
  });

  it("does not change a frozen init, and can be given an instance", () => {
    const instance = createInstance(Object.freeze({ ...minimal, zone: "a" }));
    expect(createInstance(instance)).toStrictEqual(instance);
  });

  it("takes an IPv6 host with or without brackets for the same", () => {
    const bare = createInstance({ ...minimal, host: "::1" });
    expect(createInstance({ ...minimal, host: "[::1]" })).toStrictEqual(bare);
    expect(bare).toMatchObject({ host: "::1", id: "lorem-::1-8080" });
  });

  it.each<[string, unknown, string]>([
    ["no service", { service: undefined }, "service"],
    ["an empty service", { service: "" }, "service"],
    ["a blank service", { service: " " }, "service"],
    ["a service that is no string", { service: 7 }, "service"],
    ["no host", { host: undefined }, "host"],
    ["an empty host", { host: "" }, "host"],
    ["a URL for a host", { host: "http://10.0.0.1" }, "host"],
    ["a host with its port", { host: "10.0.0.1:80" }, "host"],
    ["an IPv6 host with its port", { host: "[::1]:80" }, "host"],
    ["a host with a path", { host: "10.0.0.1/x" }, "host"],
    ["a host with a user", { host: "me@10.0.0.1" }, "host"],
    ["a host with white space", { host: "10.0.0.1 " }, "host"],
    ["a host with a line end", { host: "10.0.0.1\n" }, "host"],
    ["half a bracket", { host: "[::1" }, "host"],
    ["no port", { port: undefined }, "port"],
    ["port 0", { port: 0 }, "port"],
    ["port 65536", { port: 65_536 }, "port"],
    ["a negative port", { port: -1 }, "port"],
    ["half a port", { port: 80.5 }, "port"],
    ["port NaN", { port: Number.NaN }, "port"],
    ["a port that is a string", { port: "80" }, "port"],
    ["an empty id", { id: "" }, "id"],
    ["a null id", { id: null }, "id"],
    ["a negative weight", { weight: -1 }, "weight"],
    ["an infinite weight", { weight: Number.POSITIVE_INFINITY }, "weight"],
    ["weight NaN", { weight: Number.NaN }, "weight"],
    ["a weight that is a string", { weight: "1" }, "weight"],
    ["a zone that is no string", { zone: 1 }, "zone"],
    ["tags that are no array", { tags: "a" }, "tags"],
    ["a tag that is no string", { tags: ["a", 1] }, "tags"],
    ["a missing tag", { tags: Array<string>(1) }, "tags"],
    ["metadata that are no object", { metadata: "a" }, "metadata"],
    ["metadata that are an array", { metadata: ["a"] }, "metadata"],
    ["a metadata value that is no string", { metadata: { a: 1 } }, "metadata.a"],
    ["metadata with __proto__", { metadata: JSON.parse('{"__proto__":"x"}') as unknown }, "metadata.__proto__"],
    ["an unknown key", { adress: "10.0.0.1" }, "adress"],
  ])("refuses %s, and names it", (_what, wrong, path) => {
    const error = thrown(() => createInstance({ ...minimal, ...(wrong as object) }));
    expect(isDiscoveryError(error, "INVALID_OPTION")).toBe(true);
    expect(error).toMatchObject({ name: "InvalidOptionError", path, expected: expect.any(String) as string });
    expect(error).toHaveProperty("got");
  });

  it.each([[undefined], [null], ["lorem"], [[]]])("refuses %j, which is no object", (init) => {
    expect(
      isDiscoveryError(
        thrown(() => createInstance(init as unknown as InstanceInit)),
        "INVALID_OPTION",
      ),
    ).toBe(true);
  });

  it.each([["1"], ["65535"]])("accepts port %s, at the edge", (port) => {
    expect(createInstance({ ...minimal, port: Number(port) }).port).toBe(Number(port));
  });
});

describe("address", () => {
  it.each([
    ["10.0.0.1", "10.0.0.1:80"],
    ["lorem.example.org", "lorem.example.org:80"],
    ["::1", "[::1]:80"],
    ["fe80::1%eth0", "[fe80::1%eth0]:80"],
    ["[::1]", "[::1]:80"],
  ])("of %s is %s", (host, expected) => {
    expect(address({ host, port: 80 })).toBe(expected);
  });
});

describe("sameInstance", () => {
  const full = { ...minimal, id: "x", weight: 2, zone: "a", tags: ["t", "u"], metadata: { k: "v", l: "w" } };

  it("compares by value, whatever the order of the metadata", () => {
    const other = createInstance({ ...full, metadata: { l: "w", k: "v" } });
    expect(sameInstance(createInstance(full), other)).toBe(true);
  });

  it.each<[string, Partial<InstanceInit>]>([
    ["id", { id: "y" }],
    ["service", { service: "ipsum" }],
    ["host", { host: "10.0.0.2" }],
    ["port", { port: 81 }],
    ["weight", { weight: 3 }],
    ["zone", { zone: "b" }],
    ["no zone", { zone: undefined }],
    ["tags", { tags: ["t"] }],
    ["order of the tags", { tags: ["u", "t"] }],
    ["metadata value", { metadata: { k: "v", l: "x" } }],
    ["metadata key", { metadata: { k: "v", m: "w" } }],
    ["number of metadata", { metadata: { k: "v" } }],
  ])("tells another %s apart, both ways round", (_what, change) => {
    const [a, b]: [Instance, Instance] = [createInstance(full), createInstance({ ...full, ...change })];
    expect([sameInstance(a, b), sameInstance(b, a)]).toEqual([false, false]);
  });

  it("does not take an inherited name for metadata", () => {
    const a = createInstance({ ...minimal, metadata: { toString: "x" } });
    const b = createInstance({ ...minimal, metadata: { other: "x" } });
    expect([sameInstance(a, b), sameInstance(b, a)]).toEqual([false, false]);
  });
});
