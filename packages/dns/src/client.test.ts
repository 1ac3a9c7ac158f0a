import type { NormalizedQuery } from "@rollcall/core";
import { seededRandom } from "@rollcall/testing";
import {
  type Answer as ResourceRecord,
  AUTHORITATIVE_ANSWER,
  encode,
  type Packet,
  type SrvAnswer,
  TRUNCATED_RESPONSE,
} from "dns-packet";
import { describe, expect, it } from "vitest";
import { decodeAnswer, encodeQuestion, type Host, type Priorities, type Question, readHosts } from "./client.ts";

const QUESTION: Question = { name: "lorem.test", type: "SRV" };
const ID = 7;

function message(packet: Packet, id = ID): Buffer {
  return encode({ type: "response", id, questions: [QUESTION], flags: AUTHORITATIVE_ANSWER, ...packet });
}
const srv = (port: number, target = "a.test", more: object = {}): SrvAnswer => ({
  type: "SRV",
  name: "lorem.test",
  ttl: 5,
  data: { port, target, priority: 0, weight: 1, ...more },
});
const a = (name: string, data: string, ttl = 9): ResourceRecord => ({ type: "A", name, ttl, data });
const soa = (ttl: number, minimum: number): ResourceRecord => ({
  type: "SOA",
  name: "test",
  ttl,
  data: { mname: "ns.test", rname: "x.test", serial: 1, refresh: 1, retry: 1, expire: 1, minimum },
});
/** What is made of `srv(port)` and one address. */
function host(port: number, more: Partial<Host> = {}): Host {
  const metadata = { target: "a.test", priority: "0" };
  return { id: `a.test:${port}`, host: "10.0.0.1", port, priority: 0, weight: 1, metadata, ...more };
}
const NXDOMAIN = 3;
const read = (packet: Packet) => decodeAnswer(message(packet), QUESTION, ID);

