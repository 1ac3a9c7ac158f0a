import type { SimulatedCall } from "./attempt.ts";
import type { Fleet } from "./fleet.ts";
import type { Server } from "./server.ts";

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
    let best: Foreseen | undefined;
    let soonest = Infinity;
    for (const { parts } of fleet.listed) {
      const its = foreseen[parts.place];
      const doneAt = its?.doneAt(call, nowMs, networkMs) ?? Infinity;
      if (doneAt < soonest) {
        best = its;
        soonest = doneAt;
      }
    }
    best?.take(call, nowMs + networkMs);
    return best?.server ?? fleet.listed[0];
  };
}

/** A server whose future is known. */
class Foreseen {
  readonly server: Server;
  /** How far each worker must be until it is free. Empty for unlimited workers. */
  readonly #freeAt: Float64Array;
  /** When what waits will have been begun: its times of beginning that may still be ahead, in order. */
  readonly #beginnings: number[] = [];

  constructor(server: Server) {
    this.server = server;
    this.#freeAt = new Float64Array(server.parts.workers === Infinity ? 0 : server.parts.workers);
  }

  /** When the client would have the answer, but for the way back; `Infinity`: never. */
  doneAt(call: SimulatedCall, nowMs: number, networkMs: number): number {
    const { reader } = this.server;
    const arrivesAt = nowMs + networkMs;
    const there = reader.at(arrivesAt);
    if (there.isUnreachable || there.isDead || call.luck < there.failRate || this.#isFull(arrivesAt)) return Infinity;
    const doneAt = this.#plan(call, arrivesAt).doneAt;
    if (doneAt === Infinity) return Infinity;
    const then = reader.at(doneAt);
    return then.isUnreachable || then.isDead ? Infinity : doneAt;
  }

  /** The call will come here. */
  take(call: SimulatedCall, arrivesAt: number): void {
    const { progress, beginsAt, worker } = this.#plan(call, arrivesAt);
    if (worker >= 0) this.#freeAt[worker] = progress;
    if (beginsAt > arrivesAt) this.#beginnings.push(beginsAt);
  }

  #plan(
    call: SimulatedCall,
    arrivesAt: number,
  ): { readonly beginsAt: number; readonly doneAt: number; readonly progress: number; readonly worker: number } {
    const { reader } = this.server;
    let start = reader.progressAt(arrivesAt);
    let worker = -1;
    if (this.#freeAt.length > 0) {
      worker = 0;
      this.#freeAt.forEach((progress, place) => {
        if (progress < (this.#freeAt[worker] ?? 0)) worker = place;
      });
      start = Math.max(start, this.#freeAt[worker] ?? 0);
    }
    const beginsAt = reader.timeOf(start, arrivesAt);
    const progress = start + this.server.workOf(call.share, reader.at(Math.min(beginsAt, Number.MAX_VALUE)));
    return { beginsAt, doneAt: reader.timeOf(progress, arrivesAt), progress, worker };
  }

  #isFull(atMs: number): boolean {
    const waiting = this.#beginnings;
    while ((waiting[0] ?? Infinity) <= atMs) waiting.shift();
    return waiting.length >= this.server.parts.queue;
  }
}
