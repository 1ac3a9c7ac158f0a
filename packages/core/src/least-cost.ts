import type { Endpoint } from "./endpoint.ts";
import type { Env } from "./env.ts";
import type { Judgement, PolicyView } from "./explanation.ts";
import { aliasTable, pickAlias } from "./alias-table.ts";
import type { PickRequest } from "./pick.ts";
import type { NonEmpty } from "./policy.ts";
import { Turn } from "./turn.ts";
import { xorshift } from "./xorshift.ts";

/** What a policy knows of one endpoint, for {@link LeastCost}. */
export interface Rated {
  readonly endpoint: Endpoint;
}

/** What decides where costs do not: of one policy in one balancer, for all sets. */
export interface Chance {
  readonly draw: (bound: number) => number;
  readonly turn: Turn;
}

/** Makes the {@link Chance} of one balancer. */
export function chanceOf(env: Env): Chance {
  return { draw: xorshift(env), turn: new Turn(env) };
}

/** How {@link LeastCost} looks. */
export interface LeastCostOptions {
  /** How many endpoints to compare in a large set. */
  readonly choices: number;
  /** The largest set that is compared as a whole. */
  readonly scanUpTo: number;
  /**
   * In a small set, costs up to `least · ratio + margin` are equal: what differs by less is chance, and to run after it
   * would send all calls of a quiet client to one endpoint. The margin is for a weight of 1. Default: 1 and 0.
   */
  readonly ratio?: number | undefined;
  readonly margin?: number | undefined;
}

/**
 * Finds the endpoint with the lowest cost: of a small set among all, where equals have their turns, of a large one among a
 * few that chance picks by weight, the first of them never twice.
 *
 * Sources: two choices, M. Mitzenmacher, "The power of two choices in randomized load balancing", IEEE TPDS 12 (10), 2001;
 * the full scan of small sets: with s slow ones of n, two choices take a slow one with probability s(s-1)/(n(n-1)).
 */
export class LeastCost<R extends Rated> {
  readonly all: NonEmpty<R>;
  readonly #draw: (bound: number) => number;
  readonly #choices: number;
  readonly #isSmall: boolean;
  readonly #enough: (least: number) => number;
  /** Draws a place by weight; undefined where all weigh the same. */
  readonly #weighted: (() => number) | undefined;
  readonly #turn: Turn;
  /** Of the last scan; nothing is to be read there later. */
  #costs: Float64Array | undefined;

  constructor(all: NonEmpty<R>, { draw, turn }: Chance, options: LeastCostOptions) {
    const { choices, scanUpTo } = options;
    this.all = all;
    this.#draw = draw;
    this.#turn = turn;
    turn.enter(all.map(({ endpoint }) => endpoint));
    this.#choices = choices;
    this.#enough = enoughFor(all, options);
    this.#isSmall = all.length <= Math.max(scanUpTo, choices);
    const { weight } = all[0].endpoint.instance;
    if (!this.#isSmall && all.some(({ endpoint }) => endpoint.instance.weight !== weight)) {
      const table = aliasTable(all.map(({ endpoint }) => endpoint.instance.weight));
      this.#weighted = () => pickAlias(table, draw);
    }
  }

  /** `cost` may say `Infinity` for one that is not to be picked now; if all are, chance decides. */
  find(cost: (rated: R, nowMs: number) => number, nowMs: number, avoid: ReadonlySet<Endpoint> | undefined): R {
    if (this.#isSmall) return this.#scan(cost, nowMs, avoid);
    const { all } = this;
    const { length } = all;
    const weighted = this.#weighted;
    const first = weighted === undefined ? this.#draw(length) : weighted();
    let best: R | undefined;
    let least = Infinity;
    for (let choice = 0; choice < this.#choices; choice++) {
      let place = first;
      if (choice > 0) {
        if (weighted !== undefined) place = weighted();
        // Also where a heavy one is drawn again and again: to compare it with itself would be no choice.
        if (place === first) {
          place = first + 1 + this.#draw(length - 1);
          if (place >= length) place -= length;
        }
      }
      const rated = all[place] ?? all[0];
      if (avoid !== undefined && avoid.has(rated.endpoint)) continue;
      const its = cost(rated, nowMs);
      if (its < least) {
        best = rated;
        least = its;
      }
    }
    // All of them out of the question, which is rare: look at everyone.
    return best ?? this.#scan(cost, nowMs, avoid);
  }

  #scan(cost: (rated: R, nowMs: number) => number, nowMs: number, avoid: ReadonlySet<Endpoint> | undefined): R {
    const { all } = this;
    const { length } = all;
    const costs = (this.#costs ??= new Float64Array(length));
    // In two goes, as a processor guesses wrong at most of the questions whether this one is less.
    let least = Infinity;
    for (let place = 0; place < length; place++) {
      const rated = all[place] as R;
      if (avoid !== undefined && avoid.has(rated.endpoint)) {
        costs[place] = NaN;
        continue;
      }
      const its = cost(rated, nowMs);
      costs[place] = its;
      least = Math.min(least, its);
    }
    const enough = this.#enough(least);
    const turn = this.#turn;
    let place = turn.next < length ? turn.next : 0;
    // Not `>`: of those that are to be avoided there is no cost.
    for (let step = 0; step < length && !((costs[place] ?? 0) <= enough); step++) {
      place = place + 1 === length ? 0 : place + 1;
    }
    turn.next = place + 1;
    return all[place] as R;
  }
}

/** Up to which cost endpoints are equal to the cheapest. Where weights differ there are shares to be kept: none are. */
function enoughFor(all: readonly Rated[], { ratio = 1, margin = 0 }: LeastCostOptions): (least: number) => number {
  const weight = all[0]?.endpoint.instance.weight ?? 1;
  if (all.some(({ endpoint }) => endpoint.instance.weight !== weight)) return (least) => least;
  // Below 0 is who is to be asked now, whatever the others cost.
  return (least) => (least < 0 ? least : least * ratio + margin / weight);
}

/** How a policy that looks for the least explains itself: the costs, and who it would be if chance has no say. */
export function leastView<R extends Rated>(
  all: readonly R[],
  options: LeastCostOptions,
  { avoid }: PickRequest,
  cost: (rated: R) => number,
  more: (rated: R) => Judgement = () => ({}),
): PolicyView {
  const { choices, scanUpTo } = options;
  const judgements = new Map<Endpoint, Judgement>();
  const costs = all.map(cost);
  let least = Infinity;
  for (const [place, rated] of all.entries()) {
    const its = costs[place] ?? Infinity;
    judgements.set(rated.endpoint, Object.assign({ cost: its }, more(rated)));
    if (avoid?.has(rated.endpoint) !== true) least = Math.min(least, its);
  }
  const isSmall = all.length <= Math.max(scanUpTo, choices);
  const enough = enoughFor(all, options)(least);
  const equals = all.filter(({ endpoint }, place) => (costs[place] ?? 0) <= enough && avoid?.has(endpoint) !== true);
  const [sole] = isSmall && equals.length === 1 ? equals : [];
  const among = isSmall ? `all ${all.length}` : `${choices} taken by chance`;
  return { next: sole?.endpoint, why: `the lowest cost of ${among}`, judgements };
}
