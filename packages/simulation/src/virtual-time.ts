import type { Env } from "@rollcall/core";
import { DelayLine } from "./delay-line.ts";
import { EventHeap, VirtualEvent } from "./event-heap.ts";

/**
 * The clock of a simulation: it stands still while something happens, and leaps to what happens next. What happens at one
 * moment happens in the order in which it was planned, so that a run can be repeated to the last bit.
 */
export class VirtualTime {
  nowMs = 0;
  /** Set when code outside of the simulation was called by a timer: it may have promises under way. */
  woke = false;
  readonly #heap = new EventHeap();
  readonly #lines: DelayLine<unknown>[] = [];
  #planned = 0;

  /** Plans an event, or plans it anew. */
  plan(event: VirtualEvent, dueMs: number): void {
    this.#heap.remove(event);
    event.dueMs = Math.max(dueMs, this.nowMs);
    event.order = this.#planned++;
    this.#heap.add(event);
  }

  cancel(event: VirtualEvent): void {
    this.#heap.remove(event);
  }

  /** Makes a way on which everything takes `delayMs`; what comes out is given to `run`. */
  line<T>(delayMs: number, run: (item: T) => void): (item: T) => void {
    const line = new DelayLine<T>(delayMs, run);
    this.#lines.push(line as DelayLine<unknown>);
    return (item) => line.add(item, this.nowMs, this.#planned++);
  }

  /** Lets the next thing happen. False if there is none. */
  step(): boolean {
    const event = this.#heap.first;
    let dueMs = event?.dueMs ?? Infinity;
    let order = event?.order ?? Infinity;
    let next: DelayLine<unknown> | undefined;
    for (const line of this.#lines) {
      const its = line.dueMs;
      if (its < dueMs || (its === dueMs && its < Infinity && line.order < order)) {
        next = line;
        dueMs = its;
        ({ order } = line);
      }
    }
    if (next !== undefined) {
      this.nowMs = dueMs;
      next.run();
      return true;
    }
    if (event === undefined) return false;
    this.nowMs = dueMs;
    this.#heap.remove(event);
    event.run();
    return true;
  }

  /** The surroundings of real code that is to live in this time, with chance of its own. */
  env(random: () => number): Env {
    return {
      now: () => this.nowMs,
      random,
      after: (delayMs, run) => {
        const timer = new Timer(() => {
          this.woke = true;
          run();
        });
        // One that is never due need not be kept.
        if (delayMs < Infinity) this.plan(timer, this.nowMs + Math.max(0, delayMs));
        return () => this.cancel(timer);
      },
    };
  }
}

class Timer extends VirtualEvent {
  readonly #run: () => void;

  constructor(run: () => void) {
    super();
    this.#run = run;
  }

  override run(): void {
    this.#run();
  }
}
