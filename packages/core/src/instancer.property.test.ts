import { type ManualClock, type ScriptedSource, manualClock, scriptedSource, seededRandom } from "@rollcall/testing";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Instance, address, createInstance, sameInstance } from "./instance.ts";
import { type Instancer, createInstancer } from "./instancer.ts";
import type { Snapshot } from "./snapshot.ts";
import type { Source } from "./source.ts";

const GRACE_MS = 30_000;

/** What a listener does when it is called, besides keeping count. */
type Manner = "quiet" | "throws" | "rejects" | "leaves" | "leaves another" | "brings another" | "closes";

type Command =
  | { readonly kind: "yield"; readonly set: readonly Instance[] }
  | { readonly kind: "junk" | "fail" | "end" | "close" }
  | { readonly kind: "subscribe"; readonly manner: Manner }
  | { readonly kind: "unsubscribe"; readonly which: number }
  | { readonly kind: "pass"; readonly ms: number };

const instances: fc.Arbitrary<Instance> = fc
  .record({
    service: fc.constant("lorem"),
    id: fc.constantFrom("a", "b", "c"),
    host: fc.constantFrom("10.0.0.2", "10.0.0.10"),
    port: fc.constant(80),
    weight: fc.constantFrom(1, 2),
  })
  .map(createInstance);

const step: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("yield" as const), set: fc.array(instances, { maxLength: 3 }) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("yield" as const), set: fc.constant([]) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("junk" as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom("fail" as const, "end" as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("subscribe" as const),
      manner: fc.oneof(
        { weight: 6, arbitrary: fc.constant<Manner>("quiet") },
        {
          weight: 5,
          arbitrary: fc.constantFrom<Manner>("throws", "rejects", "leaves", "leaves another", "brings another"),
        },
      ),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("unsubscribe" as const), which: fc.nat(5) }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.constantFrom(0, 100, 1_000, 20_000) }),
  },
);

/** The last step may be to close, from outside or from inside a listener. */
const sequences: fc.Arbitrary<{ steps: Command[]; ending: "open" | "close" | "closing listener"; seed: number }> =
  fc.record({
    steps: fc.array(step, { maxLength: 40 }),
    ending: fc.constantFrom("open" as const, "close" as const, "closing listener" as const),
    seed: fc.nat(1_000),
  });

/** What the source said, and when, as far as the watch of that moment was still wanted. */
interface Saying {
  readonly what: "some" | "none" | "fail" | "end";
  readonly atMs: number;
}

/** The scripted source, with a record of what was taken from it. */
function recorded(source: ScriptedSource, clock: ManualClock): Source & { readonly sayings: Saying[] } {
  const sayings: Saying[] = [];
  const say = (what: Saying["what"], signal: AbortSignal): void => {
    if (!signal.aborted) sayings.push({ what, atMs: clock.now() });
  };
  return {
    name: "recorded",
    sayings,
    async *watch(signal) {
      try {
        for await (const set of source.watch(signal)) {
          say(!Array.isArray(set) ? "fail" : set.length > 0 ? "some" : "none", signal);
          yield set;
        }
        say("end", signal);
      } catch (error) {
        say("fail", signal);
        throw error;
      }
    },
  };
}

/** Whether the last "none" may be believed now: it came in normal running, or has been held for long enough. */
function believable(sayings: readonly Saying[], nowMs: number): boolean {
  let first = sayings.length;
  while (first > 0 && (sayings[first - 1]?.what === "none" || sayings[first - 1]?.what === "end")) first--;
  const run = sayings.slice(first);
  const interrupted = sayings[first - 1]?.what === "fail" || run.some(({ what }) => what === "end");
  const since = run.find(({ what }) => what === "none")?.atMs ?? Infinity;
  return !interrupted || nowMs - since >= GRACE_MS;
}

/** Checks one change of the snapshot against the contract. */
function checkChange(before: Snapshot, after: Snapshot): void {
  expect(after.revision).toBe(before.revision + 1);
  expect([after, after.instances, ...after.instances].every(Object.isFrozen)).toBe(true);
  expect(new Set(after.instances.map((instance) => instance.id)).size).toBe(after.instances.length);
  const keys = after.instances.map((instance) => `${address(instance)} ${instance.id}`);
  expect(keys).toEqual(keys.toSorted());
  for (const instance of after.instances) {
    const survivor = before.instances.find((other) => sameInstance(other, instance));
    if (survivor !== undefined) expect(instance).toBe(survivor);
  }
  const same = after.instances.every((instance, index) => instance === before.instances[index]);
  if (same && after.instances.length === before.instances.length) expect(after.instances).toBe(before.instances);
  switch (after.state) {
    case "pending":
      expect([before.state, "error" in before, "error" in after]).toEqual(["pending", false, true]);
      expect(after.instances).toEqual([]);
      break;
    case "stale":
      expect(before.state).toBe("live");
      expect(after.instances).toBe(before.instances);
      break;
    case "live":
      if (before.state === "live") expect(after.instances).not.toBe(before.instances);
      break;
  }
}

