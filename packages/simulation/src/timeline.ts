import { type Distribution, quantileOf } from "./distribution.ts";
import type { Fault } from "./fault.ts";

/** How a server is from one moment to the next change. */
export interface Condition {
  readonly fromMs: number;
  /** What each of its workers does in a millisecond; 0: it stands still. */
  readonly speed: number;
  /** What a worker has done between the start and `fromMs`, had it always been busy: the time that counts for work. */
  readonly progress: number;
  /** The work of calls that are begun now, if it is not the scenario's. */
  readonly work: ((share: number) => number) | undefined;
  readonly failRate: number;
  readonly failAfterMs: number;
  readonly isUnreachable: boolean;
  readonly isDead: boolean;
}

/**
 * All conditions of a server, in order; the first is that of the start. Faults that come again do so until `endMs`; the
 * last condition stays.
 */
export function timelineOf(speed: number, faults: readonly Fault[], endMs: number): [Condition, ...Condition[]] {
  const spells = faults.map((fault) => spellsOf(fault, endMs));
  const bounds = spells
    .flat()
    .flatMap(({ fromMs, toMs }) => [fromMs, toMs])
    .filter((atMs) => atMs > 0 && atMs < Infinity);
  /** Of each fault the spell that has begun last; its spells do not overlap. */
  const latest = faults.map(() => 0);
  const times = [0, ...new Set(bounds.toSorted((a, b) => a - b))];
  const timeline: Condition[] = [];
  for (const fromMs of times) {
    const before = timeline.at(-1);
    const progress = before === undefined ? 0 : before.progress + (fromMs - before.fromMs) * before.speed;
    const active = faults.filter((_, number) => {
      const its = spells[number] ?? [];
      let place = latest[number] ?? 0;
      while ((its[place + 1]?.fromMs ?? Infinity) <= fromMs) place++;
      latest[number] = place;
      const spell = its[place];
      return spell !== undefined && spell.fromMs <= fromMs && fromMs < spell.toMs;
    });
    timeline.push(conditionOf(active, fromMs, speed, progress));
  }
  return timeline as [Condition, ...Condition[]];
}

interface Spell {
  readonly fromMs: number;
  readonly toMs: number;
}

function spellsOf(fault: Fault, endMs: number): Spell[] {
  const { fromMs = 0, toMs = Infinity, everyMs = Infinity } = fault;
  const spells: Spell[] = [{ fromMs, toMs }];
  for (let laterMs = everyMs; fromMs + laterMs < endMs; laterMs += everyMs) {
    spells.push({ fromMs: fromMs + laterMs, toMs: toMs + laterMs });
  }
  return spells;
}

function conditionOf(faults: readonly Fault[], fromMs: number, speed: number, progress: number): Condition {
  let left = speed;
  let work: Distribution | undefined;
  let failRate = 0;
  let failAfterMs = 1;
  let isUnreachable = false;
  let isDead = false;
  for (const fault of faults) {
    if (fault.kind === "slow") {
      left /= fault.factor ?? 1;
      work = fault.work ?? work;
    } else if (fault.kind === "pause") {
      left = 0;
    } else if (fault.kind === "fail") {
      ({ rate: failRate = 1, afterMs: failAfterMs = 1 } = fault);
    } else if (fault.kind === "unreachable") {
      isUnreachable = true;
    } else {
      isDead = true;
    }
  }
  return {
    fromMs,
    speed: left,
    progress,
    work: work === undefined ? undefined : quantileOf(work),
    failRate,
    failAfterMs,
    isUnreachable,
    isDead,
  };
}

/** Reads a timeline forward: asked for moments that never go back by much, it finds them at once. */
export class TimelineReader {
  readonly #timeline: readonly [Condition, ...Condition[]];
  #place = 0;

  constructor(timeline: readonly [Condition, ...Condition[]]) {
    this.#timeline = timeline;
  }

  at(atMs: number): Condition {
    const timeline = this.#timeline;
    while (this.#place > 0 && (timeline[this.#place]?.fromMs ?? 0) > atMs) this.#place--;
    while ((timeline[this.#place + 1]?.fromMs ?? Infinity) <= atMs) this.#place++;
    return timeline[this.#place] ?? timeline[0];
  }

  /** How far a worker is by then. */
  progressAt(atMs: number): number {
    const { fromMs, progress, speed } = this.at(atMs);
    return progress + (atMs - fromMs) * speed;
  }

  /** When a worker that is not so far at `fromMs` will be; `Infinity`: never. */
  timeOf(progress: number, fromMs: number): number {
    let condition = this.at(fromMs);
    for (let place = this.#place + 1; ; place++) {
      const next = this.#timeline[place];
      if (next === undefined || next.progress >= progress) {
        const missing = Math.max(0, progress - condition.progress);
        if (missing === 0) return Math.max(fromMs, condition.fromMs);
        if (condition.speed > 0) return Math.max(fromMs, condition.fromMs + missing / condition.speed);
      }
      if (next === undefined) return Infinity;
      condition = next;
    }
  }
}
