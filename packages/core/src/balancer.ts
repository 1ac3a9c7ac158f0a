import { pickAvoiding } from "./avoiding.ts";
import { channels } from "./channels.ts";
import { type Endpoint, release, reserve } from "./endpoint.ts";
import type { Endpointer, ReadyOptions } from "./endpointer.ts";
import { type Env, isOneClock, resolveEnv } from "./env.ts";
import { NoEndpointsError } from "./errors.ts";
import type { Candidate, Explanation, Judgement } from "./explanation.ts";
import { type LoadReport, isLoadReport } from "./load-report.ts";
import { checkOptions, is, required } from "./options.ts";
import { CANCELLED, type Outcome, type PickRequest, type PickResult } from "./pick.ts";
import { type Picker, type Policy, type PolicyState, defaultPolicy, isNonEmpty } from "./policy.ts";
import { StallWatch } from "./stall-watch.ts";

/** Chooses endpoints. Nothing to close: it holds no more than the endpointer does. */
export interface Balancer<C> {
  /**
   * Takes a slot on the endpoint that the policy chooses, at once and synchronously. Whoever picks ends the pick with
   * `done` (or `using`). Endpoints of weight 0 are never picked; those in `request.avoid` only if there is no other.
   *
   * @throws NoEndpointsError if there is nothing to pick; its `cause` is the registry's error, if there is one.
   */
  pick(request?: PickRequest): PickResult<C>;
  /** Its endpointer's. */
  ready(options?: ReadyOptions): Promise<void>;
}

/** A {@link Balancer} that also tells what it would do. */
export interface ExplainingBalancer<C> extends Balancer<C> {
  /** What a pick with this request would choose from now, and why. Changes nothing, and takes no slot; never throws. */
  explain(request?: PickRequest): Explanation;
}

/** Makes a {@link Balancer} over an endpointer. Without a policy it takes {@link defaultPolicy}. */
export function createBalancer<C>(
  endpointer: Endpointer<C>,
  policy: Policy = defaultPolicy(),
  options: { readonly env?: Partial<Env> | undefined } = {},
): ExplainingBalancer<C> {
  checkOptions("", { endpointer, policy }, { endpointer: required(is.endpointer), policy: is.policy });
  checkOptions("", options, { env: is.env });
  return new PolicyBalancer(endpointer, policy, resolveEnv(options.env), isOneClock(options.env));
}

const ANY: PickRequest = Object.freeze({});

class PolicyBalancer<C> implements ExplainingBalancer<C> {
  readonly #endpointer: Endpointer<C>;
  readonly #policy: Policy;
  readonly #state: PolicyState;
  readonly #env: Env;
  /** Only for policies that learn from calls. */
  readonly #teacher: Teacher | undefined;
  /** The set that `#eligible` and `#picker` were made for. */
  #seen: readonly Endpoint<C>[] | undefined;
  #eligible: readonly Endpoint<C>[] = [];
  #picker: Picker<Endpoint<C>> | undefined;

  constructor(endpointer: Endpointer<C>, policy: Policy, env: Env, isOneClock: boolean) {
    this.#endpointer = endpointer;
    this.#policy = policy;
    this.#env = env;
    this.#state = policy.create(env);
    const { observe, started, report } = this.#state;
    const learns = observe !== undefined || started !== undefined || report !== undefined;
    this.#teacher = learns ? new Teacher(policy, this.#state, new StallWatch(env, isOneClock)) : undefined;
  }

  pick(request: PickRequest = ANY): PickResult<C> {
    const { endpoints } = this.#endpointer;
    if (endpoints !== this.#seen) this.#see(endpoints);
    const picker = this.#picker;
    if (picker === undefined) throw this.#noEndpoints();
    const teacher = this.#teacher;
    if (teacher === undefined) {
      const endpoint = this.#choose(picker, request, undefined);
      reserve(endpoint);
      return new Lease(endpoint);
    }
    const nowMs = teacher.now();
    const endpoint = this.#choose(picker, request, nowMs);
    reserve(endpoint);
    teacher.started(endpoint, nowMs);
    return new TaughtLease(endpoint, teacher, nowMs);
  }

  ready(options?: ReadyOptions): Promise<void> {
    return this.#endpointer.ready(options);
  }

  explain(request: PickRequest = ANY): Explanation {
    const { endpoints, service, snapshot } = this.#endpointer;
    const { name } = this.#policy;
    const eligible = endpoints.filter(({ instance }) => instance.weight > 0);
    const avoided = request.avoid ?? new Set();
    const isAvoided = (endpoint: Endpoint): boolean => avoided.has(endpoint);
    // As in a pick: if there is no other one, nothing is avoided.
    const asked = eligible.every(isAvoided) ? { ...request, avoid: undefined } : request;
    const view = isNonEmpty(eligible) ? this.#state.explain?.(eligible, asked, this.#env.now()) : undefined;
    const why = eligible.length === 0 ? "nothing to pick" : (view?.why ?? `${name} does not say`);
    const next = view?.next !== undefined && asked.avoid?.has(view.next) !== true ? view.next : undefined;
    const candidates = endpoints.map((endpoint) =>
      candidate(
        endpoint,
        view?.judgements?.get(endpoint) ?? {},
        asked.avoid?.has(endpoint) === true,
        endpoint === next,
      ),
    );
    return { service, state: snapshot.state, policy: name, candidates, next, why };
  }

  #see(endpoints: readonly Endpoint<C>[]): void {
    // Most sets have nothing that drains: then the very array is handed on.
    const drains = endpoints.some((endpoint) => endpoint.instance.weight === 0);
    this.#eligible = drains ? endpoints.filter((endpoint) => endpoint.instance.weight > 0) : endpoints;
    this.#picker = isNonEmpty(this.#eligible) ? this.#state.picker(this.#eligible) : undefined;
    // Last: a policy that throws here is asked again by the next pick, and its old picker is not.
    this.#seen = endpoints;
  }

