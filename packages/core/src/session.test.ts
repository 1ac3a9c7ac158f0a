import { manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { isDiscoveryError } from "./errors.ts";
import { Session } from "./session.ts";

class Broken extends Error {}

class ScriptedSession extends Session {
  override async begin(): Promise<void> {}
  override async close(reason: unknown): Promise<void> {
    this.end(reason);
  }
  protected override isFatal(error: unknown): boolean {
    return error instanceof Broken;
  }
  hear(): void {
    this.heard();
  }
  ask<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>, timeoutMs?: number): Promise<T> {
    return this.bounded("asking", signal, work, timeoutMs);
  }
}

const never = new AbortController().signal;
const forever = () => new Promise<never>(() => undefined);
const setUp = () => {
  const clock = manualClock();
  return { clock, session: new ScriptedSession("scripted", { timeoutMs: 5_000, env: clock.env }) };
};
const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => expect.unreachable("it should have failed"),
    (error: unknown) => error,
  );

describe("a session", () => {
  it("does what it is asked, and leaves no timer and no listener", async () => {
    const { clock, session } = setUp();
    expect(await session.ask(never, async () => "done")).toBe("done");
    expect([session.open, clock.pending]).toEqual([true, 0]);
  });

  it("rejects with the caller's reason at once, tells the work, and lives on", async () => {
    const { session } = setUp();
    const [caller, reason] = [new AbortController(), new Broken("enough")];
    let inner: AbortSignal | undefined;
    const asking = failure(
      session.ask(caller.signal, (signal) => {
        inner = signal;
        return forever();
      }),
    );
    caller.abort(reason);
    expect(await asking).toBe(reason);
    expect([inner?.aborted, session.open]).toEqual([true, true]);
    expect(await failure(session.ask(caller.signal, forever))).toBe(reason);
  });

  it("ends with all that goes on over it, and then does nothing more", async () => {
    const { session } = setUp();
    const all = [failure(session.ask(never, forever)), failure(session.ask(never, forever))];
    const reason = new Error("broken");
    session.end(reason);
    session.end(new Error("again"));
    expect(await Promise.all(all)).toEqual([reason, reason]);
    expect(session.ended.reason).toBe(reason);
    expect(await failure(session.ask(never, async () => "done"))).toBe(reason);
  });

  it("ends when an answer does not come in time, and nothing else did", async () => {
    const { clock, session } = setUp();
    session.hear();
    await clock.advance(1);
    const asking = failure(session.ask(never, forever));
    await clock.advance(4_999);
    expect(session.open).toBe(true);
    await clock.advance(1);
    const error = await asking;
    expect(isDiscoveryError(error, "TIMEOUT")).toBe(true);
    expect(String(error)).toContain("scripted: asking timed out after 5000 ms");
    expect(session.ended.reason).toBe(error);
  });

  it("lives on when another answer came meanwhile, or when the time was the caller's own and something came", async () => {
    const { clock, session } = setUp();
    const asking = failure(session.ask(never, forever, 100));
    await clock.advance(50);
    session.hear();
    await clock.advance(50);
    expect(isDiscoveryError(await asking, "TIMEOUT")).toBe(true);
    expect(session.open).toBe(true);
  });

  it("ends when a failure says that it is ill, and not because of an answer that somebody does not like", async () => {
    const { session } = setUp();
    await failure(session.ask(never, () => Promise.reject(new Error("no"))));
    expect(session.open).toBe(true);
    const error = new Broken("gone");
    expect(await failure(session.ask(never, () => Promise.reject(error)))).toBe(error);
    expect(session.ended.reason).toBe(error);
  });

  it("says when it died, if it died young", async () => {
    const { clock, session: young } = setUp();
    await clock.advance(1_999);
    young.end(new Error("broken"));
    expect(young.diedYoungMs).toBe(clock.env.now());
    const old = new ScriptedSession("scripted", { timeoutMs: 5_000, env: clock.env });
    await clock.advance(2_000);
    old.end(new Error("broken"));
    expect(old.diedYoungMs).toBeUndefined();
  });
});
