import {
  type Env,
  type Instance,
  type NormalizedQuery,
  type Source,
  noneUsable,
  reportBad,
  sameInstance,
  sleep,
} from "@rollcall/core";
import { AnswerReader } from "./answer-reader.ts";
import { type ConsulAccess, type ConsulAnswer, type ConsulCall, ConsulError, call } from "./call.ts";
import type { DecodedAnswer } from "./client.ts";
import { Pace } from "./pace.ts";
import type { Poll, Polls } from "./polls.ts";

/** How a {@link consulSource} asks. */
export interface ConsulSourceOptions {
  /** How long Consul holds back its answer while nothing changes. */
  readonly waitMs: number;
  /** For requests that Consul answers at once. */
  readonly timeoutMs: number;
  readonly datacenter?: string | undefined;
  /** Any server may answer, not only the leader. */
  readonly stale: boolean;
  /** Which key of the metadata is the zone. */
  readonly zoneKey: string;
  /** Who may poll now, and for how long. */
  readonly polls: Polls;
  readonly env: Env;
}

/**
 * At most five requests in any second, whatever Consul answers: one per interval, and three at once after a rest, for that
 * is how a watch of an empty service begins.
 */
const POLL_INTERVAL_MS = 340;
const POLL_BURST = 3;
/** Clients that were woken by the same change should not stay in step. */
const POLL_JITTER = 0.25;
/**
 * An answer that had news is followed by the next poll at once, or a second change would be seen late: up to 200 in a
 * second, less if answers are so long that reading them takes a tenth of the time. Not so soon after a watch was lost: who
 * comes back one by one is news, but Consul is ill.
 */
const NEWS_INTERVAL_MS = 5;
const NEWS_SHARE = 0.1;
const NEWS_BURST_MS = 1_000;
const ILL_MS = 5_000;
/** Between polls that Consul cannot hold back, because it gave no index to wait for. */
const BLIND_INTERVAL_MS = 1_000;
/** What the network may take beyond Consul's own waiting time. */
const SLACK_MS = 2_000;
/** How long after a lost watch Consul's idea of who is alive may be wrong. */
const UNSETTLED_MS = 30_000;

/**
 * Reads one service by blocking queries: each answer carries an index, and the next request is answered when the index
 * has moved, or after `waitMs` (less if there are more watches than connections: see {@link Polls}). The rules are HashiCorp's: an answer is no proof of change (core compares); an index
 * that is missing or 0 is not waited for; one that goes backwards means that Consul's state was replaced, so the watch
 * ends. A non-empty answer that says so is still good news and is yielded; an empty one may come from a registry that
 * has lost its data, and is left to the next watch, which core does not believe at once. The same goes for a service
 * that empties soon after Consul was away: a restarted agent first lists what it has on disk, then holds every TTL
 * check for critical that was not renewed meanwhile, until the heartbeats are back. Nor is a service empty because the
 * token may not read it. Everything else that is wrong throws at once.
 */
export function consulSource(access: ConsulAccess, query: NormalizedQuery, options: ConsulSourceOptions): Source {
  return new ConsulSource(access, query, options);
}

class ConsulSource implements Source {
  readonly access: ConsulAccess;
  readonly query: NormalizedQuery;
  readonly options: ConsulSourceOptions;
  // Shared by all watches of this source: a watch that is lost again and again must not become a storm either.
  readonly pace: Pace;
  #newsPace: Pace | undefined;
  lostMs = -Infinity;
  believedEmpty = false;

  constructor(access: ConsulAccess, query: NormalizedQuery, options: ConsulSourceOptions) {
    this.access = access;
    this.query = query;
    this.options = options;
    this.pace = new Pace(options.env, POLL_BURST * POLL_INTERVAL_MS, POLL_JITTER);
  }

  get name(): string {
    return "consul";
  }

