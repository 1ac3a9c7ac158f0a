import type { SimulatedCall } from "./attempt.ts";
import type { Fleet } from "./fleet.ts";
import type { Server } from "./server.ts";
import type { TimelineReader } from "./timeline.ts";

/**
 * In the place of a policy: one that knows everything, also what will be. It sees every queue, how much work is left in it
 * and how much the call will be, and all faults before they come; it sends each call where it will be answered first. No
 * policy can know that: its latencies are what all others are measured by.
 */
export interface Oracle {
  readonly name: "oracle";
}

export const oracle: Oracle = Object.freeze({ name: "oracle" });

export function isOracle(subject: object): subject is Oracle {
  return subject === oracle;
}

/** Makes the function that chooses for the oracle. It must be asked for every call of the fleet, in their order. */
export function foresee(fleet: Fleet, networkMs: number): (call: SimulatedCall, nowMs: number) => Server | undefined {
  const foreseen = fleet.servers.map((server) => new Foreseen(server));
  return (call, nowMs) => {
    const arrivesAt = nowMs + networkMs;
    let best: Foreseen | undefined;
    let soonest = Infinity;
    for (const { parts } of fleet.listed) {
      const its = foreseen[parts.place];
      const doneAt = its?.doneAt(call, arrivesAt, soonest) ?? Infinity;
      if (doneAt < soonest) {
        best = its;
        soonest = doneAt;
      }
    }
    best?.take(call, arrivesAt);
    return best?.server ?? fleet.listed[0];
  };
}

/** A server whose future is known. */
class Foreseen {
  readonly server: Server;
  readonly #reader: TimelineReader;
  /** How far each worker must be until it is free. Empty for unlimited workers. */
  readonly #freeAt: Float64Array;
  /** The worker that will be free first, and how far it must be until then. */
  #first = 0;
  #firstFreeAt = 0;
  /** When what waits will be begun: moments that may still be ahead, in order. */
  readonly #beginnings: number[] = [];

  constructor(server: Server) {
    this.server = server;
    this.#reader = server.reader;
    this.#freeAt = new Float64Array(server.parts.workers === Infinity ? 0 : server.parts.workers);
  }

  /** When the client would have the answer, but for the way back; `Infinity`: never, or not before `limitMs`. */
  doneAt(call: SimulatedCall, arrivesAt: number, limitMs: number): number {
    const reader = this.#reader;
    const there = reader.at(arrivesAt);
    if (there.isUnreachable || there.isDead || call.luck < there.failRate || this.#isFull(arrivesAt)) return Infinity;
    const start = Math.max(reader.progressAt(arrivesAt), this.#firstFreeAt);
    const beginsAt = reader.timeOf(start, arrivesAt);
    if (beginsAt >= limitMs) return Infinity;
    const doneAt = reader.timeOf(start + this.server.workOf(call.share, reader.at(beginsAt)), arrivesAt);
    if (doneAt >= limitMs) return Infinity;
    const then = reader.at(doneAt);
    return then.isUnreachable || then.isDead ? Infinity : doneAt;
  }

  /** The call will come here. */
  take(call: SimulatedCall, arrivesAt: number): void {
    const reader = this.#reader;
    const start = Math.max(reader.progressAt(arrivesAt), this.#firstFreeAt);
    const beginsAt = reader.timeOf(start, arrivesAt);
    if (beginsAt > arrivesAt) this.#beginnings.push(beginsAt);
    if (this.#freeAt.length === 0) return;
    this.#freeAt[this.#first] = start + this.server.workOf(call.share, reader.at(beginsAt));
    this.#firstFreeAt = Infinity;
    for (let worker = 0; worker < this.#freeAt.length; worker++) {
      const freeAt = this.#freeAt[worker] ?? Infinity;
      if (freeAt >= this.#firstFreeAt) continue;
      this.#first = worker;
      this.#firstFreeAt = freeAt;
    }
  }

  #isFull(atMs: number): boolean {
    const waiting = this.#beginnings;
    while ((waiting[0] ?? Infinity) <= atMs) waiting.shift();
    return waiting.length >= this.server.parts.queue;
  }
}