describe("Instancer, for any sequence of answers, failures, lost watches and listeners of all manners,", () => {
  it("follows the contract", async () => {
    await fc.assert(
      fc.asyncProperty(sequences, async ({ steps, ending, seed }) => {
        const clock = manualClock({ random: seededRandom(seed) });
        const script = scriptedSource();
        const source = recorded(script, clock);
        const instancer: Instancer = createInstancer("lorem", source, { env: clock.env });
        const wrong: unknown[] = [];
        let [open, last]: [boolean, Snapshot] = [true, instancer.snapshot];
        const listeners: { here: boolean; seen: number; leave: () => void }[] = [];
        const here = (): number => listeners.filter((listener) => listener.here).length;

        // Listeners throw into a channel, so what they find wrong is kept here.
        const check = (test: () => void): void => {
          try {
            test();
          } catch (error) {
            wrong.push(error);
          }
        };
        const subscribe = (manner: Manner): void => {
          const listener = { here: true, seen: instancer.snapshot.revision, leave: (): void => undefined };
          listeners.push(listener);
          const onChange = (): unknown => {
            const { snapshot } = instancer;
            check(() => {
              expect([open, listener.here]).toEqual([true, true]);
              expect(snapshot.revision).toBe(++listener.seen);
              if (snapshot !== last) {
                checkChange(last, snapshot);
                const emptied = last.instances.length > 0 && snapshot.instances.length === 0;
                if (emptied) expect(believable(source.sayings, clock.now())).toBe(true);
              }
            });
            last = snapshot;
            const leave = (other: typeof listener | undefined): void => {
              other?.leave();
              if (other !== undefined) other.here = false;
            };
            if (manner === "throws") throw new Error("a bad listener");
            if (manner === "rejects") return Promise.reject(new Error("a bad listener"));
            if (manner === "leaves") leave(listener);
            if (manner === "leaves another") leave(listeners.find((other) => other !== listener && other.here));
            if (manner === "brings another" && listeners.length < 20) subscribe("quiet");
            if (manner === "closes") {
              open = false;
              void instancer.close();
            }
            return undefined;
          };
          const unsubscribe = instancer.subscribe(onChange);
          listener.leave = unsubscribe;
        };
        const settled = (): void => {
          expect(wrong).toEqual([]);
          // Without listeners nothing runs, and what was known does not change.
          const wanted = open && here() > 0;
          if (!wanted) expect([script.active, clock.pending]).toEqual([0, 0]);
          expect(script.active).toBeLessThanOrEqual(1);
          expect(clock.pending).toBeLessThanOrEqual(2);
          if (open) for (const listener of listeners) if (listener.here) expect(listener.seen).toBe(last.revision);
          expect(instancer.snapshot).toBe(last);
        };

        for (const command of steps) {
          if (command.kind === "yield") script.yield(command.set);
          else if (command.kind === "junk") script.yield(null as unknown as readonly Instance[]);
          else if (command.kind === "fail") script.fail(new Error("down"));
          else if (command.kind === "end") script.end();
          else if (command.kind === "pass") await clock.advance(command.ms);
          else if (command.kind === "subscribe") subscribe(command.manner);
          else if (command.kind === "unsubscribe") {
            const listener = listeners[command.which];
            listener?.leave();
            if (listener !== undefined) listener.here = false;
          }
          // Not after each step: what is done in one turn must come out right as well.
          if (command.kind === "pass") settled();
        }

        if (ending === "closing listener") subscribe("closes");
        if (ending === "open") subscribe("quiet");
        // However it went: what the source says in the end is known soon, unless somebody closed.
        await clock.advance(300_000);
        const final = [createInstance({ service: "lorem", host: "10.9.9.9", port: 1, weight: seed })];
        script.yield(final);
        await clock.advance(300_000);
        settled();
        if (open && here() > 0) expect(instancer.snapshot).toMatchObject({ state: "live", instances: final });

        open = false;
        await instancer.close();
        expect(clock.pending).toBe(0);
        expect(() => instancer.subscribe(() => undefined)).toThrow("closed");
        script.yield([]);
        script.fail(new Error("down"));
        await clock.advance(300_000);
        settled();
      }),
      { numRuns: 150 },
    );
  });
});
