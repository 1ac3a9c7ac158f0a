import { type NormalizedQuery, channels, systemEnv } from "@rollcall/core";
import { type ManualClock, manualClock } from "@rollcall/testing";
import { afterEach, describe, expect, it } from "vitest";
import { type FakeEtcd, WELL, created, fakeEtcd, header, kv, put, removed } from "../test/fake-etcd.ts";
import { EtcdConnection } from "./connection.ts";
import { etcdSource } from "./source.ts";

const RECORD = (port: number, more = {}) => JSON.stringify({ host: "h", port, ...more });
const key = (id: string): string => `/s/lorem/${id}`;

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

async function watching(
  kvs: readonly object[],
  more: { readonly clock?: ManualClock; readonly query?: Partial<NormalizedQuery> } = {},
) {
  const fake = await fakeEtcd({ ...WELL, Range: (call) => call.reply({ kvs }) });
  const env = more.clock?.env ?? systemEnv;
  const connection = new EtcdConnection({ hosts: ["h"], dial: () => fake.dial(), timeoutMs: 5_000, env });
  const source = etcdSource(connection, { service: "lorem", tags: [], passingOnly: true, ...more.query }, "/s", 45_000);
  const ending = new AbortController();
  const steps = source.watch(ending.signal)[Symbol.asyncIterator]();
  open.push(fake, {
    async [Symbol.asyncDispose]() {
      ending.abort(new Error("the test is over"));
      await connection.close();
    },
  });
  return {
    fake,
    ending,
    steps,
    /** The next set, as `id:port`. */
    next: async (): Promise<readonly string[] | "ended"> => {
      const step = await steps.next();
      return step.done === true ? "ended" : step.value.map(({ id, port }) => `${id}:${port}`);
    },
  };
}
/** Past the list, with a confirmed watcher, which has the id 7. */
async function watched(kvs: readonly object[], more?: Parameters<typeof watching>[1]) {
  const test = await watching(kvs, more);
  const first = await test.next();
  const second = test.next();
  second.catch(() => undefined); // looked at later, if at all
  const stream = await confirm(test.fake);
  return { ...test, first, second, stream };
}
async function confirm(fake: FakeEtcd, n = 1) {
  const stream = await fake.stream(n);
  await fake.request(stream, 1);
  stream.say(created(7));
  return stream;
}

