import type { SimulatedCall } from "./attempt.ts";
import { VirtualEvent } from "./event-heap.ts";
import { randomStream } from "./random-stream.ts";
import { type Scenario, meanGapMs } from "./scenario.ts";
import type { VirtualTime } from "./virtual-time.ts";

/**
 * Lets the calls of a scenario come, one after the other. Each thing that chance decides has a stream of its own, so that
 * all policies get the same calls.
 */
export class Arrivals extends VirtualEvent {
  /** All have come. */
  isOver = false;
  readonly #time: VirtualTime;
  readonly #begin: (call: SimulatedCall) => void;
  readonly #endMs: number;
  readonly #meanGapMs: number;
  readonly #gap: (() => number) | undefined;
  readonly #clients: number;
  readonly #client: (() => number) | undefined;
  readonly #share: () => number;
  readonly #luck: () => number;
  readonly #isDrawnAnew: boolean;
  readonly #keys: number;
  readonly #key: () => number;
  #count = 0;

  constructor(scenario: Scenario, seed: number, time: VirtualTime, begin: (call: SimulatedCall) => void) {
    super();
    const { arrivals = "poisson", clients = 1, keys = 0, durationMs } = scenario;
    this.#time = time;
    this.#begin = begin;
    this.#endMs = durationMs;
    this.#meanGapMs = meanGapMs(scenario);
    this.#clients = clients;
    if (arrivals === "poisson") {
      this.#gap = randomStream(seed, "gap");
      this.#client = randomStream(seed, "client");
    }
    this.#share = randomStream(seed, "work");
    this.#luck = randomStream(seed, "luck");
    this.#isDrawnAnew = scenario.workAgain === "anew";
    this.#keys = keys;
    this.#key = randomStream(seed, "key");
    this.#plan();
  }

  override run(): void {
    const client =
      this.#client === undefined ? this.#count % this.#clients : Math.floor(this.#client() * this.#clients);
    this.#count++;
    const call: SimulatedCall = {
      startedAt: this.#time.nowMs,
      client,
      share: this.#share(),
      isDrawnAnew: this.#isDrawnAnew,
      luck: this.#luck(),
      key: this.#keys === 0 ? undefined : `key-${Math.floor(this.#key() * this.#keys)}`,
    };
    this.#plan();
    this.#begin(call);
  }

  #plan(): void {
    // Evenly spaced calls are counted, not summed: no error adds up.
    const dueMs =
      this.#gap === undefined
        ? this.#count * this.#meanGapMs
        : this.#time.nowMs - this.#meanGapMs * Math.log(1 - this.#gap());
    if (dueMs < this.#endMs) this.#time.plan(this, dueMs);
    else this.isOver = true;
  }
}
