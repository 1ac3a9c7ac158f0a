import { manualClock } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import type { Answer, Question } from "./client.ts";
import type { NameServer } from "./exchange.ts";
import { resolver } from "./resolver.ts";

const QUESTION: Question = { name: "lorem.test", type: "SRV" };
const answer = (ttlMs = 0): Answer => ({ hosts: [], ttlMs, missing: "nothing" });

/** A resolver whose servers answer when, and as, the test says. */
function setUp(
  given: { servers?: number; reply?: (server: NameServer) => Promise<Answer>; random?: () => number } = {},
) {
  const clock = manualClock({ random: given.random ?? (() => 0) });
  const asked: { readonly port: number; readonly name: string; readonly atMs: number; readonly signal: AbortSignal }[] =
    [];
  const servers = Array.from({ length: given.servers ?? 1 }, (_, index) => ({ host: "10.0.0.1", port: index + 1 }));
  const state = { reply: given.reply ?? (() => Promise.resolve(answer())) };
  const resolve = resolver({
    servers: () => servers,
    exchange(server, { name }, signal) {
      asked.push({ port: server.port, name, atMs: clock.now(), signal });
      return state.reply(server);
    },
    timeoutMs: 2_000,
    intervalMs: 1_000,
    env: clock.env,
  });
  const ask = (question = QUESTION, signal = new AbortController().signal, seen?: Answer) =>
    resolve(question, seen, signal);
  /** The next answer after this one. */
  const next = (seen: Answer) => ask(QUESTION, undefined, seen);
  return { clock, asked, servers, state, ask, next };
}
const never = () => new Promise<Answer>(() => undefined);

