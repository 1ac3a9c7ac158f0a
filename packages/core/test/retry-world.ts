import {
  type Balancer,
  type Endpointer,
  type Instance,
  type Policy,
  RetryError,
  type RetryOptions,
  createBalancer,
  createEndpointer,
  retry,
  roundRobin,
} from "@rollcall/core";
import { type ManualClock, manualClock } from "@rollcall/testing";
import { expect } from "vitest";
import { type DrivenInstancer, drivenInstancer } from "./driven-instancer.ts";
import { lorems } from "./lorem.ts";
import { rejection } from "./settlement.ts";

/** What a called function fails with. */
export const down = new Error("ECONNREFUSED");

/** What a called function that ignores its signal returns. */
export const never = new Promise<never>(() => undefined);

/** A service and a way to call it, on a clock that stands still and dice that say 0. */
export interface RetryWorld {
  readonly clock: ManualClock;
  readonly instancer: DrivenInstancer;
  readonly endpointer: Endpointer<string>;
  readonly balancer: Balancer<string>;
  readonly call: ReturnType<typeof retry<string>>;
  /** The slots that are taken, over all endpoints. */
  inFlight(): number;
}

/** Calls over `instances` (default 3; `null`: nothing is known yet), whose clients are their ids. */
export function retryWorld(
  options: RetryOptions = {},
  instances: readonly Instance[] | null = lorems(3),
  policy: Policy = roundRobin(),
): RetryWorld {
  const clock = manualClock({ random: () => 0 });
  const instancer = drivenInstancer(clock.env);
  if (instances !== null) instancer.update(instances);
  const endpointer = createEndpointer(instancer, ({ id }) => id, { env: clock.env, drainMs: 0 });
  const balancer = createBalancer(endpointer, policy, { env: clock.env });
  const call = retry(balancer, { env: clock.env, ...options });
  const inFlight = (): number => endpointer.endpoints.reduce((sum, { stats }) => sum + stats.inFlight, 0);
  return { clock, instancer, endpointer, balancer, call, inFlight };
}

/** Nothing is left behind: no timer, no slot. */
export function expectClean({ clock, inFlight }: Pick<RetryWorld, "clock" | "inFlight">): void {
  expect([clock.pending, inFlight()]).toEqual([0, 0]);
}

/** The RetryError that a call rejects with; fails for anything else. */
export async function retryError(call: Promise<unknown>): Promise<RetryError> {
  const error = await rejection(call);
  expect(error).toBeInstanceOf(RetryError);
  return error as RetryError;
}
