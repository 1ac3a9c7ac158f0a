/** Something that happens at a moment of virtual time. */
export abstract class VirtualEvent {
  /** When it happens. */
  dueMs = 0;
  /** Which of those at one moment comes first: the one that was planned first. */
  order = 0;
  /** Where it lies in its heap; -1 when it is not planned. */
  place = -1;

  abstract run(): void;
}

/**
 * Events by the time when they are due: O(log n) to add, to take the next one, and to remove one that will not happen.
 * A binary heap whose entries know their places.
 */
export class EventHeap {
  readonly #events: VirtualEvent[] = [];

  get first(): VirtualEvent | undefined {
    return this.#events[0];
  }

  add(event: VirtualEvent): void {
    this.#events.push(event);
    this.#up(event, this.#events.length - 1);
  }

  /** Does nothing if it is not in the heap. */
  remove(event: VirtualEvent): void {
    const { place } = event;
    if (place < 0) return;
    event.place = -1;
    const last = this.#events.pop();
    if (last === undefined || last === event) return;
    const parent = this.#events[(place - 1) >> 1];
    if (place > 0 && parent !== undefined && isBefore(last, parent)) this.#up(last, place);
    else this.#down(last, place);
  }

  /** Moves it up from a place that is free. */
  #up(event: VirtualEvent, from: number): void {
    const events = this.#events;
    let place = from;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = events[above];
      if (parent === undefined || !isBefore(event, parent)) break;
      events[place] = parent;
      parent.place = place;
      place = above;
    }
    events[place] = event;
    event.place = place;
  }

  /** Moves it down from a place that is free. */
  #down(event: VirtualEvent, from: number): void {
    const events = this.#events;
    let place = from;
    for (;;) {
      let below = 2 * place + 1;
      let child = events[below];
      if (child === undefined) break;
      const sibling = events[below + 1];
      if (sibling !== undefined && isBefore(sibling, child)) {
        child = sibling;
        below++;
      }
      if (!isBefore(child, event)) break;
      events[place] = child;
      child.place = place;
      place = below;
    }
    events[place] = event;
    event.place = place;
  }
}

function isBefore(a: VirtualEvent, b: VirtualEvent): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}