  get newsPace(): Pace {
    return (this.#newsPace ??= new Pace(this.options.env, NEWS_BURST_MS, 0));
  }

  watch(signal: AbortSignal): AsyncIterable<readonly Instance[]> {
    return new ServiceWatch(this, signal);
  }

  /** One poll, until the index is another one. Ends its turn. */
  ask(index: bigint, turn: Poll, signal: AbortSignal): Promise<ConsulAnswer> {
    const { waitMs } = turn;
    const { access, options } = this;
    const { service, tags, passingOnly } = this.query;
    const blocking = index > 0n;
    // Consul adds up to a sixteenth to the wait, so that not all clients come back at the same time. A short poll may be
    // one of many, at a Consul that has a lot to do.
    const slackMs = waitMs < options.waitMs ? options.timeoutMs : waitMs / 16 + SLACK_MS;
    const request: ConsulCall = {
      path: "/health/service/{service}",
      params: { service },
      query: {
        passing: passingOnly ? "1" : undefined,
        tag: tags[0], // the others are filtered here: old versions of Consul take only one
        dc: options.datacenter ?? access.api._defaults?.dc,
        stale: options.stale ? "1" : undefined,
        index: blocking ? String(index) : undefined,
        wait: blocking ? `${waitMs}ms` : undefined,
      },
      timeoutMs: waitMs + slackMs,
      turn,
    };
    return call(access, "GET", request, signal);
  }

  /**
   * To who may not read a service, Consul says that it has no instance; only the agent refuses to answer. Resolves
   * unless it does. What may be read in another datacenter, the agent does not know.
   */
  async refuseToGuess(signal: AbortSignal): Promise<void> {
    const { access, options, query } = this;
    if (options.datacenter !== undefined) return;
    await this.pace.pay(POLL_INTERVAL_MS, signal);
    const turn = await options.polls.take(0, signal);
    const path = "/agent/health/service/name/{service}";
    try {
      const { timeoutMs } = options;
      await call(access, "GET", { path, params: { service: query.service }, timeoutMs, turn }, signal);
    } catch (error) {
      // Every other status is about the agent's own instances, of which there may be none.
      if (!(error instanceof ConsulError) || error.statusCode === undefined || error.statusCode === 403) throw error;
    }
  }

  /** The instances of an answer, unless it is one that must not be believed. */
  checked(headers: ConsulAnswer["headers"], decoded: DecodedAnswer): readonly Instance[] {
    const { service } = this.query;
    const { instances, records, skipped, errors } = decoded;
    reportBad("consul", service, errors, skipped);
    // An answer of nothing but junk must not pass for an empty one.
    if (skipped > 0 && skipped === records) throw noneUsable(ConsulError, service, skipped, errors[0]?.error);
    if (instances.length === 0 && headers["x-consul-results-filtered-by-acls"] === "true") {
      throw new ConsulError(`the token may not read service "${service}"`);
    }
    // A server that has just started answers stale reads before it has any data.
    if (this.options.stale && instances.length === 0 && headers["x-consul-knownleader"] === "false") {
      throw new ConsulError(`the server knows no leader and no instance of service "${service}"`);
    }
    return instances;
  }
}

type Step = IteratorResult<readonly Instance[], undefined>;

/**
 * One watch of a {@link consulSource}: each set is one poll. No generator, and no function that waits for another: what
 * waits for Consul is held by each of thousands of watches.
 */
class ServiceWatch implements AsyncIterableIterator<readonly Instance[], undefined> {
  readonly #source: ConsulSource;
  readonly #signal: AbortSignal;
  readonly #reader: AnswerReader;
  #index = 0n;
  #known: readonly Instance[] | undefined;
  /** What the next poll costs, if the last one had news. */
  #newsMs = 0;
  #state: "new" | "joined" | "over" = "new";

  constructor(source: ConsulSource, signal: AbortSignal) {
    this.#source = source;
    this.#signal = signal;
    this.#reader = new AnswerReader(source.query, source.options.zoneKey);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<Step> {
    const { pace, options } = this.#source;
    if (this.#state === "over" || this.#signal.aborted) return this.return();
    if (this.#state === "new") options.polls.join();
    this.#state = "joined";
    try {
      if (this.#index === 0n && this.#known !== undefined) await sleep(options.env, BLIND_INTERVAL_MS, this.#signal);
      if (this.#newsMs > 0) await this.#source.newsPace.pay(this.#newsMs, this.#signal);
      else await pace.pay(POLL_INTERVAL_MS, this.#signal);
      const turn = await options.polls.take(this.#index > 0n ? options.waitMs : 0, this.#signal);
      return await this.#hear(await this.#source.ask(this.#index, turn, this.#signal));
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  async return(): Promise<Step> {
    this.#end();
    return { done: true, value: undefined };
  }

  /** What an answer means for this watch. */
  async #hear({ headers, body }: ConsulAnswer): Promise<Step> {
    const source = this.#source;
    const { env } = source.options;
    const startedMs = env.now();
    const said = source.checked(headers, await this.#reader.read(body, this.#signal));
    const tookMs = env.now() - startedMs;
    const before = this.#known;
    // The objects of before, if they say the same: core holds them anyway.
    const instances = before !== undefined && sameInstances(before, said) ? before : said;
    const isWell = env.now() - source.lostMs > ILL_MS;
    const isNews = isWell && before !== undefined && instances !== before;
    this.#newsMs = isNews ? Math.max(NEWS_INTERVAL_MS, tookMs / NEWS_SHARE) : 0;
    const isEmpty = instances.length === 0;
    if (isEmpty && !source.believedEmpty) await source.refuseToGuess(this.#signal);
    const index = indexOf(headers);
    const isReset = index < this.#index;
    const isUnsettled = before !== undefined && before.length > 0 && env.now() - source.lostMs < UNSETTLED_MS;
    if (isEmpty && (isReset || isUnsettled)) return this.return();
    source.believedEmpty = isEmpty;
    this.#index = index;
    this.#known = instances;
    if (isReset) this.#end(); // what came with it is good news all the same
    return { done: false, value: instances };
  }

  #end(): void {
    const { env, polls } = this.#source.options;
    if (this.#state === "joined") {
      polls.leave();
      if (!this.#signal.aborted) this.#source.lostMs = env.now();
    }
    this.#state = "over";
  }
}

/** Indexes are unsigned 64-bit integers, more than a number holds exactly. 0 if there is none that can be waited for. */
function indexOf(headers: ConsulAnswer["headers"]): bigint {
  const header = String(headers["x-consul-index"]);
  return /^\d{1,20}$/.test(header) ? BigInt(header) : 0n;
}

/** Whether two answers say the same, in the same order, which is Consul's own. */
function sameInstances(before: readonly Instance[], now: readonly Instance[]): boolean {
  return before.length === now.length && now.every((instance, at) => sameInstance(instance, before[at] as Instance));
}
