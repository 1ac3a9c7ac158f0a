import { type InstanceInit, type NormalizedQuery, createInstance, isDiscoveryError } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { record } from "../test/fake-consul.ts";
import { decodeInstances, encodeInstance } from "./client.ts";

const query: NormalizedQuery = { service: "lorem", tags: [], passingOnly: true };
const decode = (records: unknown, more: Partial<NormalizedQuery> = {}) =>
  decodeInstances(records, { ...query, ...more }, "zone");
const only = (entry: object) => decode([entry]).instances[0];
/** What Consul answers for a registration: the agent's fields under `Service`. */
const roundTrip = (init: InstanceInit) => {
  const { ID, Name, ...rest } = encodeInstance(createInstance(init), "zone");
  const records = [{ Node: { Address: "10.9.9.9" }, Service: { ID, Service: Name, ...rest } }];
  return decodeInstances(JSON.parse(JSON.stringify(records)), { ...query, service: init.service }, "zone").instances[0];
};

describe("decodeInstances", () => {
  it("reads id, address, port, weight, zone, tags and metadata of a record", () => {
    const service = { Tags: ["b", "a"], Meta: { zone: "eu-1", version: "3" }, Weights: { Passing: 7, Warning: 2 } };
    expect(only(record(80, service))).toEqual({
      id: "lorem-80",
      service: "lorem",
      host: "10.0.0.1",
      port: 80,
      weight: 7,
      zone: "eu-1",
      tags: ["b", "a"],
      metadata: { version: "3" },
    });
  });

  it.each([
    ["the service's own address", { Address: "10.0.0.1" }, {}, "10.0.0.1"],
    ["the node's address if the service has an empty one", { Address: "" }, {}, "10.0.0.9"],
    ["the node's address if the service has none", { Address: undefined }, {}, "10.0.0.9"],
    ["an IPv6 address of the service", { Address: "2001:db8::1" }, {}, "2001:db8::1"],
    ["an IPv6 address of the node", { Address: "" }, { Address: "::1" }, "::1"],
    ["an IPv6 address in brackets", { Address: "[::1]" }, {}, "::1"],
    ["a host name", { Address: "lorem-1.internal" }, {}, "lorem-1.internal"],
  ])("takes %s", (_, service, node, host) => {
    expect(only(record(80, service, node))?.host).toBe(host);
  });

  it.each([
    ["Consul's passing weight", { Passing: 3, Warning: 1 }, 3],
    ["1 if there are no weights", undefined, 1],
    ["1 if the weights are null", null, 1],
    ["1 if there is no passing weight", {}, 1],
    ["0, which drains", { Passing: 0 }, 0],
  ])("weighs by %s", (_, Weights, weight) => {
    const [instance] = decode([record(80, { Weights })]).instances;
    expect(instance?.weight).toBe(weight);
  });

  it.each<[string, unknown]>([
    ["null", null],
    ["a string", "lorem"],
    ["a list", []],
    ["a record without Service", { Node: { Address: "10.0.0.9" } }],
    ["a record whose Service is null", { Node: { Address: "10.0.0.9" }, Service: null }],
    ["no address at all", record(80, { Address: "" }, { Address: "" })],
    ["an address that is a number", record(80, { Address: 10 })],
    ["an address that is a URL", record(80, { Address: "http://10.0.0.1" })],
    ["port 0", record(0)],
    ["port 65536", record(65_536)],
    ["a port that is a string", record(80, { Port: "80" })],
    ["no port", record(80, { Port: undefined })],
    ["an empty id", record(80, { ID: "" })],
    ["an id that is a number", record(80, { ID: 7 })],
    ["tags that are a string", record(80, { Tags: "a" })],
    ["a tag that is null", record(80, { Tags: [null] })],
    ["weights that are a number", record(80, { Weights: 5 })],
    ["a weight that is null", record(80, { Weights: { Passing: null } })],
    ["a weight that is a string", record(80, { Weights: { Passing: "5" } })],
    ["a weight that is not a number", record(80, { Weights: { Passing: Number.NaN } })],
    ["a weight below 0", record(80, { Weights: { Passing: -1 } })],
    ["an exact weight that is not a number", record(80, { Meta: { "rollcall-weight": "heavy" } })],
    ["an exact weight that is empty", record(80, { Meta: { "rollcall-weight": "" } })],
    ["metadata that are a list", record(80, { Meta: [] })],
    ["metadata with a number", record(80, { Meta: { a: 1 } })],
    ["a zone that is a number", record(80, { Meta: { zone: 1 } })],
    ["metadata with the key __proto__", JSON.parse('{"Service":{"Address":"h","Port":80,"Meta":{"__proto__":"x"}}}')],
  ])("leaves out %s, and says so", (_, bad) => {
    const decoded = decode([record(1), bad, record(2)]);
    expect(decoded.instances.map(({ port }) => port)).toEqual([1, 2]);
    expect(decoded.skipped).toBe(1);
    expect(decoded.errors).toEqual([{ record: bad, error: expect.any(Error) }]);
    expect(Object.prototype).not.toHaveProperty("x");
  });

  it.each([
    ["nothing", undefined],
    ["null", null],
    ["an object", {}],
    ["a string", "[]"],
    ["a number", 3],
  ])("throws for %s instead of a list", (_, body) => {
    expect(() => decode(body)).toThrow(TypeError);
  });

  it("counts all bad records, but keeps only the first for the report", () => {
    const decoded = decode([...Array.from({ length: 5_000 }, () => null), record(80)]);
    expect([decoded.instances.length, decoded.skipped, decoded.errors.length]).toEqual([1, 5_000, 10]);
  });

  it("wants all tags, in any order, exactly", () => {
    const records = [
      record(1, { Tags: ["ru-rocker", "lorem", "x"] }),
      record(2, { Tags: ["lorem"] }),
      record(3, { Tags: ["LOREM", "ru-rocker"] }),
      record(4, { Tags: null }),
    ];
    const ports = (tags: string[]) => decode(records, { tags }).instances.map(({ port }) => port);
    expect(ports(["lorem", "ru-rocker"])).toEqual([1]);
    expect(ports(["ru-rocker", "lorem"])).toEqual([1]);
    expect(ports(["lorem"])).toEqual([1, 2]);
    expect(ports([])).toEqual([1, 2, 3, 4]);
  });

  it("tells instances apart that have the same id on different agents", () => {
    const same = { ID: "lorem" };
    const records = [
      record(80, { ...same, Address: "10.0.0.1" }),
      record(80, { ...same, Address: "::1" }),
      record(81, { ID: "other" }),
    ];
    expect(decode(records).instances.map(({ id }) => id)).toEqual(["lorem@10.0.0.1:80", "lorem@[::1]:80", "other"]);
    expect(decode(records.slice(1)).instances.map(({ id }) => id)).toEqual(["lorem", "other"]);
  });

  it("takes the same id at the same address, left over on another agent, for one instance", () => {
    expect(decode([record(80), record(80, {}, { Node: "old" })]).instances.map(({ id }) => id)).toEqual([
      "lorem-80",
      "lorem-80",
    ]);
  });

  it("does not look into Object.prototype for the zone", () => {
    expect(decodeInstances([record(80)], query, "constructor").instances[0]?.zone).toBeUndefined();
  });

  it("reads the zone from another key if told to", () => {
    const [instance] = decodeInstances([record(80, { Meta: { az: "a", zone: "b" } })], query, "az").instances;
    expect([instance?.zone, instance?.metadata]).toEqual(["a", { zone: "b" }]);
  });
});