  #choose(picker: Picker<Endpoint<C>>, request: PickRequest, nowMs: number | undefined): Endpoint<C> {
    const all = this.#eligible;
    // The usual case, at no further price.
    if (request.avoid === undefined || !isNonEmpty(all)) return picker(request, nowMs);
    return pickAvoiding(this.#state, picker, all, request, nowMs);
  }

  #noEndpoints(): NoEndpointsError {
    const { service, snapshot } = this.#endpointer;
    return new NoEndpointsError(service, snapshot.state, "error" in snapshot ? snapshot.error : undefined);
  }
}

/** Tells a policy what became of its picks: in its time, and without the calls that say nothing about the endpoint. */
class Teacher {
  readonly #policy: Policy;
  readonly #state: PolicyState;
  readonly #watch: StallWatch;
  /** Whether the policy wants to know what endpoints say of their load. */
  readonly hearsReports: boolean;

  constructor(policy: Policy, state: PolicyState, watch: StallWatch) {
    this.#policy = policy;
    this.#state = state;
    this.#watch = watch;
    this.hearsReports = state.report !== undefined;
  }

  now(): number {
    return this.#watch.now();
  }

  started(endpoint: Endpoint, nowMs: number): void {
    this.#watch.started(nowMs);
    try {
      this.#state.started?.(endpoint, nowMs);
    } catch (error) {
      this.#threw(error);
    }
  }

  reported(endpoint: Endpoint, report: LoadReport, startedAt: number): void {
    if (!isLoadReport(report)) {
      const { instance } = endpoint;
      channels.badReport.publish({ service: instance.service, instance, report });
      return;
    }
    const nowMs = this.#watch.now();
    // It may be as old as the stall was long.
    if (startedAt < this.#watch.wokeAt) return;
    try {
      this.#state.report?.(endpoint, report, nowMs);
    } catch (error) {
      this.#threw(error);
    }
  }

  ended(endpoint: Endpoint, outcome: Outcome, startedAt: number): void {
    const watch = this.#watch;
    const nowMs = watch.now();
    watch.ended();
    try {
      const fair = startedAt >= watch.wokeAt;
      this.#state.observe?.(endpoint, fair ? outcome : CANCELLED, nowMs - startedAt, nowMs);
    } catch (error) {
      this.#threw(error);
    }
  }

  #threw(error: unknown): void {
    channels.policyError.publish({ policy: this.#policy.name, error });
  }
}

class Lease<C> implements PickResult<C> {
  readonly endpoint: Endpoint<C>;
  #ended = false;

  constructor(endpoint: Endpoint<C>) {
    this.endpoint = endpoint;
  }

  /**
   * Bound, so that it may be taken out of the lease: `const { endpoint, done } = balancer.pick()`. By `bind`, as V8 spares
   * itself what that makes where the lease's `done` is called at once, which it does not for an arrow function.
   */
  get done(): (outcome: Outcome) => void {
    return this.#end.bind(this);
  }

  [Symbol.dispose](): void {
    this.#end(CANCELLED);
  }

  #end(outcome: Outcome): void {
    if (this.#ended) return;
    this.#ended = true;
    this.tell(outcome);
    release(this.endpoint, outcome);
  }

  /** Before the slot is free: it tells who wants to know. */
  protected tell(_outcome: Outcome): void {
    // Nobody does.
  }
}

/** A {@link Lease} whose policy learns. */
class TaughtLease<C> extends Lease<C> {
  readonly #teacher: Teacher;
  readonly #startedAt: number;

  constructor(endpoint: Endpoint<C>, teacher: Teacher, startedAt: number) {
    super(endpoint);
    this.#teacher = teacher;
    this.#startedAt = startedAt;
  }

  get report(): ((report: LoadReport) => void) | undefined {
    if (!this.#teacher.hearsReports) return undefined;
    return this.#hear.bind(this);
  }

  #hear(report: LoadReport): void {
    this.#teacher.reported(this.endpoint, report, this.#startedAt);
  }

  protected override tell(outcome: Outcome): void {
    this.#teacher.ended(this.endpoint, outcome, this.#startedAt);
  }
}

function candidate(endpoint: Endpoint, judgement: Judgement, isAvoided: boolean, isNext: boolean): Candidate {
  const { weight } = endpoint.instance;
  let excluded: Candidate["excluded"];
  if (weight === 0) excluded = "drained";
  else if (isAvoided) excluded = "avoided";
  // Who gets the next call, for a probe or in a panic, is not left out of it.
  else if (judgement.ejectedForMs !== undefined && !isNext) excluded = "ejected";
  return { endpoint, inFlight: endpoint.stats.inFlight, ...judgement, weight: judgement.weight ?? weight, excluded };
}
