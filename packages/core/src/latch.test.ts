import { getEventListeners } from "node:events";
import { describe, expect, it } from "vitest";
import { rejection, settlement } from "../test/settlement.ts";
import { Latch } from "./latch.ts";

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

describe("Latch", () => {
  it("holds all who wait until it opens, and nobody afterwards", async () => {
    const latch = new Latch();
    const seen = [settlement(latch.wait()), settlement(latch.wait(new AbortController().signal))];
    await turn();
    expect(seen.map(({ state }) => state)).toEqual(["pending", "pending"]);
    latch.open();
    await turn();
    expect(seen.map(({ state }) => state)).toEqual(["fulfilled", "fulfilled"]);
    await latch.wait();
  });

  it("rejects all who wait when it fails, and all who come later", async () => {
    const latch = new Latch();
    const error = new Error("closed");
    const waiting = rejection(latch.wait());
    latch.fail(error);
    expect(await waiting).toBe(error);
    latch.open();
    expect(await rejection(latch.wait())).toBe(error);
  });

  it("may fail after it was open", async () => {
    const latch = new Latch();
    latch.open();
    const before = latch.wait();
    latch.fail("closed");
    await before;
    expect(await rejection(latch.wait())).toBe("closed");
  });

  it("may fail with nothing at all", async () => {
    const latch = new Latch();
    latch.fail(undefined);
    expect(await rejection(latch.wait())).toBe(undefined);
  });

  it("rejects one who is aborted with the reason, and lets the others wait", async () => {
    const latch = new Latch();
    const controller = new AbortController();
    const [leaves, stays] = [settlement(latch.wait(controller.signal)), settlement(latch.wait())];
    controller.abort("left");
    await turn();
    expect([leaves, stays.state]).toEqual([{ state: "rejected", error: "left" }, "pending"]);
    latch.open();
    await turn();
    expect(stays.state).toBe("fulfilled");
    expect(await rejection(latch.wait(controller.signal))).toBe("left");
  });

  it("leaves no listener on a signal, however the waiting ended", async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const [opens, fails] = [new Latch(), new Latch()];
    const waiting = [settlement(opens.wait(signal)), settlement(fails.wait(signal))];
    expect(getEventListeners(signal, "abort")).toHaveLength(2);
    opens.open();
    fails.fail("closed");
    await turn();
    expect(waiting.map(({ state }) => state)).toEqual(["fulfilled", "rejected"]);
    await opens.wait(signal);
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
  });
});
