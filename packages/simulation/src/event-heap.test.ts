import { describe, expect, it } from "vitest";
import { EventHeap, VirtualEvent } from "./event-heap.ts";
import { randomStream } from "./random-stream.ts";

class Nothing extends VirtualEvent {
  override run(): void {
    throw new Error("nobody runs it here");
  }
}

function eventAt(dueMs: number, order: number): VirtualEvent {
  return Object.assign(new Nothing(), { dueMs, order });
}

describe("EventHeap", () => {
  it("gives events by the time when they are due, and those of one moment as they were planned, whatever was removed", () => {
    const random = randomStream(1, "heap");
    for (let round = 0; round < 50; round++) {
      const heap = new EventHeap();
      // Few different times, so that there are many ties.
      const events = Array.from({ length: 200 }, (_, order) => eventAt(Math.floor(random() * 30), order));
      for (const event of events) heap.add(event);
      const removed = new Set(events.filter(() => random() < 0.3));
      for (const event of removed) {
        heap.remove(event);
        heap.remove(event);
      }
      const taken: VirtualEvent[] = [];
      for (let { first } = heap; first !== undefined; { first } = heap) {
        taken.push(first);
        heap.remove(first);
      }
      const left = events.filter((event) => !removed.has(event));
      expect(taken).toEqual(left.toSorted((a, b) => a.dueMs - b.dueMs || a.order - b.order));
    }
  });
});
