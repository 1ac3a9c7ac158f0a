import { describe, expect, it } from "vitest";
import { type Closable, closable } from "./lifecycle.ts";

describe("closable", () => {
  it("runs once, and all calls share one promise", async () => {
    let runs = 0;
    const done = Promise.withResolvers<void>();
    const subject = closable(() => {
      runs++;
      return done.promise;
    });
    const first = subject.close();
    expect([subject.close(), subject[Symbol.asyncDispose]()]).toEqual([first, first]);
    expect(subject.close()).toBe(first);
    expect(subject[Symbol.asyncDispose]()).toBe(first);
    done.resolve();
    await first;
    expect(subject.close()).toBe(first);
    expect(runs).toBe(1);
  });

  it("runs synchronously inside the first call", () => {
    let runs = 0;
    void closable(async () => void runs++).close();
    expect(runs).toBe(1);
  });

  it("runs once even if closing comes back to close", async () => {
    let runs = 0;
    const subject: Closable = closable(async () => {
      runs++;
      await Promise.resolve(void subject.close());
    });
    await subject.close();
    expect(runs).toBe(1);
  });

  it("passes on that closing failed, every time, and does not try again", async () => {
    let runs = 0;
    const failure = new Error("failed");
    const subject = closable(async () => {
      runs++;
      throw failure;
    });
    await expect(subject.close()).rejects.toBe(failure);
    await expect(subject.close()).rejects.toBe(failure);
    expect(runs).toBe(1);
  });

  it("works with await using", async () => {
    let runs = 0;
    {
      await using subject = closable(async () => void runs++);
      expect(subject).toBeDefined();
    }
    expect(runs).toBe(1);
  });
});
