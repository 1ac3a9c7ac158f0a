import { EventEmitter } from "node:events";
import type { IWatchRequest, IWatchResponse } from "etcd3";
import { describe, expect, it } from "vitest";
import { type Watch, WatchStream } from "./watch-stream.ts";

/** A stream of which the test is the other end. */
class FakeDuplex extends EventEmitter {
  readonly written: IWatchRequest[] = [];
  cancelled = 0;

  write(request: IWatchRequest): void {
    this.written.push(request);
  }

  end(): void {
    this.emit("end");
  }

  /** As gRPC does it: the cancelled side hears an error. */
  cancel(): void {
    this.cancelled++;
    this.emit("error", new Error("1 CANCELLED"));
  }

  say(response: Partial<IWatchResponse>): void {
    const header = { cluster_id: "1", member_id: "1", revision: "1", raft_term: "1" };
    const empty = { header, watch_id: "0", created: false, canceled: false, compact_revision: "0", cancel_reason: "" };
    this.emit("data", { ...empty, events: [], ...response });
  }
}

function setUp() {
  const duplex = new FakeDuplex();
  const ends: unknown[] = [];
  const stream = new WatchStream(duplex, (error) => ends.push(error));
  return { duplex, ends, stream };
}
/** The next answer, whichever it is. */
const next = (watch: Watch) => watch.confirmed();
const request = (start_revision: number) => ({ start_revision });

