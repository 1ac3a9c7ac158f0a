import type { Endpoint } from "./endpoint.ts";
import { KineticTournament } from "./kinetic-tournament.ts";

/** Up to so many different weights, looking at the head of each queue is cheaper than a tournament. */
const SCAN = 16;

/** Endpoints of one weight, which take turns. */
interface Queue {
  readonly weight: number;
  /** Their places in the set, in the order of their turns. */
  readonly members: number[];
  /** Whose turn it is, in `members`. */
  head: number;
}

/**
 * Smooth weighted round robin over one set: before each pick everyone's credit grows by his weight, the largest credit is
 * picked (the first of equals) and pays the sum of all weights. Only the heads of the queues of equal weights are ever
 * compared: behind a head nobody has more credit, and who has just paid has the least.
 */
export class SmoothRotation<E extends Endpoint> {
  readonly #endpoints: readonly E[];
  readonly #places: ReadonlyMap<Endpoint, number>;
  readonly #queues: readonly Queue[];
  /** Which queue the endpoint at each place stands in. */
  readonly #queueOf: Int32Array;
  /** Credit at time 0, less what was paid since; the weight times `#time` comes on top. */
  readonly #credit: Float64Array;
  /** Of each queue: its weight, whose turn it is, and that one's credit. In arrays, since every pick goes through them. */
  readonly #weights: Float64Array;
  readonly #heads: Int32Array;
  readonly #headCredits: Float64Array;
  readonly #sum: number;
  readonly #tournament: KineticTournament | undefined;
  /** Picks so far. */
  #time = 0;

  /** With an older rotation, its endpoints keep the credit that they have there. */
  constructor(endpoints: readonly E[], before?: SmoothRotation<Endpoint>) {
    this.#endpoints = endpoints;
    this.#places = new Map(endpoints.map((endpoint, place) => [endpoint, place]));
    const sum = endpoints.reduce((total, { instance }) => total + instance.weight, 0);
    this.#sum = sum;
    // No more than one turn owed or due: what was fair in a set of thousands is a flood in one of two.
    const bound = before !== undefined && before.#isOf(endpoints, sum) ? Infinity : sum;
    this.#credit = Float64Array.from(endpoints, (endpoint) =>
      Math.max(-bound, Math.min(bound, before?.creditOf(endpoint) ?? 0)),
    );
    const byWeight = new Map<number, number[]>();
    for (const [place, { instance }] of endpoints.entries()) {
      const members = byWeight.get(instance.weight);
      if (members === undefined) byWeight.set(instance.weight, [place]);
      else members.push(place);
    }
    this.#queues = Array.from(byWeight, ([weight, members]) => ({ weight, members, head: 0 }));
    this.#weights = Float64Array.from(this.#queues, ({ weight }) => weight);
    this.#heads = new Int32Array(this.#queues.length);
    this.#headCredits = new Float64Array(this.#queues.length);
    for (const number of this.#queues.keys()) this.#lineUp(number);
    this.#queueOf = new Int32Array(endpoints.length);
    for (const [number, { members }] of this.#queues.entries())
      for (const place of members) this.#queueOf[place] = number;
    if (this.#queues.length > SCAN) {
      this.#tournament = new KineticTournament(
        this.#weights,
        (queue, time) => (this.#headCredits[queue] ?? 0) + (this.#weights[queue] ?? 0) * time,
        (a, b) => (this.#heads[a] ?? 0) < (this.#heads[b] ?? 0),
      );
    }
  }

  /** The credit of an endpoint now; 0 for a stranger. */
  creditOf(endpoint: Endpoint): number {
    const place = this.#places.get(endpoint);
    if (place === undefined) return 0;
    return this.#creditAt(place, this.#queues[this.#queueOf[place] ?? 0]?.weight ?? 0, this.#time);
  }

  /** Whose turn it is; among those that are not to be avoided, if there are any. */
  next(avoid?: ReadonlySet<Endpoint>): E {
    this.#time++;
    const winner = this.#tournament === undefined ? this.#scan() : this.#tournament.leader(this.#time);
    const endpoint = this.#endpoints[this.#heads[winner] ?? 0];
    if (endpoint !== undefined && (avoid === undefined || !avoid.has(endpoint))) {
      this.#pay(winner);
      return endpoint;
    }
    return this.#nextOther(winner, avoid ?? new Set());
  }

  skip(turns: number): void {
    for (let turn = 0; turn < turns; turn++) this.next();
  }

  /** Whether it is of this very set: then a copy is to do the same. */
  #isOf(endpoints: readonly Endpoint[], sum: number): boolean {
    if (this.#sum !== sum || this.#endpoints.length !== endpoints.length) return false;
    return endpoints.every((endpoint, place) => endpoint === this.#endpoints[place]);
  }

  #creditAt(place: number, weight: number, time: number): number {
    return (this.#credit[place] ?? 0) + weight * time;
  }

  #scan(): number {
    const [weights, heads, credits, time] = [this.#weights, this.#heads, this.#headCredits, this.#time];
    let winner = 0;
    let most = -Infinity;
    for (let queue = 0; queue < weights.length; queue++) {
      const credit = (credits[queue] ?? 0) + (weights[queue] ?? 0) * time;
      if (credit > most || (credit === most && (heads[queue] ?? 0) < (heads[winner] ?? 0))) {
        winner = queue;
        most = credit;
      }
    }
    return winner;
  }

  /** The head of a queue pays for its turn and goes to the end. */
  #pay(number: number): void {
    const queue = this.#queues[number] ?? NOBODY;
    const { members, head } = queue;
    const place = members[head] ?? 0;
    const last = members[head === 0 ? members.length - 1 : head - 1] ?? 0;
    const credit = (this.#credit[place] ?? 0) - this.#sum;
    this.#credit[place] = credit;
    queue.head = head + 1 === members.length ? 0 : head + 1;
    const least = this.#credit[last] ?? 0;
    // Only after the set has changed: it had so much credit that it is not the last one even now.
    if (credit > least || (credit === least && place < last)) this.#lineUp(number);
    else this.#moved(number);
  }

  /** A retry: the turn of the one with the most credit among the others. */
  #nextOther(winner: number, avoid: ReadonlySet<Endpoint>): E {
    let best = this.#heads[winner] ?? 0;
    let most = -Infinity;
    for (const [place, endpoint] of this.#endpoints.entries()) {
      const credit = this.#creditAt(place, endpoint.instance.weight, this.#time);
      if (credit > most && !avoid.has(endpoint)) {
        best = place;
        most = credit;
      }
    }
    const number = this.#queueOf[best] ?? 0;
    this.#credit[best] = (this.#credit[best] ?? 0) - this.#sum;
    this.#lineUp(number);
    return this.#endpoints[best] as E;
  }

  #lineUp(number: number): void {
    const queue = this.#queues[number] ?? NOBODY;
    queue.members.sort((a, b) => (this.#credit[b] ?? 0) - (this.#credit[a] ?? 0) || a - b);
    queue.head = 0;
    this.#moved(number);
  }

  /** Another one is at the head of a queue. */
  #moved(number: number): void {
    const { members, head } = this.#queues[number] ?? NOBODY;
    const place = members[head] ?? 0;
    this.#heads[number] = place;
    this.#headCredits[number] = this.#credit[place] ?? 0;
    this.#tournament?.moved(number);
  }
}

const NOBODY: Queue = { weight: 0, members: [], head: 0 };
