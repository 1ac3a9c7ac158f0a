import { createRequire } from "node:module";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeWatchResponse, encodeWatchRequest } from "./watch-codec.ts";

/** A method as gRPC's loader knows it. */
interface Method {
  readonly requestDeserialize: (bytes: Buffer) => object;
  readonly responseSerialize: (message: object) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => object;
}

// The loader and the options of etcd3: what its own client says and hears.
const require = createRequire(import.meta.resolve("etcd3"));
const { loadSync } = require("@grpc/proto-loader") as {
  loadSync(file: string, options: object): Record<string, { readonly Watch: Method }>;
};
const file = require.resolve("etcd3/package.json").replace("package.json", "proto/rpc.proto");
const { Watch } = loadSync(file, { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true })[
  "etcdserverpb.Watch"
] as { readonly Watch: Method };

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const unsigned = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String);
const positive = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }).map(String);
const pair = fc.record({
  key: bytes,
  create_revision: positive,
  mod_revision: positive,
  version: positive,
  value: bytes,
  lease: positive,
});
const response = fc.record({
  header: fc.record({ cluster_id: unsigned, member_id: unsigned, revision: positive, raft_term: unsigned }),
  watch_id: positive,
  created: fc.boolean(),
  canceled: fc.boolean(),
  compact_revision: positive,
  cancel_reason: fc.string(),
  fragment: fc.boolean(),
  events: fc.array(fc.record({ type: fc.constantFrom("Put", "Delete"), kv: pair, prev_kv: pair }), { maxLength: 4 }),
});

describe("decodeWatchResponse", () => {
  it("reads what etcd3's own client reads", () => {
    fc.assert(
      fc.property(response, (message) => {
        const written = Watch.responseSerialize(message);
        expect(decodeWatchResponse(written)).toEqual(message);
      }),
    );
  });

  it("takes what is missing for zero, empty or false", () => {
    expect(decodeWatchResponse(Buffer.alloc(0))).toEqual({
      header: { cluster_id: "0", member_id: "0", revision: "0", raft_term: "0" },
      watch_id: "0",
      created: false,
      canceled: false,
      compact_revision: "0",
      cancel_reason: "",
      fragment: false,
      events: [],
    });
  });

  it("passes over fields that it does not know, of every kind", () => {
    const unknown = ["9801ff01", "a1010102030405060708", "aa0103616263", "b50101020304"].join("");
    const known = Watch.responseSerialize({ watch_id: "7", created: true });
    const { watch_id: id, created } = decodeWatchResponse(Buffer.concat([Buffer.from(unknown, "hex"), known]));
    expect([id, created]).toEqual(["7", true]);
  });

  it("refuses what is no message, and never reads beyond its end", () => {
    const whole = Watch.responseSerialize({
      header: { cluster_id: String(2n ** 64n - 1n), revision: "300" },
      events: [
        { type: "Put", kv: { key: Buffer.from("/services/web/1"), value: Buffer.from("{}"), mod_revision: "300" } },
      ],
    });
    const cuts = Array.from({ length: whole.length - 1 }, (_, length) => whole.subarray(0, length + 1));
    const refused = cuts.filter((cut) => {
      try {
        decodeWatchResponse(cut);
        return false;
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
        return true;
      }
    });
    // Between two fields a cut cannot be seen: there are two in all.
    expect(refused.length).toBe(cuts.length - 1);
    for (const junk of ["0b", "1880808080808080808080808001", "0a05", "10", "5a8080808080808001", "1a0101"]) {
      expect(() => decodeWatchResponse(Buffer.from(junk, "hex"))).toThrow(RangeError);
    }
  });
});

describe("encodeWatchRequest", () => {
  it("writes a request for a watcher as etcd reads it", () => {
    fc.assert(
      fc.property(bytes, bytes, positive, fc.boolean(), (key, end, revision, fragment) => {
        const written = encodeWatchRequest({
          create_request: { key, range_end: end, start_revision: revision, fragment },
        });
        expect(Watch.requestDeserialize(written)).toMatchObject({
          create_request: { key, range_end: end, start_revision: revision, fragment },
        });
      }),
    );
  });

  it("writes the end of a watcher as etcd reads it", () => {
    fc.assert(
      fc.property(positive, (id) => {
        const written = encodeWatchRequest({ cancel_request: { watch_id: id } });
        expect(Watch.requestDeserialize(written)).toMatchObject({ cancel_request: { watch_id: id } });
      }),
    );
  });
});