describe("Resolver", () => {
  it("asks once for all who wait, in upper or lower case, and once per interval", async () => {
    const { clock, asked, ask } = setUp();
    await Promise.all(
      Array.from({ length: 200 }, (_, n) => ask(n % 2 ? QUESTION : { ...QUESTION, name: "LOREM.test" })),
    );
    await clock.advance(999);
    await Promise.all([ask(), ask()]);
    expect(asked).toHaveLength(1);
    await clock.advance(1);
    await Promise.all([ask(), ask()]);
    expect(asked.map(({ atMs }) => atMs)).toEqual([0, 1_000]);
  });

  it("tells names and types apart", async () => {
    const { asked, ask } = setUp();
    await Promise.all([ask(), ask({ ...QUESTION, type: "A" }), ask({ ...QUESTION, name: "ipsum.test" })]);
    expect(asked).toHaveLength(3);
  });

  it.each([
    [0, 1_000],
    [500, 1_000],
    [5_000, 5_000],
    [3_600_000, 30_000],
  ])("believes an answer with a TTL of %i ms for %i ms", async (ttlMs, holdsMs) => {
    const { clock, asked, ask, state } = setUp();
    state.reply = () => Promise.resolve(answer(ttlMs));
    await ask();
    await clock.advance(holdsMs - 1);
    await ask();
    expect(asked).toHaveLength(1);
    await clock.advance(1);
    await ask();
    expect(asked).toHaveLength(2);
  });

  it("spreads what it does over a fifth more", async () => {
    const { clock, asked, ask, next, state } = setUp({ random: () => 0.5 });
    state.reply = () => Promise.resolve(answer(5_000));
    void next(await ask());
    await clock.advance(5_499);
    expect(asked).toHaveLength(1);
    await clock.advance(1);
    expect(asked).toHaveLength(2);
  });

  it("waits for the interval after a failure too, and says then what is", async () => {
    const { clock, asked, ask, state } = setUp();
    state.reply = () => Promise.reject(new Error("down"));
    await expect(ask()).rejects.toThrow("down");
    state.reply = () => Promise.resolve(answer());
    const next = ask();
    await clock.advance(999);
    expect(asked).toHaveLength(1);
    await clock.advance(1);
    expect(await next).toEqual(answer());
  });

  it("gives who has seen it the next answer, in the same question as all others who have", async () => {
    const { clock, asked, ask, next, state } = setUp();
    const first = answer(5_000);
    state.reply = () => Promise.resolve(first);
    expect(await ask()).toBe(first);
    const second = answer(5_000);
    state.reply = () => Promise.resolve(second);
    const waiting = Promise.all([next(first), next(first)]);
    await clock.advance(4_999);
    expect(await ask(), "who comes meanwhile has it at once").toBe(first);
    expect(asked).toHaveLength(1);
    await clock.advance(1);
    expect(await waiting).toEqual([second, second]);
    expect(await next(first), "it was late").toBe(second);
    expect(asked.map(({ atMs }) => atMs)).toEqual([0, 5_000]);
  });

  it("tells all who wait that it failed", async () => {
    const { clock, asked, ask, next, state } = setUp();
    const first = await ask();
    state.reply = () => Promise.reject(new Error("down"));
    const waiting = Promise.allSettled([next(first), next(first)]);
    await clock.advance(1_000);
    expect((await waiting).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(asked).toHaveLength(2);
  });

  it("does not give an old answer after a failure", async () => {
    const { clock, ask, state } = setUp();
    await ask();
    await clock.advance(1_000);
    state.reply = () => Promise.reject(new Error("down"));
    await expect(ask()).rejects.toThrow("down");
    const next = ask();
    next.catch(() => undefined);
    await clock.advance(1_000);
    await expect(next).rejects.toThrow("down");
  });

  it("asks the next server when one fails or is silent, and first the one that answered last", async () => {
    const { clock, asked, ask, state } = setUp({ servers: 3 });
    state.reply = ({ port }) =>
      port === 1 ? Promise.reject(new Error("down")) : port === 2 ? never() : Promise.resolve(answer());
    const first = ask();
    await clock.advance(2_000);
    await first;
    expect(asked.map(({ port, atMs }) => [port, atMs])).toEqual([
      [1, 0],
      [2, 0],
      [3, 2_000],
    ]);
    expect(asked[1]?.signal.aborted).toBe(true);
    await ask();
    expect(asked.at(-1)?.port).toBe(3);
    state.reply = ({ port }) => (port === 3 ? Promise.reject(new Error("down")) : Promise.resolve(answer()));
    await clock.advance(1_000);
    await ask();
    expect(asked.slice(-2).map(({ port }) => port)).toEqual([3, 1]);
  });

  it("fails with what each server said, or with the error of the only one", async () => {
    const one = setUp({ reply: () => Promise.reject(new Error("down")) });
    await expect(one.ask()).rejects.toThrow(/^down$/);
    const two = setUp({ servers: 2, reply: ({ port }) => Promise.reject(new Error(`down ${port}`)) });
    await expect(two.ask()).rejects.toMatchObject({
      message: "dns: no name server has an answer: down 1; down 2",
      cause: { errors: [{ message: "down 1" }, { message: "down 2" }] },
    });
    await expect(setUp({ servers: 0 }).ask()).rejects.toThrow("there is none");
  });

  it("ends a question when the last who waits has left, and not before", async () => {
    const { clock, asked, ask } = setUp({ reply: never });
    const [one, two] = [new AbortController(), new AbortController()];
    const answers = [ask(QUESTION, one.signal), ask(QUESTION, two.signal)];
    one.abort(new Error("one left"));
    await expect(answers[0]).rejects.toThrow("one left");
    expect(asked[0]?.signal.aborted).toBe(false);
    two.abort(new Error("two left"));
    await expect(answers[1]).rejects.toThrow("two left");
    expect(asked[0]?.signal.aborted).toBe(true);
    await clock.advance(0);
    expect(clock.pending).toBe(0);
  });

  it("asks anew for who comes after the last has left", async () => {
    const { clock, asked, ask, state } = setUp({ reply: never });
    const controller = new AbortController();
    const left = ask(QUESTION, controller.signal);
    controller.abort(new Error("left"));
    await expect(left).rejects.toThrow("left");
    state.reply = () => Promise.resolve(answer());
    const next = ask();
    await clock.advance(1_000);
    expect(await next).toEqual(answer());
    expect(asked.map(({ atMs }) => atMs)).toEqual([0, 1_000]);
  });
});
