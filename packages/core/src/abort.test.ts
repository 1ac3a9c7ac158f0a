import { getEventListeners } from "node:events";
import { describe, expect, it } from "vitest";
import { untilAborted } from "./abort.ts";

const reason = new Error("enough");
const failure = new Error("failed");
const never = new Promise<never>(() => undefined);

describe("untilAborted", () => {
  it("settles as the work does, with and without a signal", async () => {
    const { signal } = new AbortController();
    await expect(untilAborted(Promise.resolve(1), signal)).resolves.toBe(1);
    await expect(untilAborted(Promise.resolve(1), undefined)).resolves.toBe(1);
    await expect(untilAborted(Promise.reject(failure), signal)).rejects.toBe(failure);
    await expect(untilAborted(Promise.reject(failure), undefined)).rejects.toBe(failure);
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  it("rejects with the very reason as soon as the signal aborts, and leaves no listener", async () => {
    const controller = new AbortController();
    const waiting = untilAborted(never, controller.signal);
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(1);
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    expect(getEventListeners(controller.signal, "abort")).toEqual([]);
  });

  it("rejects at once if the signal was aborted before, with whatever the reason is", async () => {
    await expect(untilAborted(never, AbortSignal.abort(reason))).rejects.toBe(reason);
    await expect(untilAborted(never, AbortSignal.abort("text"))).rejects.toBe("text");
    await expect(untilAborted(never, AbortSignal.abort())).rejects.toMatchObject({ name: "AbortError" });
  });

  it("makes a late rejection of the work nobody's unhandled one", async () => {
    const unhandled: unknown[] = [];
    const onUnhandled = (error: unknown): void => void unhandled.push(error);
    process.on("unhandledRejection", onUnhandled);
    const work = Promise.withResolvers<void>();
    await expect(untilAborted(work.promise, AbortSignal.abort(reason))).rejects.toBe(reason);
    work.reject(failure);
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", onUnhandled);
    expect(unhandled).toEqual([]);
  });
});