describe("decodeAnswer", () => {
  it("reads records, the addresses that came along, and the shortest TTL", () => {
    const answers = [srv(80), { ...srv(81, "B.test", { priority: 7, weight: 3 }), ttl: 3 }];
    const opt = { type: "OPT", name: ".", udpPayloadSize: 1_232, extendedRcode: 0, ednsVersion: 0 } as const;
    const additionals: ResourceRecord[] = [
      a("A.TEST", "10.0.0.1"),
      a("b.test", "10.0.0.2"),
      { ...opt, flags: 0, flag_do: false, options: [] },
    ];
    expect(read({ answers, additionals })).toEqual({
      hosts: [
        host(80),
        {
          id: "b.test:81",
          host: "10.0.0.2",
          port: 81,
          priority: 7,
          weight: 3,
          metadata: { target: "b.test", priority: "7" },
        },
      ],
      ttlMs: 3_000,
      missing: "nothing",
    });
    expect(read({ answers: [srv(80)], additionals: [a("a.test", "10.0.0.1", 2)] })?.ttlMs, "of an address").toBe(2_000);
  });

  it("makes one host of a record whose target has no address, and one of each address, which share the weight", () => {
    const answers = [srv(80, "a.test", { weight: 5 })];
    expect(read({ answers })?.hosts).toEqual([{ ...host(80), host: "a.test", weight: 5 }]);
    const additionals = [a("a.test", "10.0.0.1"), a("a.test", "10.0.0.2"), a("a.test", "10.0.0.1")];
    expect(read({ answers, additionals })?.hosts).toMatchObject([
      { id: "a.test:80@10.0.0.1", host: "10.0.0.1", weight: 2.5 },
      { id: "a.test:80@10.0.0.2", host: "10.0.0.2", weight: 2.5 },
    ]);
  });

  it("takes IPv6 addresses of a target that has no other", () => {
    const six: ResourceRecord = { type: "AAAA", name: "a.test", data: "fd00::1", ttl: 9 };
    expect(read({ answers: [srv(80)], additionals: [six] })?.hosts).toMatchObject([{ host: "fd00::1" }]);
    const both = [six, a("a.test", "10.0.0.1")];
    expect(read({ answers: [srv(80)], additionals: both })?.hosts).toMatchObject([{ host: "10.0.0.1" }]);
  });

  it("gives addresses the port that the question has for them", () => {
    const question: Question = { name: "lorem.test", type: "A", port: 443 };
    const answer = message({ questions: [question], answers: [a("lorem.test", "10.0.0.1")] });
    expect(decodeAnswer(answer, question, ID)?.hosts).toEqual([
      { host: "10.0.0.1", port: 443, priority: 0, weight: 1 },
    ]);
  });

  it("leaves to others what has another id", () => {
    expect(decodeAnswer(message({}, ID + 1), QUESTION, ID)).toBeUndefined();
    expect(decodeAnswer(Buffer.alloc(1), QUESTION, ID)).toBeUndefined();
  });

  it("takes a name in other letters for the same name", () => {
    const other = message({ questions: [{ ...QUESTION, name: "LoReM.tEsT" }], answers: [srv(80)] });
    expect(decodeAnswer(other, QUESTION, ID)?.hosts).toHaveLength(1);
  });

  it.each<[string, Packet]>([
    ["another question", { questions: [{ ...QUESTION, name: "ipsum.test" }] }],
    ["another type", { questions: [{ ...QUESTION, type: "A" }] }],
    ["no question", { questions: [] }],
    ["a question", { type: "query" }],
  ])("refuses %s", (_, packet) => {
    expect(() => read(packet)).toThrow("what came is no answer to SRV lorem.test");
  });

  it.each([
    [1, "FORMERR"],
    [2, "SERVFAIL"],
    [5, "REFUSED"],
    [9, "NOTAUTH"],
  ])("refuses the code %i, with or without the question", (flags, code) => {
    expect(() => read({ flags })).toThrow(expect.objectContaining({ name: "DnsError", code }));
    expect(() => read({ flags, questions: [] })).toThrow(expect.objectContaining({ code }));
  });

  it.each<[string, Packet, number]>([
    ["the name does not exist", { flags: NXDOMAIN, authorities: [soa(5, 3)] }, 3_000],
    ["it has no such records", { authorities: [soa(2, 60)] }, 2_000],
    ["nobody says for how long", { flags: NXDOMAIN }, 0],
    ["there is nothing at all", {}, 0],
    [
      "an alias leads to nothing",
      { answers: [{ type: "CNAME", name: "lorem.test", data: "x.test" }], authorities: [soa(1, 1)] },
      1_000,
    ],
  ])("takes it for an answer that %s", (_, packet, ttlMs) => {
    expect(read(packet)).toEqual({ hosts: [], ttlMs, missing: "nothing" });
  });

  it.each<[string, Packet]>([
    ["to other servers", { authorities: [{ type: "NS", name: "test", data: "ns.test" }] }],
    ["to another name", { answers: [{ type: "CNAME", name: "lorem.test", data: "x.test" }] }],
  ])("does not take a referral %s for an answer", (_, packet) => {
    expect(() => read(packet)).toThrow("refers to others");
  });

  it("follows aliases, in any order, and not for ever", () => {
    const alias = (name: string, data: string): ResourceRecord => ({ type: "CNAME", name, data, ttl: 1 });
    const chain = [{ ...srv(80), name: "y.test" }, alias("x.test", "y.test"), alias("lorem.test", "x.test")];
    expect(read({ answers: chain })).toMatchObject({ hosts: [{ port: 80 }], ttlMs: 1_000 });
    const circle = [alias("lorem.test", "x.test"), alias("x.test", "lorem.test")];
    expect(() => read({ answers: circle })).toThrow("refers to others");
  });

  it("leaves out records of other names and types, and those of no service", () => {
    const answers = [srv(80), { ...srv(81), name: "ipsum.test" }, a("lorem.test", "10.0.0.1"), srv(0, ".")];
    expect(read({ answers })?.hosts.map(({ port }) => port)).toEqual([80]);
  });

  it("lacks records if it is truncated, and addresses if there are some for other targets", () => {
    expect(read({ flags: TRUNCATED_RESPONSE })?.missing).toBe("records");
    const answers = [srv(80), srv(80, "b.test")];
    expect(read({ answers })?.missing).toBe("nothing");
    const additionals = [a("a.test", "10.0.0.1")];
    expect(read({ answers, additionals })?.missing).toBe("addresses");
    expect(read({ flags: TRUNCATED_RESPONSE, answers, additionals })?.missing).toBe("records");
  });

  it("counts a TTL with the highest bit as 0", () => {
    expect(read({ answers: [{ ...srv(80), ttl: 2 ** 31 }] })?.ttlMs).toBe(0);
  });

  it("never hangs and throws nothing but its own error, whatever the bytes are", () => {
    const random = seededRandom(1);
    const good = message({ answers: [srv(80), srv(81, "b.test")], additionals: [a("a.test", "10.0.0.1")] });
    for (let run = 0; run < 5_000; run++) {
      const bad = Buffer.from(good.subarray(0, 2 + Math.floor(random() * (good.length - 1))));
      for (let flips = random() * 6; flips > 0; flips--) {
        bad[2 + Math.floor(random() * (bad.length - 2))] = Math.floor(random() * 256);
      }
      try {
        decodeAnswer(bad, QUESTION, ID);
      } catch (error) {
        expect(error).toMatchObject({ name: "DnsError" });
      }
    }
  });

  it("asks what it understands", () => {
    expect(() => decodeAnswer(encodeQuestion(QUESTION, ID), QUESTION, ID)).toThrow("no answer");
  });
});

