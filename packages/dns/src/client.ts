import { isIP } from "node:net";
import { createInstance, type InstanceInit, type NormalizedQuery, type Reading, readRecord } from "@rollcall/core";
import type { Answer as ResourceRecord, DecodedPacket, OptAnswer } from "dns-packet";
import { decode, encode, RECURSION_DESIRED } from "dns-packet";
import { DnsError } from "./dns-error.ts";

/** What a name server is asked for. */
export interface Question {
  /** Without the dot at its end. */
  readonly name: string;
  readonly type: "SRV" | "A" | "AAAA";
  /** Of all hosts, if addresses are asked for, which have none. */
  readonly port?: number | undefined;
}

/** What a name server knows: the records of the name, or none, if it says that there are none. */
export interface Answer {
  readonly hosts: readonly Host[];
  /** How long that holds, by the server's word; 0 if it says nothing about it. */
  readonly ttlMs: number;
  /** What had no room in the message. */
  readonly missing: "nothing" | "addresses" | "records";
}

/** Of an instance everything but its service: from an SRV record and an address of its target, or an address alone. */
export interface Host extends Omit<InstanceInit, "service"> {
  readonly priority: number;
  /** As the record has it. */
  readonly weight: number;
}

export function encodeQuestion({ name, type }: Question, id: number): Buffer {
  const question = { name, type, class: "IN" } as const;
  // What fits into a datagram on every path (DNS flag day 2020). Who says nothing gets 512 bytes.
  const edns = { udpPayloadSize: 1_232, extendedRcode: 0, ednsVersion: 0, flags: 0, flag_do: false };
  const opt: OptAnswer = { type: "OPT", name: ".", ...edns, options: [] };
  return encode({ type: "query", id, flags: RECURSION_DESIRED, questions: [question], additionals: [opt] });
}

/**
 * Reads a message as the answer to a question that was asked with this id.
 *
 * @returns undefined if it has another id: a late answer to somebody else, or a forged one.
 * @throws DnsError if it makes no sense, or says that the server could not answer. That a name does not exist, or has no
 * record of the type, is an answer.
 */
export function decodeAnswer(message: Buffer, question: Question, id: number): Answer | undefined {
  if (message.length < 2 || message.readUInt16BE() !== id) return undefined;
  const what = keyOf(question);
  const { rcode, flag_qr, flag_tc, questions = [], answers = [], authorities = [], additionals = [] } = parse(message);
  // A server that did not even understand the question need not repeat it.
  if (rcode !== "NOERROR" && rcode !== "NXDOMAIN") throw new DnsError(`${rcode} for ${what}`, { code: rcode });
  if (!flag_qr || questions.map(keyOf).join() !== what) throw new DnsError(`what came is no answer to ${what}`);

  const all = [...answers, ...additionals].filter((record) => record.type !== "OPT");
  const byOwner = Map.groupBy(all, keyOf);
  let owner = question.name;
  // Another name for it, as long as there is one. Each takes a record, so that a circle ends too.
  for (let left = answers.length; left > 0; left--) {
    const [alias] = byOwner.get(keyOf({ type: "CNAME", name: owner })) ?? [];
    if (alias?.type === "CNAME") owner = alias.data;
  }
  const records = byOwner.get(keyOf({ type: question.type, name: owner })) ?? [];
  const hosts = records.flatMap((record) => hostsOf(record, byOwner, question.port));
  const addresses = hosts.filter(({ host }) => isIP(host) > 0).length;
  // Addresses that do not fit are left out in silence (RFC 2181), and others each time.
  const missing = flag_tc ? "records" : addresses > 0 && addresses < hosts.length ? "addresses" : "nothing";
  if (records.length > 0) return { hosts, ttlMs: Math.min(...all.map(ttlMsOf)), missing };

  const soa = authorities.find((record) => record.type === "SOA");
  // A referral, or an alias that nobody followed, is not the word of who knows.
  if (soa === undefined && rcode === "NOERROR" && answers.length + authorities.length > 0) {
    throw new DnsError(`the server refers to others for ${what}`);
  }
  const ttlMs = soa === undefined ? 0 : Math.min(ttlMsOf(soa), (soa.data.minimum ?? 0) * 1_000);
  return { hosts, ttlMs, missing };
}

/** `SRV lorem.example`: names are the same in upper and lower case. */
export function keyOf({ type, name }: { readonly type: string; readonly name: string }): string {
  return `${type} ${name.toLowerCase()}`;
}

function parse(message: Buffer): DecodedPacket & { readonly rcode: string } {
  try {
    return decode(message) as DecodedPacket & { readonly rcode: string };
  } catch (cause) {
    throw new DnsError("the answer cannot be read", { cause });
  }
}

function hostsOf(record: ResourceRecord, byOwner: ReadonlyMap<string, ResourceRecord[]>, port = 0): readonly Host[] {
  if (record.type !== "SRV") return addressesIn([record]).map((host) => ({ host, port, priority: 0, weight: 1 }));
  const { priority = 0, weight = 0, ...srv } = record.data;
  const target = srv.target.toLowerCase();
  if (target === ".") return []; // "the service is decidedly not available" (RFC 2782)
  // IPv4 where there is any: the others belong to the same hosts.
  const addresses = byOwner.get(`A ${target}`) ?? byOwner.get(`AAAA ${target}`);
  const places = addresses === undefined ? [target] : addressesIn(addresses);
  const metadata = { target, priority: String(priority) };
  return places.map((host) => {
    // By its name, which a host keeps when it gets another address.
    const id = `${target}:${srv.port}${places.length > 1 ? `@${host}` : ""}`;
    return { id, host, port: srv.port, priority, weight: weight / places.length, metadata };
  });
}

function addressesIn(records: readonly ResourceRecord[]): readonly string[] {
  return [...new Set(records.flatMap((each) => (each.type === "A" || each.type === "AAAA" ? [each.data] : [])))];
}

/** A number with the highest bit set counts as 0 (RFC 2181). */
function ttlMsOf({ ttl = 0 }: { readonly ttl?: number | undefined }): number {
  return ttl < 2 ** 31 ? ttl * 1_000 : 0;
}

/** Whether all priorities are taken, or only the first that has anybody. */
export type Priorities = "first" | "all";

/**
 * Reads hosts as instances.
 *
 * Weights are such that they are drawn as RFC 2782 says: all hosts of weight 0 share what one of weight 1 gets.
 */
export function readHosts(
  hosts: readonly Host[],
  { service, tags }: NormalizedQuery,
  priorities: Priorities,
): readonly Reading[] {
  const zeros = Map.groupBy(hosts, ({ priority, weight }) => (weight === 0 ? priority : undefined));
  // Servers rotate their records: of two for one target and port, the same one counts every time.
  const sorted = hosts.toSorted((a, b) => a.priority - b.priority || b.weight - a.weight);
  let first: number | undefined;
  return sorted.flatMap(({ priority, ...host }) => {
    const weight = host.weight || 1 / (zeros.get(priority)?.length ?? 1);
    const reading = readRecord(host, () => createInstance({ ...host, service, tags, weight }));
    if (reading.instance === undefined) return [reading];
    first ??= priority;
    return priorities === "all" || priority === first ? [reading] : [];
  });
}
