import { manualClock } from "@rollcall/testing";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createCache } from "./cache.ts";
import { type Instance, address, createInstance, sameInstance } from "./instance.ts";
import type { Snapshot } from "./snapshot.ts";

type Command =
  | { readonly kind: "update"; readonly set: readonly Instance[] }
  | { readonly kind: "fail"; readonly error: number }
  | { readonly kind: "subscribe" }
  | { readonly kind: "unsubscribe"; readonly which: number }
  | { readonly kind: "pass"; readonly ms: number };

/** Few different values, so that equal sets, duplicates and small changes are common. Some are left open to changes. */
const instances: fc.Arbitrary<Instance> = fc
  .record({
    service: fc.constant("lorem"),
    id: fc.constantFrom("a", "b", "c", "B", "é"),
    host: fc.constantFrom("10.0.0.2", "10.0.0.10", "::1", "b.example"),
    port: fc.constantFrom(80, 9),
    weight: fc.constantFrom(0, 1),
    zone: fc.constantFrom(undefined, "z"),
    tags: fc.constantFrom(["t"], []),
    open: fc.boolean(),
  })
  .map(({ open, ...init }) => {
    const instance = createInstance(init);
    return open ? structuredClone(instance) : instance;
  });

const commands: fc.Arbitrary<Command[]> = fc.array(
  fc.oneof(
    {
      arbitrary: fc.record({ kind: fc.constant("update" as const), set: fc.array(instances, { maxLength: 6 }) }),
      weight: 4,
    },
    fc.record({ kind: fc.constant("fail" as const), error: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ kind: fc.constant("subscribe" as const) }),
    fc.record({ kind: fc.constant("unsubscribe" as const), which: fc.nat(3) }),
    fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 100 }) }),
  ),
  { maxLength: 40 },
);

/** The canonical form of a set, found in the plainest way. */
function canonical(set: readonly Instance[]): Instance[] {
  const unique = set.filter((instance, index) => set.findIndex((other) => other.id === instance.id) === index);
  const before = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  return unique.toSorted((a, b) => before(address(a), address(b)) || before(a.id, b.id));
}

const equal = (a: readonly Instance[], b: readonly Instance[]): boolean =>
  a.length === b.length && a.every((instance, index) => sameInstance(instance, b[index] ?? instance));

/** What the contract says should follow from a command, or the very same snapshot if nothing should. */
function expected(before: Snapshot, command: Command, nowMs: number): Snapshot {
  const revision = before.revision + 1;
  const { instances: known } = before;
  if (command.kind === "update") {
    const next = canonical(command.set);
    if (before.state === "live" && equal(next, known)) return before;
    return { state: "live", revision, instances: equal(next, known) ? known : next };
  }
  if (command.kind === "fail") {
    const { error } = command;
    if (before.state === "live") return { state: "stale", revision, instances: known, error, staleSinceMs: nowMs };
    if (before.state === "pending" && !("error" in before))
      return { state: "pending", revision, instances: known, error };
  }
  return before;
}

describe("Cache, for any sequence of updates, errors, subscribes and unsubscribes,", () => {
  it("follows the contract", async () => {
    await fc.assert(
      fc.asyncProperty(commands, async (sequence) => {
        const clock = manualClock();
        const cache = createCache({ env: clock.env });
        const listeners: { calls: number; due: number; leave: () => void; gone: boolean }[] = [];
        for (const command of sequence) {
          const before = cache.snapshot;
          const want = expected(before, command, clock.now());
          if (command.kind === "update") {
            const copy = [...command.set];
            cache.update(command.set);
            expect(command.set).toEqual(copy);
          } else if (command.kind === "fail") cache.fail(command.error);
          else if (command.kind === "pass") clock.advanceSync(command.ms);
          else if (command.kind === "subscribe") {
            const listener = { calls: 0, due: 0, gone: false, leave: (): void => undefined };
            listener.leave = cache.subscribe(() => {
              listener.calls++;
              expect(cache.snapshot.revision).toBe(want.revision);
            });
            listeners.push(listener);
          } else {
            const listener = listeners[command.which];
            listener?.leave();
            if (listener !== undefined) listener.gone = true;
          }

          const after = cache.snapshot;
          expect(after).toStrictEqual(want);
          if (want === before) expect(after).toBe(before);
          else for (const listener of listeners) if (!listener.gone) listener.due++;
          if (equal(want.instances, before.instances)) expect(after.instances).toBe(before.instances);
          expect([after, after.instances].every(Object.isFrozen)).toBe(true);
          for (const instance of after.instances) {
            expect([instance, instance.tags, instance.metadata].every(Object.isFrozen)).toBe(true);
            const survivor = before.instances.find((other) => sameInstance(other, instance));
            if (survivor !== undefined) expect(instance).toBe(survivor);
          }
        }
        // One call for each revision that came while it was subscribed: listeners throw into a channel, not at us.
        for (const { calls, due } of listeners) expect(calls).toBe(due);
        expect(clock.pending).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});