describe("a watch stream", () => {
  it("asks for each watcher, and gives each its own answers", async () => {
    const { duplex, stream } = setUp();
    const [a, b] = [stream.watch(request(1)), stream.watch(request(2))];
    expect(duplex.written).toEqual([{ create_request: request(1) }, { create_request: request(2) }]);
    duplex.say({ created: true, watch_id: "5" });
    duplex.say({ created: true, watch_id: "6" });
    expect([(await next(a))?.watch_id, (await next(b))?.watch_id]).toEqual(["5", "6"]);
    const second = next(b);
    duplex.say({ watch_id: "6", compact_revision: "1" });
    duplex.say({ watch_id: "6", compact_revision: "2" });
    duplex.say({ watch_id: "5", compact_revision: "3" });
    expect((await second)?.compact_revision).toBe("1");
    expect((await next(b))?.compact_revision).toBe("2");
    expect((await next(a))?.compact_revision).toBe("3");
  });

  it("ignores answers that are nobody's: an unknown watcher, a creation nobody asked for, a cancelled watcher", async () => {
    const { duplex, ends, stream } = setUp();
    duplex.say({ watch_id: "99" });
    duplex.say({ created: true, watch_id: "5" });
    duplex.say({ created: true, canceled: true, watch_id: "-1" });
    const a = stream.watch(request(1));
    duplex.say({ created: true, watch_id: "6" });
    await next(a);
    a.cancel(new Error("enough"));
    duplex.say({ watch_id: "6" });
    duplex.say({ watch_id: "6", canceled: true });
    await expect(next(a)).rejects.toThrow("enough");
    expect(ends).toEqual([]);
  });

  it("tells etcd that a watcher is not wanted any more: at once, or when etcd has made it", async () => {
    const { duplex, stream } = setUp();
    const [a, b] = [stream.watch(request(1)), stream.watch(request(2))];
    duplex.say({ created: true, watch_id: "5" });
    await next(a);
    a.cancel(new Error("a"));
    a.cancel(new Error("again"));
    b.cancel(new Error("b"));
    expect(duplex.written.slice(2)).toEqual([{ cancel_request: { watch_id: "5" } }]);
    duplex.say({ created: true, watch_id: "6" });
    expect(duplex.written.slice(3)).toEqual([{ cancel_request: { watch_id: "6" } }]);
    await expect(next(a)).rejects.toThrow("a");
    await expect(next(b)).rejects.toThrow("b");
  });

  it("ends the waiting for a watcher that is cancelled, and for that one only", async () => {
    const { duplex, stream } = setUp();
    const [a, b] = [stream.watch(request(1)), stream.watch(request(2))];
    const [atA, atB] = [a.confirmed(), b.confirmed()];
    b.cancel(new Error("b"));
    await expect(atB).rejects.toThrow("b");
    duplex.say({ created: true, watch_id: "5" });
    expect((await atA)?.watch_id).toBe("5");
  });

  it("wakes the reader for each answer, and when there will be none any more", () => {
    const { duplex, stream } = setUp();
    const a = stream.watch(request(1));
    duplex.say({ created: true, watch_id: "5" });
    const seen: unknown[] = [];
    const wake = (): void => {
      try {
        seen.push(a.take()?.compact_revision);
      } catch (error) {
        seen.push(error);
      }
    };
    a.read({ wake });
    duplex.say({ watch_id: "5", compact_revision: "1" });
    duplex.say({ watch_id: "5", compact_revision: "2" });
    const enough = new Error("enough");
    a.cancel(enough);
    duplex.say({ watch_id: "5", compact_revision: "3" });
    expect(seen).toEqual(["0", "1", "2", enough]);
  });

  it("drops what a cancelled watcher has not read", async () => {
    const { duplex, stream } = setUp();
    const a = stream.watch(request(1));
    duplex.say({ created: true, watch_id: "5" });
    a.cancel(new Error("a"));
    await expect(next(a)).rejects.toThrow("a");
  });

  it("fails all watchers when it breaks, and says so once, although gRPC says it twice", async () => {
    const { duplex, ends, stream } = setUp();
    const [a, b] = [stream.watch(request(1)), stream.watch(request(2))];
    duplex.say({ created: true, watch_id: "5" });
    duplex.emit("error", new Error("14 UNAVAILABLE"));
    duplex.emit("end");
    expect((await next(a))?.created).toBe(true); // what came before is not lost
    for (const each of [a, b, stream.watch(request(3))]) {
      await expect(next(each)).rejects.toThrow("etcd: the watch stream broke: 14 UNAVAILABLE");
    }
    expect(ends).toMatchObject([{ message: "etcd: the watch stream broke: 14 UNAVAILABLE" }]);
    expect(duplex.written.length).toBe(2);
  });

  it("fails all watchers when etcd ends it in good order", async () => {
    const { duplex, ends, stream } = setUp();
    const a = stream.watch(request(1));
    duplex.emit("end");
    await expect(next(a)).rejects.toThrow("etcd: etcd ended the watch stream");
    expect(ends.length).toBe(1);
  });

  it("is closed once, which is no breakage", async () => {
    const { duplex, ends, stream } = setUp();
    const a = stream.watch(request(1));
    stream.close(new Error("closed"));
    stream.close(new Error("again"));
    await expect(next(a)).rejects.toThrow("closed");
    a.cancel(new Error("late"));
    expect([duplex.cancelled, duplex.written.length, ends]).toEqual([1, 1, [undefined]]);
  });

  it("hears no more requests once one was refused: others that wait are told, older watchers go on", async () => {
    const { duplex, ends, stream } = setUp();
    const [old, refused, waiting] = [stream.watch(request(1)), stream.watch(request(2)), stream.watch(request(3))];
    duplex.say({ created: true, watch_id: "5" });
    await next(old);
    duplex.say({ created: true, canceled: true, watch_id: "-1", cancel_reason: "permission denied" });
    expect((await next(refused))?.cancel_reason).toBe("permission denied");
    expect(await next(waiting)).toBeUndefined();
    expect(await next(stream.watch(request(4)))).toBeUndefined();
    expect(duplex.written.length).toBe(3);
    duplex.say({ watch_id: "5", compact_revision: "1" });
    expect((await next(old))?.compact_revision).toBe("1");
    refused.cancel(new Error("late"));
    waiting.cancel(new Error("late"));
    expect([duplex.cancelled, ends]).toEqual([0, []]);
    old.cancel(new Error("enough")); // the last one
    expect([duplex.cancelled, ends, duplex.written.length]).toEqual([1, [undefined], 3]);
  });

  it("is closed at once when its only watcher is refused, or its last one ends after that", async () => {
    const one = setUp();
    one.stream.watch(request(1));
    one.duplex.say({ created: true, canceled: true, watch_id: "-1" });
    expect([one.duplex.cancelled, one.ends]).toEqual([1, [undefined]]);
    const two = setUp();
    two.stream.watch(request(1));
    two.stream.watch(request(2));
    two.duplex.say({ created: true, watch_id: "5" });
    two.duplex.say({ created: true, canceled: true, watch_id: "-1" });
    expect(two.duplex.cancelled).toBe(0);
    two.duplex.say({ canceled: true, watch_id: "5", compact_revision: "9" });
    expect(two.duplex.cancelled).toBe(1);
  });

  it("holds nothing of 10,000 watchers that came and went", async () => {
    const { duplex, stream } = setUp();
    for (let n = 0; n < 10_000; n++) {
      const watch = stream.watch(request(n));
      duplex.say({ created: true, watch_id: `${n}` });
      await next(watch);
      watch.cancel(new Error("enough"));
      duplex.say({ canceled: true, watch_id: `${n}` });
    }
    const wanted = stream.watch(request(1));
    duplex.say({ created: true, watch_id: "1" });
    expect((await next(wanted))?.watch_id).toBe("1");
    expect(duplex.written.length).toBe(20_001);
  });
});
