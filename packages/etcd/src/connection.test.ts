import { type ManualClock, manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import type { EtcdApi } from "./client.ts";
import { EtcdConnection } from "./connection.ts";
import type { EtcdSession } from "./session.ts";

const never = new AbortController().signal;

/** Hosts that answer, refuse or are silent when the test says so. */
function setUp(hosts: readonly string[], clock: ManualClock = manualClock()) {
  const dialled: { readonly host: string; answer(): void; refuse(message: string): void; closed: number }[] = [];
  const connection = new EtcdConnection({
    hosts,
    timeoutMs: 5_000,
    env: clock.env,
    dial(host) {
      const status = Promise.withResolvers<object>();
      const one = {
        host,
        closed: 0,
        answer: () => status.resolve({}),
        refuse: (message: string) => status.reject(new Error(message)),
      };
      dialled.push(one);
      // Of a client a session needs no more to begin.
      const api = { maintenance: { status: () => status.promise } } as unknown as EtcdApi;
      return {
        host,
        api,
        close: async () => {
          one.closed++;
        },
      };
    },
  });
  return { clock, connection, dialled, hosts: () => dialled.map(({ host }) => host) };
}
const failure = (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => expect.unreachable("it should have failed"),
    (error: unknown) => error as Error,
  );
const closings = (dialled: readonly { readonly closed: number }[]) => dialled.map(({ closed }) => closed);

describe("an etcd connection", () => {
  it("dials nobody before it is needed, and then once for all who need it", async () => {
    const { clock, connection, dialled } = setUp(["a"]);
    await clock.advance(60_000);
    expect([dialled.length, clock.pending]).toEqual([0, 0]);
    const sessions = Promise.all([connection.session(never), connection.session(never)]);
    await clock.advance(0);
    dialled[0]?.answer();
    const [one, two] = await sessions;
    expect(one).toBe(two);
    expect(await connection.session(never)).toBe(one);
    expect([dialled.length, clock.pending]).toEqual([1, 0]);
  });

  it("calls the next host when one is silent for 250 ms, and takes the first that answers; the losers are ended", async () => {
    const { clock, connection, dialled, hosts } = setUp(["a", "b", "c"]);
    const session = connection.session(never);
    await clock.advance(249);
    expect(hosts()).toEqual(["a"]);
    await clock.advance(1);
    expect(hosts()).toEqual(["a", "b"]);
    await clock.advance(250);
    expect(hosts()).toEqual(["a", "b", "c"]);
    dialled[1]?.answer();
    expect((await session).host).toBe("b");
    dialled[0]?.answer(); // too late
    dialled[2]?.refuse("too late");
    await clock.advance(10_000);
    expect(closings(dialled)).toEqual([1, 0, 1]);
    expect([hosts().length, clock.pending]).toEqual([3, 0]);
  });

  it("ends a loser that answers in the same moment", async () => {
    const { clock, connection, dialled } = setUp(["a", "b"]);
    const session = connection.session(never);
    await clock.advance(250);
    for (const each of dialled) each.answer();
    const winner = (await session).host;
    await clock.advance(0);
    expect(dialled.map(({ host, closed }) => [host, closed])).toEqual([
      ["a", winner === "a" ? 0 : 1],
      ["b", winner === "b" ? 0 : 1],
    ]);
  });

  it("calls the next host at once when one refuses", async () => {
    const { clock, connection, dialled, hosts } = setUp(["a", "b"]);
    const session = connection.session(never);
    await clock.advance(0);
    dialled[0]?.refuse("ECONNREFUSED");
    await clock.advance(0);
    expect(hosts()).toEqual(["a", "b"]);
    dialled[1]?.answer();
    expect((await session).host).toBe("b");
  });

  it("begins with another host each time", async () => {
    const { clock, connection, dialled } = setUp(["a", "b"]);
    const seen: string[] = [];
    for (let n = 0; n < 4; n++) {
      const next = connection.session(never);
      await clock.advance(200);
      dialled.at(-1)?.answer();
      const session = await next;
      seen.push(session.host);
      await clock.advance(2_000);
      session.end(new Error("broken"));
    }
    expect(seen).toEqual(["a", "b", "a", "b"]);
  });

  it("waits a second after a connection that did not last, for each costs several requests", async () => {
    const { clock, connection, dialled } = setUp(["a"]);
    const first = connection.session(never);
    await clock.advance(0);
    dialled[0]?.answer();
    const session = await first;
    await clock.advance(1_500);
    session.end(new Error("broken"));
    void connection.session(never).catch(() => undefined);
    await clock.advance(999);
    expect(dialled.length).toBe(1);
    await clock.advance(1);
    expect(dialled.length).toBe(2);
  });

  it("calls a silent host again after a second, for the way may be free now", async () => {
    const { clock, connection, dialled } = setUp(["a"]);
    const session = connection.session(never);
    await clock.advance(2_500);
    expect(dialled.length).toBe(3);
    dialled[2]?.answer();
    await session;
    expect(closings(dialled)).toEqual([1, 1, 0]);
  });

  it("gives up when nobody answers in time, and says what each host said", async () => {
    const { clock, connection, dialled } = setUp(["a", "b"]);
    const failed = failure(connection.session(never));
    await clock.advance(0);
    dialled[0]?.refuse("ECONNREFUSED");
    await clock.advance(4_999);
    expect(dialled.length).toBeLessThan(8);
    await clock.advance(1);
    const error = await failed;
    expect(error.message).toMatch(
      /^etcd: no host can be used \(a: etcd: asking a: ECONNREFUSED; b: no answer within 5000 ms\)$/,
    );
    expect(closings(dialled).every((closed) => closed === 1)).toBe(true);
    expect(clock.pending).toBe(0);
  });

  it("says of a single host just what it said", async () => {
    const { clock, connection, dialled } = setUp(["a"]);
    const failed = failure(connection.session(never));
    await clock.advance(0);
    dialled[0]?.refuse("ECONNREFUSED");
    expect((await failed).message).toBe("etcd: asking a: ECONNREFUSED");
    const silent = failure(connection.session(never));
    await clock.advance(5_200);
    expect((await silent).message).toMatch(/no answer within 5000 ms|timed out after 5000 ms/);
  });

  it("seeks a new connection five times a second at most, however often it is asked", async () => {
    const { clock, connection, dialled } = setUp(["a"]);
    for (let ms = 0; ms < 10_000; ms += 10) {
      void connection.session(never).catch(() => undefined);
      await clock.advance(10);
      for (const each of dialled) each.refuse("ECONNREFUSED");
    }
    expect(dialled.length).toBeGreaterThan(40);
    expect(dialled.length).toBeLessThanOrEqual(51);
  });

  it("lets one who waits go at once, and goes on for the others", async () => {
    const { clock, connection, dialled } = setUp(["a"]);
    const caller = new AbortController();
    const gone = failure(connection.session(caller.signal));
    const session = connection.session(never);
    await clock.advance(0);
    const reason = new Error("enough");
    caller.abort(reason);
    expect(await gone).toBe(reason);
    dialled[0]?.answer();
    expect((await session).open).toBe(true);
  });

  it.each<[string, (clock: ManualClock) => Promise<void>]>([
    ["before it has dialled", async () => undefined],
    ["while hosts are silent", (clock) => clock.advance(300)],
  ])("can be closed %s: everybody is told, and nothing is left", async (_, wait) => {
    const { clock, connection, dialled } = setUp(["a", "b"]);
    const failed = failure(connection.session(never));
    await wait(clock);
    await connection.close();
    expect(await failed).toMatchObject({ code: "CLOSED" });
    for (const each of dialled) each.answer();
    await clock.advance(10_000);
    expect(closings(dialled).every((closed) => closed === 1)).toBe(true);
    expect(clock.pending).toBe(0);
    expect(await failure(connection.session(never))).toMatchObject({ code: "CLOSED" });
    await connection.close();
  });

  it("can be closed while it pauses, and in the moment in which a host answers", async () => {
    const { clock, connection, dialled } = setUp(["a"]);
    const first = failure(connection.session(never));
    await clock.advance(0);
    dialled[0]?.refuse("ECONNREFUSED");
    await first;
    const pausing = failure(connection.session(never));
    await clock.advance(100);
    await connection.close();
    expect(await pausing).toMatchObject({ code: "CLOSED" });
    expect([dialled.length, clock.pending]).toEqual([1, 0]);

    // Every number of microtasks between the answer and the end.
    for (let turns = 0; turns < 20; turns++) {
      const late = setUp(["a"]);
      const connecting: Promise<EtcdSession | undefined> = late.connection.session(never).catch(() => undefined);
      await late.clock.advance(0);
      late.dialled[0]?.answer();
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      await late.connection.close();
      expect((await connecting)?.open ?? false).toBe(false);
      expect(closings(late.dialled)).toEqual([1]);
    }
  });
});
