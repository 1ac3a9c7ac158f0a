import type { Instance } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { scriptedSink } from "./scripted-sink.ts";

const instance: Instance = {
  id: "lorem-1",
  service: "lorem",
  host: "10.0.0.1",
  port: 80,
  weight: 1,
  tags: [],
  metadata: {},
};
const open = (): AbortSignal => new AbortController().signal;

describe("scriptedSink", () => {
  it("accepts and records everything at first", async () => {
    const sink = scriptedSink({ name: "demo", renewEveryMs: 1_000 });
    const signal = open();
    const registration = await sink.register(instance, signal);
    expect([sink.name, registration.renewEveryMs, [...sink.registered.keys()]]).toEqual(["demo", 1_000, ["lorem-1"]]);
    await registration.renew?.(signal);
    await registration.remove(signal);
    await registration.remove(signal);
    expect(sink.operations).toEqual(["register", "renew", "remove", "remove"]);
    expect(sink.calls[0]).toEqual({ operation: "register", instance, signal });
    expect(sink.registered.size).toBe(0);
  });

  it("asks for no renewals unless it was told to", async () => {
    const registration = await scriptedSink().register(instance, open());
    expect(Object.keys(registration)).toEqual(["remove"]);
  });

  it("rejects an operation for good or a number of times, and still records it", async () => {
    const sink = scriptedSink();
    sink.reject("register", new Error("no leader"), 2);
    await expect(sink.register(instance, open())).rejects.toThrow("no leader");
    await expect(sink.register(instance, open())).rejects.toThrow("no leader");
    const registration = await sink.register(instance, open());
    sink.reject("remove", new Error("down"));
    for (let round = 0; round < 3; round++) await expect(registration.remove(open())).rejects.toThrow("down");
    expect([...sink.registered.keys()]).toEqual(["lorem-1"]);
    sink.accept("remove");
    await registration.remove(open());
    expect(sink.calls).toHaveLength(7);
  });

  it("hangs until it is told to accept", async () => {
    const sink = scriptedSink();
    sink.hang("register");
    let registered = false;
    const pending = sink.register(instance, open()).then(() => (registered = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect([registered, sink.registered.size]).toEqual([false, 0]);
    sink.accept();
    await pending;
    expect(sink.registered.size).toBe(1);
  });

  it("rejects a hanging call with the reason of its own signal, and changes nothing", async () => {
    const sink = scriptedSink();
    sink.hang("register");
    const controller = new AbortController();
    const pending = sink.register(instance, controller.signal);
    controller.abort(new Error("too late"));
    await expect(pending).rejects.toThrow("too late");
    await expect(sink.register(instance, controller.signal)).rejects.toThrow("too late");
    expect(sink.registered.size).toBe(0);
  });

  it("rejects renewals after it forgot, until the instance is registered again", async () => {
    const sink = scriptedSink({ renewEveryMs: 1_000 });
    const registration = await sink.register(instance, open());
    sink.forget();
    await expect(registration.renew?.(open())).rejects.toThrow("scripted does not know lorem-1");
    const again = await sink.register(instance, open());
    await again.renew?.(open());
    expect(sink.registered.size).toBe(1);
  });
});
