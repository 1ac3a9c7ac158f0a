import { startEtcd, serverSkipped, type TestServer } from "@rollcall/testing/servers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

let etcd: TestServer;

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const call = async (path: string, body: unknown): Promise<Record<string, unknown>> => {
  const response = await fetch(`${etcd.url}/v3/kv/${path}`, { method: "POST", body: JSON.stringify(body) });
  return (await response.json()) as Record<string, unknown>;
};
const has = async (key: string): Promise<boolean> => "kvs" in (await call("range", { key: base64(key) }));

describe.skipIf(serverSkipped("etcd"))("an etcd for tests", () => {
  beforeAll(async () => {
    etcd = await startEtcd({ faults: ["kill", "wipe"] });
  });

  afterAll(() => etcd?.close());

  it("does its work as soon as it is there", async () => {
    await call("put", { key: base64("early"), value: base64("x") });
    expect(await has("early")).toBe(true);
  });

  it("has its data again after it was killed", async () => {
    await call("put", { key: base64("lasting"), value: base64("x") });
    await etcd.restart({ wipe: false });
    expect(await has("lasting")).toBe(true);
  });

  it("has its older data again after they were saved and restored", async () => {
    await call("put", { key: base64("older"), value: base64("x") });
    await etcd.kill();
    await etcd.save();
    await etcd.start();
    await call("put", { key: base64("newer"), value: base64("x") });
    await etcd.kill();
    await etcd.restore();
    await etcd.start();
    expect([await has("older"), await has("newer")]).toEqual([true, false]);
  });

  it("has forgotten everything after a wipe", async () => {
    await call("put", { key: base64("doomed"), value: base64("x") });
    await etcd.restart({ wipe: true });
    expect(await has("doomed")).toBe(false);
  });
});
