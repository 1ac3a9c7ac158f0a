import type { Endpoint } from "./endpoint.ts";
import type { Env } from "./env.ts";
import type { PolicyView } from "./explanation.ts";
import type { LoadReport } from "./load-report.ts";
import type { Outcome, PickRequest } from "./pick.ts";
import { adaptive } from "./policies/adaptive.ts";

/** An array with at least one element. */
export type NonEmpty<T> = readonly [T, ...T[]];

/** A named recipe for choosing endpoints. A shareable constant: all state is in what `create` returns. */
export interface Policy {
  readonly name: string;
  /** Makes the state for one balancer. */
  create(env: Env): PolicyState;
  /** The policy that this one wraps, if it is a decorator: for rules of composition, and for reading. */
  readonly child?: Policy | undefined;
}

/** Chooses from one fixed set. `nowMs` is the time of the pick, if the balancer had to read the clock anyway. */
export type Picker<E extends Endpoint> = (request: PickRequest, nowMs?: number) => E;

/** What a policy remembers for one balancer, across updates of its set. */
export interface PolicyState {
  /**
   * Makes the function that chooses from one fixed set. It is called once per set (and for a subset of it, when a call
   * must avoid endpoints that the policy insists on), the function once per pick: it should be O(1). The function may
   * be asked more than once for one pick: what became a call is told to `started`.
   * None of the endpoints has weight 0.
   *
   * A decorator that has taken some of the set away because they are ill gives `all`, the set with them, for policies
   * that must know how much is missing.
   */
  picker<E extends Endpoint>(endpoints: NonEmpty<E>, all?: NonEmpty<E>): Picker<E>;
  /**
   * Learns that a pick became a call: its slot has just been taken. Each `started` is followed by one `observe`, with
   * `cancelled` at the least. The clock is read only for policies that have one of the two.
   */
  started?(endpoint: Endpoint, nowMs: number): void;
  /**
   * Learns how a pick ended; its slot is still taken. A call during which the process itself stood still (its event loop
   * was blocked) says nothing about the endpoint, and comes as `cancelled`. `nowMs` is the time of the end. One that was
   * `superseded` by another attempt is no failure, but had not been answered for `latencyMs`.
   */
  observe?(endpoint: Endpoint, outcome: Outcome, latencyMs: number, nowMs?: number): void;
  /**
   * Learns what an endpoint said of its own load, with an answer that has just begun: before `observe`, if at all. Only
   * policies that have it cause reports to be read.
   */
  report?(endpoint: Endpoint, report: LoadReport, nowMs: number): void;
  /**
   * Tells what it thinks of a set, as a pick with this request would find it (with its `avoid`). Must change nothing:
   * neither the state nor the chance of `env`. `all` as for `picker`.
   */
  explain?<E extends Endpoint>(
    endpoints: NonEmpty<E>,
    request: PickRequest,
    nowMs: number,
    all?: NonEmpty<E>,
  ): PolicyView;
}

/** The policy of balancers and clients that were given none: {@link adaptive}, which needs no tuning. */
export function defaultPolicy(): Policy {
  return adaptive();
}

/** Whether an array has an element. */
export function isNonEmpty<T>(array: readonly T[]): array is NonEmpty<T> {
  return array.length > 0;
}
