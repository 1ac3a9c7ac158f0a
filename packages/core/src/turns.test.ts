import { getEventListeners } from "node:events";
import { manualClock, seededRandom } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { type Turn, Turns } from "./turns.ts";

const never = new AbortController().signal;
/** Lets everything happen that can happen now. */
const settle = (): Promise<void> => manualClock().advance(0);

/** Asks for a turn under a name, and notes when it is given. */
function asker(turns: Turns, given: string[]) {
  return async (name: string, signal: AbortSignal = never): Promise<() => void> => {
    const turn = await turns.take(signal);
    given.push(name);
    return () => turn.end();
  };
}

describe("Turns", () => {
  it("gives as many as there are at once, and the others in the order of asking", async () => {
    const given: string[] = [];
    const ask = asker(new Turns(2), given);
    const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => ask(name));
    await settle();
    expect(given).toEqual(["a", "b"]);
    (await b)?.();
    await settle();
    expect(given).toEqual(["a", "b", "c"]);
    (await a)?.();
    (await c)?.();
    (await d)?.();
    expect(given).toEqual(["a", "b", "c", "d"]);
  });

  it("puts one who comes again behind those who wait", async () => {
    const given: string[] = [];
    const ask = asker(new Turns(1), given);
    const end = await ask("a");
    const b = ask("b");
    end();
    const a = ask("a");
    (await b)();
    (await a)();
    expect(given).toEqual(["a", "b", "a"]);
  });

  it("counts a turn that is ended twice once", async () => {
    const given: string[] = [];
    const ask = asker(new Turns(1), given);
    const end = await ask("a");
    const b = ask("b");
    const c = ask("c");
    end();
    end();
    await settle();
    expect(given).toEqual(["a", "b"]);
    (await b)();
    (await c)();
  });

  it("lets one go who gives up, at once and with the reason, and keeps nothing for it", async () => {
    const given: string[] = [];
    const ask = asker(new Turns(1), given);
    const end = await ask("a");
    const controller = new AbortController();
    const b = ask("b", controller.signal);
    const c = ask("c");
    const reason = new Error("enough");
    controller.abort(reason);
    await expect(b).rejects.toBe(reason);
    end();
    (await c)();
    expect(given).toEqual(["a", "c"]);
  });

  it("gives nothing to one that has given up before, though there are turns left", async () => {
    const turns = new Turns(1);
    const reason = new Error("too late");
    await expect(turns.take(AbortSignal.abort(reason))).rejects.toBe(reason);
    (await turns.take(never)).end();
  });

  it("leaves no listener on a signal", async () => {
    const turns = new Turns(1);
    const { signal } = new AbortController();
    const turn = await turns.take(signal);
    const waiting = turns.take(signal);
    expect(getEventListeners(signal, "abort").length).toBe(1);
    turn.end();
    (await waiting).end();
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  it.each([1, 2, 3, 4, 5])("never loses a turn nor gives one too many, whatever happens (seed %i)", async (seed) => {
    const random = seededRandom(seed);
    const clock = manualClock();
    const limit = 1 + Math.floor(random() * 5);
    const turns = new Turns(limit);
    let [running, most, waiting] = [0, 0, 0];
    const one = async (): Promise<void> => {
      const controller = new AbortController();
      // Often in the very moment in which something else happens.
      if (random() < 0.5) clock.env.after(Math.floor(random() * 20), () => controller.abort());
      waiting++;
      let turn: Turn;
      try {
        turn = await turns.take(controller.signal);
      } catch {
        return;
      } finally {
        waiting--;
      }
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => clock.env.after(Math.floor(random() * 5), resolve));
      running--;
      turn.end();
    };
    const all: Promise<void>[] = [];
    for (let n = 0; n < 2_000; n++) {
      all.push(one());
      if (random() < 0.7) continue;
      await clock.advance(1);
      // Nobody waits while a turn is free.
      if (running < limit) expect(waiting).toBe(0);
    }
    await clock.advance(5 * 2_000);
    await Promise.all(all);
    expect([running, waiting, most]).toEqual([0, 0, limit]);
    // All of them are there again.
    await Promise.all(Array.from({ length: limit }, () => turns.take(never)));
  });
});
