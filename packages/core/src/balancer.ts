import { channels } from "./channels.ts";
import { type Endpoint, release, reserve } from "./endpoint.ts";
import type { Endpointer, ReadyOptions } from "./endpointer.ts";
import { type Env, resolveEnv } from "./env.ts";
import { NoEndpointsError } from "./errors.ts";
import { checkOptions, is, required } from "./options.ts";
import { CANCELLED, type Outcome, type PickRequest, type PickResult } from "./pick.ts";
import { type NonEmpty, type Policy, type PolicyState, defaultPolicy } from "./policy.ts";

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

/** Makes a {@link Balancer} over an endpointer. Without a policy it takes {@link defaultPolicy}. */
export function createBalancer<C>(
  endpointer: Endpointer<C>,
  policy: Policy = defaultPolicy(),
  options: { readonly env?: Partial<Env> | undefined } = {},
): Balancer<C> {
  checkOptions("", { endpointer, policy }, { endpointer: required(is.endpointer), policy: is.policy });
  checkOptions("", options, { env: is.env });
  return new PolicyBalancer(endpointer, policy, resolveEnv(options.env));
}

const ANY: PickRequest = Object.freeze({});

class PolicyBalancer<C> implements Balancer<C> {
  readonly #endpointer: Endpointer<C>;
  readonly #policy: Policy;
  readonly #state: PolicyState;
  readonly #env: Env;
  /** The set that `#eligible` and `#picker` were made for. */
  #seen: readonly Endpoint<C>[] | undefined;
  #eligible: readonly Endpoint<C>[] = [];
  #picker: ((request: PickRequest) => Endpoint<C>) | undefined;

  constructor(endpointer: Endpointer<C>, policy: Policy, env: Env) {
    this.#endpointer = endpointer;
    this.#policy = policy;
    this.#env = env;
    this.#state = policy.create(env);
  }

  pick(request: PickRequest = ANY): PickResult<C> {
    const { endpoints } = this.#endpointer;
    if (endpoints !== this.#seen) this.#see(endpoints);
    const picker = this.#picker;
    if (picker === undefined) throw this.#noEndpoints();
    const { avoid } = request;
    const endpoint =
      avoid === undefined || avoid.size === 0 ? picker(request) : this.#pickOther(picker, request, avoid);
    reserve(endpoint);
    const { observe } = this.#state;
    return new Lease(endpoint, observe === undefined ? undefined : this.#observer(endpoint));
  }

  ready(options?: ReadyOptions): Promise<void> {
    return this.#endpointer.ready(options);
  }

  #see(endpoints: readonly Endpoint<C>[]): void {
    // Most sets have nothing that drains: then the very array is handed on.
    const drains = endpoints.some((endpoint) => endpoint.instance.weight === 0);
    this.#eligible = drains ? endpoints.filter((endpoint) => endpoint.instance.weight > 0) : endpoints;
    this.#picker = isNonEmpty(this.#eligible) ? this.#state.picker(this.#eligible) : undefined;
    // Last: a policy that throws here is asked again by the next pick, and its old picker is not.
    this.#seen = endpoints;
  }

  /** Lets the policy choose among the endpoints that are not to be avoided, if there are any. */
  #pickOther(
    picker: (request: PickRequest) => Endpoint<C>,
    request: PickRequest,
    avoid: ReadonlySet<Endpoint>,
  ): Endpoint<C> {
    const all = this.#eligible;
    const hasOther = avoid.size < all.length || all.some((endpoint) => !avoid.has(endpoint));
    if (!hasOther) return picker(request);
    // A policy that cycles comes to another one within so many steps, and keeps its cycle.
    for (let step = 0; step <= avoid.size; step++) {
      const endpoint = picker(request);
      if (!avoid.has(endpoint)) return endpoint;
    }
    // This one insists, or was unlucky: give it no choice.
    const others = all.filter((endpoint) => !avoid.has(endpoint));
    return isNonEmpty(others) ? this.#state.picker(others)(request) : picker(request);
  }

  #observer(endpoint: Endpoint<C>): (outcome: Outcome) => void {
    const startedAt = this.#env.now();
    return (outcome) => {
      try {
        this.#state.observe?.(endpoint, outcome, this.#env.now() - startedAt);
      } catch (error) {
        channels.policyError.publish({ policy: this.#policy.name, error });
      }
    };
  }

  #noEndpoints(): NoEndpointsError {
    const { service, snapshot } = this.#endpointer;
    return new NoEndpointsError(service, snapshot.state, "error" in snapshot ? snapshot.error : undefined);
  }
}

class Lease<C> implements PickResult<C> {
  readonly endpoint: Endpoint<C>;
  readonly #observe: ((outcome: Outcome) => void) | undefined;
  #ended = false;

  constructor(endpoint: Endpoint<C>, observe: ((outcome: Outcome) => void) | undefined) {
    this.endpoint = endpoint;
    this.#observe = observe;
  }

  /** Bound, so that it may be taken out of the lease: `const { endpoint, done } = balancer.pick()`. */
  get done(): (outcome: Outcome) => void {
    return (outcome) => this.#end(outcome);
  }

  [Symbol.dispose](): void {
    this.#end(CANCELLED);
  }

  #end(outcome: Outcome): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#observe?.(outcome);
    release(this.endpoint, outcome);
  }
}

function isNonEmpty<T>(array: readonly T[]): array is NonEmpty<T> {
  return array.length > 0;
}
