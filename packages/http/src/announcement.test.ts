import { memoryRegistry } from "@rollcall/core";
import { manualClock } from "@rollcall/testing";
import { describe, expect, it, onTestFinished } from "vitest";
import { type Announcement, createAnnouncement } from "./announcement.ts";

function announcement(drainMs = 1_000) {
  const clock = manualClock();
  const registry = memoryRegistry({ env: clock.env });
  onTestFinished(() => registry.close());
  const registrar = registry.registrar({ service: "lorem", host: "10.0.0.1", port: 80 });
  const made: Announcement = createAnnouncement(registrar, { drainMs, env: clock.env });
  return { clock, registry, made };
}

/** Whether it has settled by now. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  void promise.finally(() => (done = true));
  await new Promise((resolve) => setImmediate(resolve));
  return done;
}

describe("createAnnouncement", () => {
  it("registers, and on withdrawal deregisters at once and then waits for drainMs", async () => {
    const { clock, registry, made } = announcement();
    await made.register();
    expect(registry.instances("lorem")).toEqual([made.instance]);
    const withdrawing = made.withdraw();
    await clock.advance(0);
    expect(registry.instances("lorem")).toEqual([]);
    await clock.advance(999);
    expect(await settled(withdrawing)).toBe(false);
    await clock.advance(1);
    await withdrawing;
    expect(made.withdraw()).toBe(withdrawing);
    expect(clock.pending).toBe(0);
  });

  it("keeps the process alive while it waits", async () => {
    const { clock, made } = announcement();
    await made.register();
    const withdrawing = made.withdraw();
    await clock.advance(0);
    expect(clock.keptAlive).toBe(1);
    await clock.advance(1_000);
    await withdrawing;
  });

  it("does not wait if it never was in the registry", async () => {
    const { clock, registry, made } = announcement();
    registry.stop(new Error("down"));
    await expect(made.register()).rejects.toThrow("down");
    const withdrawing = made.withdraw();
    await clock.advance(0);
    expect(await settled(withdrawing)).toBe(true);
  });

  it("waits if it got into the registry later, by itself", async () => {
    const { clock, registry, made } = announcement();
    registry.stop(new Error("down"));
    await expect(made.register()).rejects.toThrow("down");
    registry.start();
    await clock.advance(5_000);
    expect(registry.instances("lorem")).toEqual([made.instance]);
    registry.stop(new Error("down again"));
    const withdrawing = made.withdraw();
    await clock.advance(999);
    expect(await settled(withdrawing)).toBe(false);
    await clock.advance(1);
    expect(await settled(withdrawing)).toBe(true);
  });

  it("ends the wait when hurried, before or meanwhile", async () => {
    for (const before of [true, false]) {
      const { clock, made } = announcement(60_000);
      await made.register();
      if (before) made.hurry();
      const withdrawing = made.withdraw();
      await clock.advance(0);
      made.hurry();
      await clock.advance(0);
      expect(await settled(withdrawing)).toBe(true);
    }
  });

  it("does not register once it is withdrawn", async () => {
    const { clock, registry, made } = announcement(0);
    const withdrawing = made.withdraw();
    await expect(made.register()).rejects.toMatchObject({ code: "CLOSED" });
    await clock.advance(10_000);
    await withdrawing;
    expect(registry.instances("lorem")).toEqual([]);
  });
});
