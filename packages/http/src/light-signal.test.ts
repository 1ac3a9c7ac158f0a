import { sleep, systemEnv, untilAborted } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { LightSignal } from "./light-signal.ts";

describe("a light signal", () => {
  it("does for core what an AbortSignal does", async () => {
    const signal = new LightSignal();
    const taken = signal as unknown as AbortSignal;
    const slept = sleep(systemEnv, 60_000, taken, { keepAlive: true });
    const waited = untilAborted(new Promise(() => undefined), taken);
    expect(() => signal.throwIfAborted()).not.toThrow();
    const reason = new Error("enough");
    signal.abort(reason);
    signal.abort(new Error("too late"));
    await expect(waited).rejects.toBe(reason);
    await slept;
    expect([signal.aborted, signal.reason]).toEqual([true, reason]);
    expect(() => signal.throwIfAborted()).toThrow("enough");
  });

  it("calls nobody who has left, and everybody else once", () => {
    const signal = new LightSignal();
    const called: string[] = [];
    const first = (): void => void called.push("first");
    signal.addEventListener("abort", first);
    signal.addEventListener("abort", () => void called.push("second"));
    signal.removeEventListener("abort", first);
    signal.abort(undefined);
    signal.abort(undefined);
    expect(called).toEqual(["second"]);
  });
});
