import type { RetryBudget } from "@rollcall/core";

/**
 * A retry budget that is not charged for requests that never left.
 *
 * The budget is there to bound what retries add to the load of a service that is in trouble. A request that could not
 * even be sent has put no load on anybody; charging for it would use the budget up within seconds of a server's death,
 * while the registry still lists it, and fail calls that the others are ready to take. (gRPC calls such retries
 * transparent and charges neither attempt nor token for them: proposal A6.)
 */
export interface SparedBudget extends RetryBudget {
  /** Whether the failure that is being judged left nothing behind. Core asks the budget right after the verdict. */
  unsent: boolean;
}

export function sparedBudget(budget: RetryBudget): SparedBudget {
  const spared: SparedBudget = {
    unsent: false,
    deposit: () => budget.deposit(),
    withdraw: () => spared.unsent || budget.withdraw(),
  };
  return spared;
}
