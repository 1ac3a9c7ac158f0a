import type { Instance } from "@rollcall/core";
import type { Attempt, Result } from "./attempt.ts";
import { VirtualEvent } from "./event-heap.ts";
import { type Condition, TimelineReader } from "./timeline.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** What a {@link Server} is made of. */
export interface ServerParts {
  readonly instance: Instance;
  /** Its place among all servers of the scenario. */
  readonly place: number;
  readonly workers: number;
  readonly queue: number;
  readonly speed: number;
  readonly timeline: readonly [Condition, ...Condition[]];
  /** The work of a call that is heavier than this share of all. */
  readonly work: (share: number) => number;
  readonly dropsAbandoned: boolean;
  /** It says with each answer how many calls it has in hand. */
  readonly reports: boolean;
  readonly joinsAtMs: number;
  readonly leavesAtMs: number;
}

/**
 * A server: some workers, before them one queue, first come, first served. Each worker works on one call at a time, at the
 * speed of the moment.
 */
export class Server {
  readonly parts: ServerParts;
  readonly reader: TimelineReader;
  readonly #time: VirtualTime;
  readonly #answer: (attempt: Attempt) => void;
  readonly #waiting: Attempt[] = [];
  /** What it has in hand, if it may die. */
  readonly #inHand: Set<Attempt> | undefined;
  #busy = 0;
  /** The milliseconds of work, at speed 1, that it has finished. */
  workDone = 0;

  constructor(parts: ServerParts, time: VirtualTime, answer: (attempt: Attempt) => void) {
    this.parts = parts;
    this.reader = new TimelineReader(parts.timeline);
    this.#time = time;
    this.#answer = answer;
    const deaths = parts.timeline.filter(({ isDead }, place) => isDead && parts.timeline[place - 1]?.isDead !== true);
    if (deaths.length === 0) return;
    this.#inHand = new Set();
    for (const { fromMs } of deaths) time.plan(new Death(this), fromMs);
  }

  /** How long it takes for such a call, if it begins now: in the time that counts for work. */
  workOf(share: number, condition: Condition): number {
    return (condition.work ?? this.parts.work)(share);
  }

  /** A call has arrived. */
  arrive(attempt: Attempt): void {
    const { nowMs } = this.#time;
    const condition = this.reader.at(nowMs);
    if (condition.isUnreachable) return;
    if (condition.isDead) {
      this.#send(attempt, "refused");
    } else if (attempt.luck < condition.failRate) {
      attempt.result = "failed";
      this.#inHand?.add(attempt);
      this.#time.plan(attempt, nowMs + condition.failAfterMs);
    } else if (this.#busy < this.parts.workers) {
      this.#inHand?.add(attempt);
      this.#begin(attempt);
    } else if (this.#waiting.length < this.parts.queue) {
      this.#inHand?.add(attempt);
      this.#waiting.push(attempt);
    } else {
      this.#send(attempt, "full");
    }
  }

  /** It is done with a call. */
  finish(attempt: Attempt): void {
    this.#inHand?.delete(attempt);
    this.#send(attempt, attempt.result);
    if (!attempt.isWorkedOn) return;
    this.#busy--;
    let next = this.#waiting.shift();
    while (next !== undefined && next.isOver && this.parts.dropsAbandoned) {
      this.#inHand?.delete(next);
      next = this.#waiting.shift();
    }
    if (next !== undefined) this.#begin(next);
  }

  /** All that it has in hand is lost. */
  die(): void {
    const lost = [...(this.#inHand ?? [])];
    this.#inHand?.clear();
    this.#waiting.length = 0;
    this.#busy = 0;
    for (const attempt of lost) {
      this.#time.cancel(attempt);
      this.#send(attempt, "refused");
    }
  }

  #begin(attempt: Attempt): void {
    const { nowMs } = this.#time;
    const { reader } = this;
    const work = this.workOf(attempt.share, reader.at(nowMs));
    this.#busy++;
    this.workDone += work;
    attempt.isWorkedOn = true;
    const doneAt = reader.timeOf(reader.progressAt(nowMs) + work, nowMs);
    if (doneAt < Infinity) this.#time.plan(attempt, doneAt);
  }

  #send(attempt: Attempt, result: Result): void {
    if (this.reader.at(this.#time.nowMs).isUnreachable) return;
    attempt.result = result;
    if (this.parts.reports && result !== "refused") {
      attempt.reported = this.#busy + this.#waiting.length - (attempt.isWorkedOn ? 1 : 0);
    }
    this.#answer(attempt);
  }
}

class Death extends VirtualEvent {
  readonly #server: Server;

  constructor(server: Server) {
    super();
    this.#server = server;
  }

  override run(): void {
    this.#server.die();
  }
}
