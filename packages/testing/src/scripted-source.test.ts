import type { Instance } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { scriptedSource } from "./scripted-source.ts";

const instance = (port: number): Instance => ({
  id: `lorem-${port}`,
  service: "lorem",
  host: "10.0.0.1",
  port,
  weight: 1,
  tags: [],
  metadata: {},
});

async function collect(watch: AsyncIterable<readonly Instance[]>): Promise<(readonly Instance[])[]> {
  const sets: (readonly Instance[])[] = [];
  for await (const instances of watch) sets.push(instances);
  return sets;
}

describe("scriptedSource", () => {
  it("gives a watch what was pushed before it started, in order", async () => {
    const source = scriptedSource("demo");
    source.yield([instance(1)]);
    source.yield([]);
    source.end();
    expect(source.queued).toBe(3);
    expect(await collect(source.watch(AbortSignal.abort()))).toEqual([]);
    expect(await collect(source.watch(new AbortController().signal))).toEqual([[instance(1)], []]);
    expect([source.name, source.watches, source.active, source.queued]).toEqual(["demo", 2, 0, 0]);
  });

  it("wakes a watch that waits", async () => {
    const source = scriptedSource();
    const watch = source.watch(new AbortController().signal)[Symbol.asyncIterator]();
    const next = watch.next();
    source.yield([instance(1)]);
    expect(await next).toEqual({ done: false, value: [instance(1)] });
    expect(source.active).toBe(1);
    await watch.return?.();
    expect([source.active, source.aborted]).toEqual([0, 0]);
  });

  it("hands on the very array it was given", async () => {
    const source = scriptedSource();
    const given = Object.freeze([instance(1), instance(1)]);
    source.yield(given);
    for await (const instances of source.watch(new AbortController().signal)) {
      expect(instances).toBe(given);
      break;
    }
  });

  it("continues with the next steps in the next watch after a failure or an end", async () => {
    const source = scriptedSource();
    const signal = new AbortController().signal;
    source.fail(new Error("refused"));
    source.end();
    source.yield([instance(2)]);
    source.end();
    await expect(collect(source.watch(signal))).rejects.toThrow("refused");
    expect(await collect(source.watch(signal))).toEqual([]);
    expect(await collect(source.watch(signal))).toEqual([[instance(2)]]);
    expect([source.watches, source.active, source.aborted]).toEqual([3, 0, 0]);
  });

  it("ends at once when its signal aborts, and leaves the next step to the next watch", async () => {
    const source = scriptedSource();
    const [first, second] = [new AbortController(), new AbortController()];
    const ended = collect(source.watch(first.signal));
    expect(source.active).toBe(1);
    first.abort();
    source.yield([instance(1)]);
    source.end();
    expect(await ended).toEqual([]);
    expect([source.active, source.aborted, source.queued]).toEqual([0, 1, 2]);
    expect(await collect(source.watch(second.signal))).toEqual([[instance(1)]]);
  });

  it("counts a watch only when it is iterated", () => {
    const source = scriptedSource();
    source.watch(new AbortController().signal);
    expect([source.watches, source.active]).toEqual([0, 0]);
  });
});