describe("an etcd source", () => {
  it("lists the keys of the service, and watches them from the next revision on", async () => {
    const { fake, first } = await watched([kv(key("a"), RECORD(1)), kv(key("b"), RECORD(2))]);
    expect(first).toEqual(["a:1", "b:2"]);
    const { request } = await fake.call("Range");
    expect([request["key"], request["range_end"]].map(String)).toEqual(["/s/lorem/", "/s/lorem0"]);
    const { create_request } = await fake.request(await fake.stream(), 1);
    expect(create_request).toMatchObject({ start_revision: "11", key: request["key"], fragment: true });
  });

  it("applies what is put and deleted", async () => {
    const { stream, second, next } = await watched([kv(key("a"), RECORD(1))]);
    stream.say({ header: header(12), watch_id: 7, events: [put(key("b"), RECORD(2), 11), removed(key("a"), 12)] });
    expect(await second).toEqual(["b:2"]);
    stream.say({ header: header(13), watch_id: 7, events: [put(key("b"), RECORD(3), 13)] });
    expect(await next()).toEqual(["b:3"]);
  });

  it("takes a key that was put and deleted in one answer for deleted, and one that was put again for put", async () => {
    const { stream, second, next } = await watched([kv(key("a"), RECORD(1))]);
    const events = [put(key("b"), RECORD(2), 11), removed(key("b"), 12)];
    stream.say({ header: header(12), watch_id: 7, events });
    expect(await second).toEqual(["a:1"]);
    stream.say({ header: header(14), watch_id: 7, events: [removed(key("a"), 13), put(key("a"), RECORD(4), 14)] });
    expect(await next()).toEqual(["a:4"]);
  });

  it("skips changes that the list had already", async () => {
    const { stream, second } = await watched([kv(key("a"), RECORD(1), 9)]);
    stream.say({ header: header(10), watch_id: 7, events: [removed(key("a"), 8), put(key("x"), RECORD(9), 10)] });
    stream.say({ header: header(11), watch_id: 7, events: [put(key("b"), RECORD(2), 11)] });
    expect(await second).toEqual(["a:1", "b:2"]);
  });

  it("applies all parts of a change that comes in parts", async () => {
    const { stream, second, next } = await watched([]);
    stream.say({ header: header(11), watch_id: 7, fragment: true, events: [put(key("a"), RECORD(1), 11)] });
    stream.say({ header: header(11), watch_id: 7, events: [put(key("b"), RECORD(2), 11)] });
    expect([await second, await next()]).toEqual([["a:1"], ["a:1", "b:2"]]);
  });

  it("applies all changes to a watcher that catches up, though the first answer has the newest revision already", async () => {
    const { stream, second, next } = await watched([]);
    stream.say({ header: header(5_000), watch_id: 7, events: [put(key("a"), RECORD(1), 11)] });
    stream.say({ header: header(5_000), watch_id: 7, events: [put(key("b"), RECORD(2), 1_011)] });
    expect([await second, await next()]).toEqual([["a:1"], ["a:1", "b:2"]]);
  });

  it.each<[string, object]>([
    ["the log was compacted", { created: true, canceled: true, compact_revision: "20" }],
    ["the log was compacted later", { watch_id: 7, canceled: true, compact_revision: "20" }],
    ["another cluster answers", { header: header(50, "2"), watch_id: 7, events: [removed(key("a"), 50)] }],
  ])("ends when %s, so that everything is read anew", async (_, answer) => {
    const { stream, second } = await watched([kv(key("a"), RECORD(1))]);
    stream.say({ header: header(), ...answer });
    // A refusal of the creation is no watcher's after it was created: only the others reach this one.
    if ("created" in answer) stream.say({ header: header(), watch_id: 7, canceled: true, compact_revision: "20" });
    expect(await second).toBe("ended");
  });

  it("ends when the revision at which it is confirmed is older than its list", async () => {
    const { fake, next } = await watching([kv(key("a"), RECORD(1))]);
    await next();
    const ending = next();
    const stream = await fake.stream();
    await fake.request(stream, 1);
    stream.say(created(7, 9));
    expect(await ending).toBe("ended");
  });

  it("fails when etcd ends the watch for any other reason, and when the stream breaks", async () => {
    const one = await watched([kv(key("a"), RECORD(1))]);
    one.stream.say({ watch_id: 7, canceled: true, cancel_reason: "because" });
    await expect(one.second).rejects.toThrow('etcd: etcd ended the watch of service "lorem": because');
    const two = await watched([kv(key("a"), RECORD(1))]);
    two.stream.break(14);
    await expect(two.second).rejects.toThrow("etcd: the watch stream broke: 14 UNAVAILABLE: broken");
  });

  it("reads everything anew every 34 to 56 seconds, whatever the watch says", async () => {
    const clock = manualClock({ random: () => 0 });
    const { fake, second, stream, next } = await watched([kv(key("a"), RECORD(1))], { clock });
    stream.say({ header: header(11), watch_id: 7, events: [put(key("b"), RECORD(2), 11)] });
    expect(await second).toEqual(["a:1", "b:2"]);
    fake.on("Range", (call) => call.reply({ header: header(20), kvs: [kv(key("c"), RECORD(3))] }));
    const relisted = next();
    await clock.advance(33_749);
    expect(fake.calls.filter(({ method }) => method === "Range").length).toBe(1);
    await clock.advance(1);
    expect(await relisted).toEqual(["c:3"]);
    const after = next();
    stream.say({ header: header(20), watch_id: 7, events: [put(key("b"), RECORD(2), 15)] }); // was in the list
    stream.say({ header: header(21), watch_id: 7, events: [put(key("d"), RECORD(4), 21)] });
    expect(await after).toEqual(["c:3", "d:4"]);
  });

  it.each<[string, object]>([
    ["an older revision", { header: header(10) }],
    ["another cluster", { header: header(99, "2") }],
  ])("ends when a later list has %s", async (_, answer) => {
    const clock = manualClock({ random: () => 0 });
    const { fake, stream, second, next } = await watched([kv(key("a"), RECORD(1))], { clock });
    stream.say({ header: header(11), watch_id: 7, events: [put(key("b"), RECORD(2), 11)] });
    await second;
    fake.on("Range", (call) => call.reply({ ...answer, kvs: [] }));
    const ending = next();
    await clock.advance(33_750);
    expect(await ending).toBe("ended");
  });

  it("fails when a later list is refused", async () => {
    const clock = manualClock({ random: () => 0 });
    const { fake, second, stream, next } = await watched([kv(key("a"), RECORD(1))], { clock });
    stream.say({ header: header(11), watch_id: 7, events: [put(key("b"), RECORD(2), 11)] });
    await second;
    fake.on("Range", (call) => call.refuse(7, "etcdserver: permission denied"));
    const failing = expect(next()).rejects.toMatchObject({
      name: "EtcdError",
      code: 7,
      message: 'etcd: listing service "lorem": etcdserver: permission denied (PERMISSION_DENIED)',
    });
    await clock.advance(33_750);
    await failing;
  });

  it("leaves out and reports what is no record, and shows only instances with all the tags", async () => {
    const reports: unknown[] = [];
    const unsubscribe = channels.badRecord.subscribe((message) => void reports.push(message));
    const bad = Array.from({ length: 12 }, (_, n) => kv(key(`x${n}`), "junk"));
    const { first, second, stream } = await watched(
      [kv(key("a"), RECORD(1, { tags: ["t", "u"] })), kv(key("b"), RECORD(2, { tags: ["t"] })), ...bad],
      { query: { tags: ["t", "u"] } },
    );
    expect(first).toEqual(["a:1"]);
    stream.say({ header: header(11), watch_id: 7, events: [put(key("y"), "{}", 11)] });
    expect(await second).toEqual(["a:1"]);
    unsubscribe();
    expect(reports).toMatchObject([
      { registry: "etcd", service: "lorem", skipped: 12, errors: { length: 10 } },
      { skipped: 1, errors: [{ record: { key: key("y"), value: "{}" } }] },
    ]);
  });

  it("fails if nothing but junk is there, and takes no key at all for an empty service", async () => {
    const junk = await watching([kv(key("a"), "junk"), kv(key("b"), "{")]);
    await expect(junk.next()).rejects.toThrow('etcd: none of 2 records of service "lorem" is usable');
    expect(await (await watching([])).next()).toEqual([]);
  });

  it("lets the last instance leave although keys of other programs stay", async () => {
    const foreign = [kv(key(""), ""), kv(key("config/timeout"), "5")];
    expect(await (await watching(foreign)).next()).toEqual([]);
  });

  it("tells etcd when nobody listens any more, and asks nothing more", async () => {
    const clock = manualClock();
    const { fake, ending, stream, second } = await watched([], { clock });
    while (clock.pending !== 1) await clock.advance(1); // it is confirmed, and the next list is planned
    ending.abort(new Error("enough"));
    await expect(second).rejects.toThrow("enough");
    expect(await fake.request(stream, 2)).toMatchObject({ cancel_request: { watch_id: "7" } });
    expect(clock.pending).toBe(0);
    expect(stream.ended).toBe(false);
  });
});