describe("encodeInstance", () => {
  const base: InstanceInit = { service: "lorem", host: "10.0.0.1", port: 80 };

  it("writes what the agent wants", () => {
    expect(
      encodeInstance(createInstance({ ...base, weight: 7, zone: "a", tags: ["t"], metadata: { k: "v" } }), "az"),
    ).toEqual({
      ID: "lorem-10.0.0.1-80",
      Name: "lorem",
      Address: "10.0.0.1",
      Port: 80,
      Tags: ["t"],
      Meta: { k: "v", az: "a" },
      Weights: { Passing: 7, Warning: 7 },
    });
  });

  it.each<[string, InstanceInit]>([
    ["defaults", base],
    ["IPv6", { ...base, host: "2001:db8::1" }],
    ["an id of its own", { ...base, id: "a/b c@ü" }],
    ["weight 7", { ...base, weight: 7 }],
    ["weight 0, which Consul refuses", { ...base, weight: 0 }],
    ["weight 0.25, which Consul cannot hold", { ...base, weight: 0.25 }],
    ["weight 1e9, which is above Consul's most", { ...base, weight: 1e9 }],
    ["an empty zone", { ...base, zone: "" }],
    ["zone, tags and metadata", { ...base, zone: "é", tags: ["b", "", "a b"], metadata: { a: "", "b-_9": 'ü\n"' } }],
    ["a service name with everything in it", { ...base, service: "a b/ü?#%/{id}" }],
  ])("gives back exactly: %s", (_, init) => {
    expect(roundTrip(init)).toEqual(createInstance(init));
  });

  it.each([
    [0, 1],
    [0.25, 1],
    [1.5, 2],
    [70_000, 65_535],
  ])("comes as close to weight %d as Consul can: %d", (weight, passing) => {
    expect(encodeInstance(createInstance({ ...base, weight }), "zone").Weights.Passing).toBe(passing);
  });

  const pairs = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${n}`, ""]));

  it.each<[string, Partial<InstanceInit>, string]>([
    ["a dot in a key", { metadata: { "a.b": "" } }, "metadata.a.b"],
    ["an empty key", { metadata: { "": "" } }, "metadata."],
    ["a key with an umlaut", { metadata: { ü: "" } }, "metadata.ü"],
    ["Consul's own prefix", { metadata: { "consul-x": "" } }, "metadata.consul-x"],
    ["a key of 129 characters", { metadata: { ["k".repeat(129)]: "" } }, `metadata.${"k".repeat(129)}`],
    ["a value of 513 bytes", { metadata: { k: `${"ü".repeat(256)}!` } }, "metadata.k"],
    ["a zone of 513 bytes", { zone: "z".repeat(513) }, "metadata.zone"],
    ["65 pairs", { metadata: pairs(65) }, "metadata"],
    ["64 pairs and a zone", { zone: "a", metadata: pairs(64) }, "metadata"],
    ["the key of the zone", { metadata: { zone: "a" } }, "metadata.zone"],
    ["the key of the weight", { metadata: { "rollcall-weight": "1" } }, "metadata.rollcall-weight"],
    ["a service named ..", { service: ".." }, "service"],
    ["a service with an empty segment", { service: "a//b" }, "service"],
    ["a service that starts with a slash", { service: "/a" }, "service"],
    ["an id with a . segment", { id: "a/./b" }, "id"],
  ])("refuses what Consul cannot hold or find: %s", (_, more, path) => {
    const encode = () => encodeInstance(createInstance({ ...base, ...more }), "zone");
    expect(encode).toThrow(expect.objectContaining({ code: "INVALID_OPTION", path }));
    try {
      encode();
    } catch (error) {
      expect(isDiscoveryError(error, "INVALID_OPTION")).toBe(true);
    }
  });

  it("takes the longest that Consul takes", () => {
    const metadata = { ...pairs(63), ["k".repeat(128)]: "v".repeat(512) };
    expect(roundTrip({ ...base, metadata })?.metadata).toEqual(metadata);
  });
});