describe("readHosts", () => {
  const query: NormalizedQuery = { service: "lorem", tags: ["blue"], passingOnly: true };
  const decode = (hosts: readonly Host[], priorities: Priorities = "first") => {
    const readings = readHosts(hosts, query, priorities);
    return {
      instances: readings.flatMap(({ instance }) => instance ?? []),
      errors: readings.filter((reading) => "error" in reading),
    };
  };

  it("makes an instance of each host", () => {
    expect(decode([host(80)]).instances).toEqual([
      {
        id: "a.test:80",
        service: "lorem",
        host: "10.0.0.1",
        port: 80,
        weight: 1,
        tags: ["blue"],
        metadata: { target: "a.test", priority: "0" },
      },
    ]);
    expect(decode([{ host: "fd00::1", port: 443, priority: 0, weight: 1 }]).instances[0]).toMatchObject({
      id: "lorem-fd00::1-443",
      host: "fd00::1",
      port: 443,
      metadata: {},
    });
  });

  it.each([
    [
      [10, 0, 0],
      [10, 0.5, 0.5],
    ],
    [
      [0, 0],
      [0.5, 0.5],
    ],
    [
      [65_535, 1],
      [65_535, 1],
    ],
  ])("makes of the weights %j what is drawn alike: %j", (weights, expected) => {
    const hosts = weights.map((weight, index) => host(80 + index, { weight }));
    expect(decode(hosts).instances.map(({ weight }) => weight)).toEqual(expected);
  });

  it("takes the first priority that has anybody, or all", () => {
    const hosts = [host(80, { priority: 20 }), host(0, { priority: 5 }), host(81, { priority: 10 })];
    expect(decode(hosts).instances.map(({ port }) => port)).toEqual([81]);
    expect(decode(hosts, "all").instances.map(({ port }) => port)).toEqual([81, 80]);
  });

  it("gives the same for the same records in another order", () => {
    const hosts = [host(80, { weight: 2 }), host(80, { weight: 3 }), host(81)];
    expect(decode(hosts.toReversed()).instances).toEqual(decode(hosts).instances);
  });

  it("says of each record that is no instance why", () => {
    const { instances, errors } = decode([host(0), host(80), host(82, { host: "a b" })]);
    expect(instances.map(({ port }) => port)).toEqual([80]);
    expect(errors).toEqual([
      { record: expect.objectContaining({ port: 0 }), error: expect.objectContaining({ path: "port" }) },
      { record: expect.objectContaining({ host: "a b" }), error: expect.objectContaining({ path: "host" }) },
    ]);
  });
});
