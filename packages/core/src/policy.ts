import type { Endpoint } from "./endpoint.ts";
import type { Env } from "./env.ts";
import type { Outcome, PickRequest } from "./pick.ts";
import { roundRobin } from "./policies/round-robin.ts";

/** An array with at least one element. */
export type NonEmpty<T> = readonly [T, ...T[]];

/** A named recipe for choosing endpoints. A shareable constant: all state is in what `create` returns. */
export interface Policy {
  readonly name: string;
  /** Makes the state for one balancer. */
  create(env: Env): PolicyState;
}

/** What a policy remembers for one balancer, across updates of its set. */
export interface PolicyState {
  /**
   * Makes the function that chooses from one fixed set. It is called once per set (and for a subset of it, when a call
   * must avoid endpoints that the policy insists on), the function once per pick: it should be O(1).
   * None of the endpoints has weight 0.
   */
  picker<E extends Endpoint>(endpoints: NonEmpty<E>): (request: PickRequest) => E;
  /** Learns how a pick ended. The clock is read only for policies that have it. */
  observe?(endpoint: Endpoint, outcome: Outcome, latencyMs: number): void;
}

/** The policy of balancers and clients that were given none: today {@link roundRobin}. */
export function defaultPolicy(): Policy {
  return roundRobin();
}
