import {
  type ExplainingBalancer,
  type Policy,
  type RetryOptions,
  checkOptions,
  createBalancer,
  createEndpointer,
  InvalidOptionError,
  is,
  required,
} from "@rollcall/core";
import { Arrivals } from "./arrivals.ts";
import { Attempt } from "./attempt.ts";
import { type CallerParts, DirectCaller } from "./direct-caller.ts";
import { VirtualEvent } from "./event-heap.ts";
import { createFleet } from "./fleet.ts";
import { type Oracle, foresee, isOracle, oracle } from "./oracle.ts";
import { randomStream } from "./random-stream.ts";
import type { Report } from "./report.ts";
import { RetryingCaller } from "./retrying-caller.ts";
import { type Scenario, checkScenario } from "./scenario.ts";
import type { Server } from "./server.ts";
import { DEFAULT_TIMEOUT_MS, Tally } from "./tally.ts";
import { VirtualTime } from "./virtual-time.ts";

/** What {@link simulate} is to play. */
export interface SimulateOptions {
  /**
   * Who chooses: a policy, of which each client gets a state of its own; a function that makes the policy of each client
   * (from 0), for those that know where they are; or {@link oracle}.
   */
  readonly policy: Policy | Oracle | ((client: number) => Policy);
  /** Decides all that chance decides: an integer. Default 1. */
  readonly seed?: number | undefined;
  /**
   * Plays calls through `retry` with these options; each client has a budget of its own unless one is given. Default: one
   * attempt per call, which is several times quicker. `timeoutMs` is that of the scenario unless given; `env` is virtual.
   */
  readonly retry?: Omit<RetryOptions, "env"> | undefined;
}

/**
 * Plays a policy against a fleet: the real policy, in the real balancer over the real endpointer, on a virtual clock. The
 * same arguments give the same report, and calls come at the same times with the same work for every policy.
 *
 * @throws InvalidOptionError whose path says what of the scenario or the options is wrong.
 */
export async function simulate(scenario: Scenario, options: SimulateOptions): Promise<Report> {
  checkScenario(scenario);
  checkOptions("", options, { policy: required(checkSubject), seed: checkSeed, retry: is.object });
  const { policy: subject, seed = 1, retry } = options;
  const { clients = 1, networkMs = 0, timeoutMs = DEFAULT_TIMEOUT_MS } = scenario;
  const time = new VirtualTime();
  const fleet = createFleet(scenario, time);
  const tally = new Tally(scenario, fleet);
  const limit = time.line<Attempt>(timeoutMs, (attempt) => attempt.end("timeout"));
  const parts: CallerParts = { tally, now: () => time.nowMs, send: fleet.send, limit };

  if (isOracle(subject)) {
    if (retry !== undefined) throw new InvalidOptionError("retry", "nothing: the oracle needs none", retry);
    const caller = new DirectCaller([], parts);
    const choose = foresee(fleet, networkMs);
    const arrivals = new Arrivals(scenario, seed, time, (call) => {
      const server = choose(call, time.nowMs);
      if (server === undefined) tally.ended(call, "none", time.nowMs);
      else caller.begin(new Attempt(call, 1, server, caller, undefined));
    });
    play(time, arrivals, caller);
    return tally.report(subject.name, seed, fleet.servers);
  }

  const envs = Array.from({ length: clients }, (_, client) => time.env(randomStream(seed, `client ${client}`)));
  let name = "";
  const balancers = envs.map((env, client) => {
    const policy = typeof subject === "function" ? subject(client) : subject;
    is.policy(policy, "policy");
    ({ name } = policy);
    const endpointer = createEndpointer(fleet.instancer, ({ id }) => fleet.serverOf(id), { env });
    return createBalancer(endpointer, policy, { env });
  });
  time.plan(new Look(time, balancers, tally, scenario.durationMs), 0);
  if (retry === undefined) {
    const caller = new DirectCaller(balancers, parts);
    const arrivals = new Arrivals(scenario, seed, time, (call) => caller.call(call));
    play(time, arrivals, caller);
  } else {
    const caller = new RetryingCaller(balancers, envs, { ...retry, timeoutMs: retry.timeoutMs ?? timeoutMs }, parts);
    const arrivals = new Arrivals(scenario, seed, time, (call) => caller.call(call));
    while ((!arrivals.isOver || caller.open > 0) && time.step()) {
      if (!caller.stirred && !time.woke) continue;
      await settled();
      if (caller.broken !== undefined) throw caller.broken.error;
      caller.stirred = false;
      time.woke = false;
    }
  }
  return tally.report(name, seed, fleet.servers);
}

/** Until all calls have come and ended. */
function play(time: VirtualTime, arrivals: Arrivals, caller: DirectCaller): void {
  while ((!arrivals.isOver || caller.open > 0) && time.step());
}

/** Resolves when all promises that could go on have done so: they do, all of them, before the event loop turns. */
function settled(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

const LOOK_MS = 100;

/** Looks ten times a second how many servers a client holds for ejected; at one after the other, as it takes time. */
class Look extends VirtualEvent {
  readonly #time: VirtualTime;
  readonly #balancers: readonly ExplainingBalancer<Server>[];
  readonly #tally: Tally;
  readonly #endMs: number;
  #count = 0;

  constructor(time: VirtualTime, balancers: readonly ExplainingBalancer<Server>[], tally: Tally, endMs: number) {
    super();
    this.#time = time;
    this.#balancers = balancers;
    this.#tally = tally;
    this.#endMs = endMs;
  }

  override run(): void {
    const balancer = this.#balancers[this.#count++ % this.#balancers.length];
    const candidates = balancer?.explain().candidates ?? [];
    this.#tally.looked(candidates.filter(({ excluded }) => excluded === "ejected").length);
    const nextMs = this.#time.nowMs + LOOK_MS;
    if (nextMs < this.#endMs) this.#time.plan(this, nextMs);
  }
}

function checkSubject(value: unknown, path: string): void {
  if (typeof value !== "function" && value !== oracle) is.policy(value, path);
}

function checkSeed(value: unknown, path: string): void {
  if (!Number.isSafeInteger(value)) throw new InvalidOptionError(path, "an integer", value);
}
