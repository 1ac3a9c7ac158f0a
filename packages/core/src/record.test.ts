import { describe, expect, it } from "vitest";
import { isDiscoveryError } from "./errors.ts";
import { createInstance } from "./instance.ts";
import { decodeRecord, parseRecord } from "./record.ts";

const read = (text: string) => decodeRecord(parseRecord(text), "lorem", "a");

describe("a record", () => {
  it("comes back as it was", () => {
    const init = {
      service: "lorem",
      host: "::1",
      port: 80,
      id: "b",
      weight: 0,
      zone: "",
      tags: ["t"],
      metadata: { k: "v" },
    };
    const instance = createInstance(init);
    expect(read(JSON.stringify(instance))).toEqual(instance);
  });

  it.each<[string, object]>([
    ['{"host":"h","port":80}', { id: "a", host: "h", port: 80, weight: 1 }],
    [' {"host":"h","port":80,"id":null,"weight":null,"zone":null,"tags":null,"metadata":null,"x":1}\n', { id: "a" }],
    ["10.0.0.1:8080\n", { host: "10.0.0.1", port: 8_080, metadata: {} }],
    ["[::1]:80", { host: "::1", port: 80 }],
    ["https://h/x?y", { host: "h", port: 443, metadata: { url: "https://h/x?y" } }],
    ["http://h:80", { host: "h", port: 80 }],
    ["grpc://h:50051", { host: "h", port: 50_051 }],
  ])("may be %j", (text, expected) => {
    expect(read(text)).toMatchObject({ service: "lorem", ...expected });
  });

  it.each(["", "lorem", "80", "h:0", "h:65536", "::1:80", "/x", "grpc://h", "unix:///x", "[1]", "null", "\u0000"])(
    "is none if it is %j",
    (text) => {
      expect(() => read(text)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
    },
  );

  it("is refused for one bad member, and if it is another service's", () => {
    for (const member of ['"weight":-1', '"tags":"t"', '"id":7', '"service":"ipsum"', '"service":null']) {
      expect(() => read(`{"host":"h","port":80,${member}}`)).toThrow();
    }
    expect(() => read('{"host":"h"')).toThrow(SyntaxError);
  });

  it("says which text makes no sense", () => {
    try {
      read("lorem");
      expect.unreachable("it was taken");
    } catch (error) {
      expect(isDiscoveryError(error, "INVALID_OPTION")).toBe(true);
      expect(error).toMatchObject({ path: "record", got: "lorem" });
    }
  });
});
