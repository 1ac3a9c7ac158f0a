import { type ManualClock, manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { Connection } from "./connection.ts";
import { isDiscoveryError } from "./errors.ts";
import { Session } from "./session.ts";

const never = new AbortController().signal;

class ScriptedSession extends Session {
  readonly began = Promise.withResolvers<void>();
  readonly closings: unknown[] = [];
  override begin(): Promise<void> {
    return this.began.promise;
  }
  override async close(reason: unknown): Promise<void> {
    this.closings.push(reason);
    this.end(reason);
  }
}

class ScriptedConnection extends Connection<ScriptedSession> {
  readonly made: ScriptedSession[] = [];
  constructor({ env }: ManualClock) {
    super("scripted", env);
  }
  protected override open(): Promise<ScriptedSession> {
    const session = new ScriptedSession("scripted", { timeoutMs: 5_000, env: this.env });
    this.made.push(session);
    this.closing.addEventListener("abort", () => session.began.reject(this.closing.reason));
    return this.begun(session, this.closing);
  }
}

const setUp = () => {
  const clock = manualClock();
  return { clock, connection: new ScriptedConnection(clock) };
};
const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => expect.unreachable("it should have failed"),
    (error: unknown) => error,
  );

describe("a connection", () => {
  it("makes a session when it is needed, and one for all who need it", async () => {
    const { clock, connection } = setUp();
    await clock.advance(60_000);
    expect([connection.made.length, clock.pending]).toEqual([0, 0]);
    const asked = Promise.all([connection.session(never), connection.session(never)]);
    await clock.advance(0);
    connection.made[0]?.began.resolve();
    const [one, other] = await asked;
    expect([one === other, one === (await connection.session(never))]).toEqual([true, true]);
    expect(connection.made).toHaveLength(1);
  });

  it("throws away a session that cannot begin, says why, and makes no other within 200 ms", async () => {
    const { clock, connection } = setUp();
    const reason = new Error("refused");
    const first = failure(connection.session(never));
    await clock.advance(0);
    connection.made[0]?.began.reject(reason);
    expect(await first).toBe(reason);
    expect(connection.made[0]?.closings).toEqual([reason]);
    const next = connection.session(never);
    await clock.advance(199);
    expect(connection.made).toHaveLength(1);
    await clock.advance(1);
    connection.made[1]?.began.resolve();
    expect(await next).toBe(connection.made[1]);
  });

  it.each([
    ["at once after one that lasted", 10_000, 0],
    ["after a second if the last one died young", 1_000, 1_000],
  ])("makes the next session %s", async (_, livedMs, afterMs) => {
    const { clock, connection } = setUp();
    const first = connection.session(never);
    await clock.advance(0);
    connection.made[0]?.began.resolve();
    await clock.advance(livedMs);
    (await first).end(new Error("broken"));
    const next = connection.session(never);
    if (afterMs > 0) {
      await clock.advance(afterMs - 1);
      expect(connection.made).toHaveLength(1);
      await clock.advance(1);
    }
    await clock.advance(0);
    connection.made[1]?.began.resolve();
    expect(await next).toBe(connection.made[1]);
  });

  it("lets one go who does not want to wait, and serves the others", async () => {
    const { clock, connection } = setUp();
    const caller = new AbortController();
    const [mine, theirs] = [failure(connection.session(caller.signal)), connection.session(never)];
    caller.abort("enough");
    expect(await mine).toBe("enough");
    await clock.advance(0);
    connection.made[0]?.began.resolve();
    expect(await theirs).toBe(connection.made[0]);
  });

  it("ends its session when it is closed, and makes no other", async () => {
    const { clock, connection } = setUp();
    const first = connection.session(never);
    await clock.advance(0);
    connection.made[0]?.began.resolve();
    const session = await first;
    await connection.close();
    expect(isDiscoveryError(session.ended.reason, "CLOSED")).toBe(true);
    expect(isDiscoveryError(await failure(connection.session(never)), "CLOSED")).toBe(true);
    expect([connection.made.length, clock.pending]).toEqual([1, 0]);
  });

  it("ends everybody's waiting when it is closed, whatever they wait for", async () => {
    const { clock, connection } = setUp();
    const beginning = failure(connection.session(never));
    await clock.advance(0);
    await connection.close();
    expect(isDiscoveryError(await beginning, "CLOSED")).toBe(true);
    const { clock: other, connection: paused } = setUp();
    const first = failure(paused.session(never));
    await other.advance(0);
    paused.made[0]?.began.reject(new Error("refused"));
    await first;
    const waiting = failure(paused.session(never));
    await paused.close();
    expect(isDiscoveryError(await waiting, "CLOSED")).toBe(true);
    expect([paused.made.length, other.pending]).toEqual([1, 0]);
  });
});
